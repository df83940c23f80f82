package docs

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pailfs/tests/testenv"
)

var (
	flagWord    = regexp.MustCompile(`(?:^|[\s(\[])(--[a-z][a-z-]+)`)
	commandWord = regexp.MustCompile(`^pailfs ((?:credentials|bucket|uploads|config) [a-z]+|[a-z-]+)`)
	code        = regexp.MustCompile("`([^`]+)`")
)

// others are options of other programs that the pages name, and the one that stands for any.
var others = []string{"--name", "--cap-add", "--device", "--propagation", "--reflink", "--volume"}

// Commands and options that stand in the text, where no test runs them, are those there are.
func TestCommandsAndOptionsInTheText(t *testing.T) {
	said := func(args ...string) string {
		out, err := exec.Command(testenv.Binary(t), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("pailfs %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	help := said("docs", "options")
	var commands []string
	for _, m := range code.FindAllStringSubmatch(said("docs", "commands"), -1) {
		if name := commandWord.FindStringSubmatch(m[1]); name != nil {
			commands = append(commands, name[1])
			help += said(append(strings.Fields(name[1]), "--help")...)
		}
	}
	known := others
	for _, m := range flagWord.FindAllStringSubmatch(strings.ReplaceAll(help, "`", " "), -1) {
		known = append(known, m[1])
	}
	for _, page := range pages(t) {
		fenced := false
		for n, line := range page.Lines {
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
			}
			if fenced {
				continue
			}
			for _, m := range code.FindAllStringSubmatch(line, -1) {
				name := commandWord.FindStringSubmatch(m[1])
				if name != nil && !slices.ContainsFunc(commands, func(c string) bool {
					return c == name[1] || strings.HasPrefix(c, name[1]+" ") || strings.HasPrefix(name[1], c+" ")
				}) &&
					!slices.Contains([]string{"docs", "help"}, strings.Fields(name[1])[0]) {
					t.Errorf("%s:%d: there is no command pailfs %s", page.Name, n+1, name[1])
				}
				for _, f := range flagWord.FindAllStringSubmatch(m[1], -1) {
					if !slices.Contains(known, f[1]) {
						t.Errorf("%s:%d: there is no option %s", page.Name, n+1, f[1])
					}
				}
			}
		}
	}
}
