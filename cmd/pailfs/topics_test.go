package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// Every command that is shown has one topic, and the help names it with an example of the usual ones.
func TestEveryCommandHasATopic(t *testing.T) {
	app := newApp(stdio{out: io.Discard, err: io.Discard})
	var named []string
	for _, topic := range topics {
		for _, name := range topic.commands {
			if c := commandNamed(app.Commands, name); c == nil || c.Hidden || c.Name != name {
				t.Errorf("%s: there is no command %s to be shown", topic.name, name)
			}
			named = append(named, name)
		}
	}
	help, stderr, code := output(t, "--help")
	if code != exitOK || stderr != "" {
		t.Fatalf("code %d, %s", code, stderr)
	}
	for _, name := range commandNames(app.Commands) {
		if n := len(slices.DeleteFunc(slices.Clone(named), func(s string) bool { return s != name })); name != "help" && n != 1 {
			t.Errorf("%s has %d topics", name, n)
		}
	}
	for line := range strings.SplitSeq(help, "\n") {
		if len(line) > 120 {
			t.Errorf("%d wide: %s", len(line), line)
		}
	}
	for _, e := range helpExamples {
		if !strings.Contains(help, e.line+" ") {
			t.Errorf("the help does not show %s", e.line)
		}
	}
}
