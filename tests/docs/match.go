package docs

import (
	"fmt"
	"regexp"
	"strings"
)

// What differs from run to run: times, dates, processes.
var changing = []struct {
	re *regexp.Regexp
	as string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?)?`), "DATE"},
	{regexp.MustCompile(`\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d+ +(\d\d:\d\d|\d{4})\b`), "DATE"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(µs|ms|s)\b`), "TIME"},
	{regexp.MustCompile(`\b\d+(\.\d+)? (ms|s)\b`), "TIME"},
	{regexp.MustCompile(`\bpid \d+`), "pid N"},
}

func plain(line string) string {
	for _, c := range changing {
		line = c.re.ReplaceAllString(line, c.as)
	}
	return strings.Join(strings.Fields(line), " ")
}

// Match compares what a page shows with what was printed. Blanks count as one; times, dates and pids are not compared; "..." in
// a line stands for anything, and a line of it alone for any lines. No line at all in the page: nothing is compared.
func Match(shown []string, printed string) error {
	if len(shown) == 0 {
		return nil
	}
	var want, got []string
	for _, line := range shown {
		want = append(want, plain(line))
	}
	for line := range strings.Lines(printed) {
		got = append(got, plain(line))
	}
	for len(got) > 0 && got[len(got)-1] == "" {
		got = got[:len(got)-1]
	}
	if !lines(want, got) {
		return fmt.Errorf("the page shows\n%s\nand it printed\n%s", strings.Join(shown, "\n"), printed)
	}
	return nil
}

func lines(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if want[0] == "..." {
		for i := range len(got) + 1 {
			if lines(want[1:], got[i:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && like(want[0], got[0]) && lines(want[1:], got[1:])
}

// like matches one line.
func like(want, got string) bool {
	parts := strings.Split(want, "...")
	for i, p := range parts {
		switch at := strings.Index(got, p); {
		case at < 0, i == 0 && at > 0:
			return false
		case i == len(parts)-1 && i > 0:
			return strings.HasSuffix(got, p)
		default:
			got = got[at+len(p):]
		}
	}
	return got == ""
}
