package main

import (
	"os"
	"strings"
	"testing"
)

// The examples in contrib are right.
func TestExamples(t *testing.T) {
	text, err := os.ReadFile("../../contrib/config/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, t.TempDir()+"/config.yaml", string(text), 0o644)
	stdout, stderr, code := output(t, "config", "check", file)
	if code != exitOK || !strings.Contains(stdout, "photos: photos/2026 on /mnt/photos") {
		t.Errorf("code %d, %s%s", code, stdout, stderr)
	}
	text, err = os.ReadFile("../../contrib/fstab/fstab.example")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		l, err := parseFstab(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		w, err := parseMountOptions([]string{l.options}, false)
		if _, _, targetErr := parseTarget(l.source); err != nil || targetErr != nil || len(w.ours) == 0 || l.String() != line {
			t.Errorf("%s: %v %v", line, err, targetErr)
		}
		lines++
	}
	if lines < 3 {
		t.Errorf("%d lines", lines)
	}
}
