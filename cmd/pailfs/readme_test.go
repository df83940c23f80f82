package main

import (
	"os"
	"strings"
	"testing"
)

// The README's tables lie between two comments and are what the program prints.
func TestReadmeTablesAreThePrograms(t *testing.T) {
	const file = "../../README.md"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	readme := string(b)
	for section, args := range map[string][]string{
		"options": {"docs", "options"}, "exitcodes": {"docs", "exitcodes"}, "commands": {"docs", "commands"}, "status": {"docs", "status"},
	} {
		begin, end := "<!-- "+section+": made by `pailfs docs "+section+"` -->\n", "<!-- end of "+section+" -->"
		before, rest, ok1 := strings.Cut(readme, begin)
		table, after, ok2 := strings.Cut(rest, end)
		if !ok1 || !ok2 {
			t.Fatalf("README.md has no section %s", section)
		}
		want, stderr, code := output(t, args...)
		if code != exitOK {
			t.Fatalf("pailfs %v: code %d, %s", args, code, stderr)
		}
		if table == want {
			continue
		}
		if !*update {
			t.Errorf("README.md's %s are not the program's: go test ./cmd/pailfs -update", section)
			continue
		}
		readme = before + begin + want + end + after
		if err := os.WriteFile(file, []byte(readme), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
