package testenv

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// logFile is where a mount's process writes.
type logFile struct {
	file *os.File
	path string
}

func newLogFile(t testing.TB, path string) *logFile {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &logFile{f, path}
}

func (l *logFile) read() string {
	b, err := os.ReadFile(l.path)
	if err != nil {
		return "(the log cannot be read: " + err.Error() + ")"
	}
	return string(b)
}

var (
	// warning finds the lines of level WARN and ERROR in both forms of log, text and JSON.
	warning = regexp.MustCompile(`(^|\s)level=(WARN|ERROR)\b|"level":"(WARN|ERROR)"|^(WARN|ERROR)\b|^\S+( \S+)? (WARN|ERROR) `)
	// broken finds what nobody can announce: the runtime's own cries.
	broken = regexp.MustCompile(`WARNING: DATA RACE|^panic: |^fatal error: |^SIGSEGV|Unsolicited response received on idle HTTP channel`)
)

// unexpected returns the lines of a log that must fail a test, and the patterns that no line matched.
func unexpected(log string, expected []*regexp.Regexp) (lines []string, missed []string) {
	seen := make([]bool, len(expected))
	for line := range strings.Lines(log) {
		line = strings.TrimRight(line, "\n")
		if broken.MatchString(line) {
			lines = append(lines, line)
			continue
		}
		if !warning.MatchString(line) {
			continue
		}
		announced := false
		for i, re := range expected {
			if re.MatchString(line) {
				announced, seen[i] = true, true
			}
		}
		if !announced {
			lines = append(lines, line)
		}
	}
	for i, re := range expected {
		if !seen[i] {
			missed = append(missed, re.String())
		}
	}
	return lines, missed
}
