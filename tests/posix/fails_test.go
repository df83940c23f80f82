package posix

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

var update = flag.Bool("update", false, "write FAILS.md anew")

// TestFailsIsPublished holds FAILS.md to what the tests know.
func TestFailsIsPublished(t *testing.T) {
	want := published()
	if *update {
		if err := os.WriteFile("FAILS.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("FAILS.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("FAILS.md is not what known_test.go says: go test ./tests/posix -run TestFailsIsPublished -update")
	}
}

func published() string {
	var b strings.Builder
	total := 0
	for _, f := range everything() {
		total += len(f.rules)
	}
	fmt.Fprintf(&b, `# What is not as POSIX and the man pages have it

Written by TestFailsIsPublished from known_test.go: %d rules of system calls and the %d tests of go-fuse's posixtest run as
root and as an ordinary user, on mounts of both durabilities with --allow-other and --xattr. All that is not named here is as it
should be; what is named here and is right after all is a failure of the tests, too, unless it is to be mended. A read-only
mount has a family of its own.

On a tmpfs the same rules find nothing but what differs there: no ZERO_RANGE, larger paths, files and attributes, hard links.

## By rule
`, total, len(posixtest.All))
	writeReasons(&b, false)
	if slices.ContainsFunc(known(), func(k failure) bool { return k.mend }) {
		b.WriteString("\n## To be mended\n")
		writeReasons(&b, true)
	}
	b.WriteString("\n## go-fuse's posixtest\n\n| test | result | why |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(libraryKnown)) {
		k := libraryKnown[name]
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, map[string]string{"FAIL": "fails", "SKIP": "skips itself"}[k.result], k.why)
	}
	b.WriteString("\nOpenSymlinkRace, which takes long, runs as root on the one mount and as the user on the other.\n")
	b.WriteString("\n## All families\n\n| family | rules |\n|---|---|\n")
	for _, f := range everything() {
		fmt.Fprintf(&b, "| %s | %d |\n", f.name, len(f.rules))
	}
	return b.String()
}

// writeReasons writes what is meant to stay, or what is not.
func writeReasons(b *strings.Builder, mend bool) {
	for _, k := range known() {
		if k.mend != mend {
			continue
		}
		fmt.Fprintf(b, "\n%s\n", k.why)
		for _, name := range k.rules {
			fmt.Fprintf(b, "- %s: **%s**\n", name, k.shows())
		}
	}
}

// shows is what a reader is told that happens.
func (k failure) shows() string {
	switch k.gets {
	case "wrong":
		return k.instead
	case "OK":
		return "no error"
	}
	return k.gets
}
