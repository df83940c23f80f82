package main

import (
	"os"
	"strings"
	"testing"
)

// Tables of the front page and of docs/status.md lie between two comments and are what the program prints.
func TestReadmeTablesAreThePrograms(t *testing.T) {
	for section, page := range map[string]string{"options": "README.md", "exitcodes": "README.md", "commands": "README.md", "status": "docs/status.md"} {
		file := "../../" + page
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		begin, end := "<!-- "+section+": made by `pailfs docs "+section+"` -->\n", "<!-- end of "+section+" -->"
		before, rest, ok1 := strings.Cut(string(b), begin)
		table, after, ok2 := strings.Cut(rest, end)
		if !ok1 || !ok2 {
			t.Fatalf("%s has no section %s", page, section)
		}
		want, stderr, code := output(t, "docs", section)
		if code != exitOK {
			t.Fatalf("pailfs docs %s: code %d, %s", section, code, stderr)
		}
		if table == want {
			continue
		}
		if !*update {
			t.Errorf("%s: its %s are not the program's: go test ./cmd/pailfs -update", page, section)
			continue
		}
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
