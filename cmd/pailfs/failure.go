package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// failure is an error as the command line says it: one line what went wrong, one line what to do, and the exit code.
type failure struct {
	code    int
	command string // "mount"
	message string // "cannot mount data: ..."
	hint    string // what to do about it, "" when there is nothing to say
	silent  bool   // all has been printed already: only the code is left
}

func (f *failure) Error() string {
	if f.command == "" {
		return f.message
	}
	return f.command + ": " + f.message
}

// print writes the failure as the user reads it.
func (f *failure) print(w io.Writer) { f.printAs("pailfs", w) }

// printAs begins with another name of the program.
func (f *failure) printAs(program string, w io.Writer) {
	if f.silent {
		return
	}
	fmt.Fprintf(w, "%s: %s\n", program, oneLine(f.Error()))
	if f.hint != "" {
		fmt.Fprintf(w, "hint: %s\n", oneLine(f.hint))
	}
}

// usagef is a failure of the command line itself.
func usagef(command, format string, args ...any) *failure {
	return &failure{code: exitUsage, command: command, message: fmt.Sprintf(format, args...)}
}

// checkArguments says how many arguments a command takes, two at the most, when it was given another number; usage is the hint.
func checkArguments(command, usage string, args []string, least, most int) error {
	n := len(args)
	if n >= least && n <= most {
		return nil
	}
	needed := "one argument is"
	switch {
	case most == 0:
		return usagef(command, "unexpected argument %q", args[0])
	case least == 0:
		needed = "at most one argument is"
	case least < most:
		needed = "one or two arguments are"
	case least == 2:
		needed = "two arguments are"
	}
	f := usagef(command, "%s needed, not %d", needed, n)
	f.hint = usage
	return f
}

// oneLine keeps an answer of a store or a tool on one line: no line breaks, no control characters of a terminal, of which some
// stand beyond ASCII, and none that turn the direction of what follows.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD") // a byte like 0x9b alone begins a sequence on some terminals
	return strings.Join(strings.FieldsFunc(s, disturbs), " ")
}

// disturbs says whether a character does something to a terminal but stand there.
func disturbs(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// nearest is the candidate that s is most likely a slip of, "" when none is near.
func nearest(s string, candidates []string) string {
	best, bestDistance := "", 3
	for _, c := range candidates {
		if d := distance(s, c); d < bestDistance && d < len(c) {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of inserted, deleted and replaced bytes between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
