// Command gotest reads the output of `go test -json` and prints what a person wants of it: a line for each package, with the
// slowest tests of one that takes minutes, and all output of tests that failed. Skipped tests go to the file named by PAILFS_TEST_SKIP_FILE, unless they are in it already.
//
//	go test -json ./... | gotest
//
// Tests that failed go to the file named by PAILFS_TEST_FAIL_FILE, as "package test"; "-" stands for the test where a package failed without
// one that is to blame. Its status is 1 when something failed, or when the stream ended before the tests did.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// event is a line of `go test -json` (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of build output
	Elapsed                       float64
}

// suite is what is known of the packages so far.
type suite struct {
	out     io.Writer
	output  map[string][]string // by package and test
	running map[string]bool     // packages that have not ended
	took    map[string][]event  // tests that have ended, by package
	skipped []string            // "test: reason"
	failed  bool
	blame   []string // "package test" of what failed
}

func main() {
	s := newSuite(os.Stdout)
	err := s.read(os.Stdin)
	if err == nil {
		err = errors.Join(writeSkips(os.Getenv("PAILFS_TEST_SKIP_FILE"), s.skipped), writeBlame(os.Getenv("PAILFS_TEST_FAIL_FILE"), s.blame))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
	}
	if err != nil || s.failed {
		os.Exit(1)
	}
}

func newSuite(out io.Writer) *suite {
	return &suite{out: out, output: map[string][]string{}, running: map[string]bool{}, took: map[string][]event{}}
}

func (s *suite) read(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(s.out, line) // not of go test: the go command's own words
			} else {
				s.take(e)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	for p := range s.running {
		s.failed = true
		s.blame = append(s.blame, p+" -")
		fmt.Fprintf(s.out, "FAIL %s: did not end\n", p)
	}
	return nil
}

func (s *suite) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "start":
		s.running[e.Package] = true
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "build-fail":
		s.failed = true
		s.blame = append(s.blame, e.ImportPath+" -")
	case "pass":
		s.end(e, "ok  ")
	case "skip":
		if e.Test != "" {
			s.skipped = append(s.skipped, e.Test+": "+reason(s.output[key]))
		}
		s.end(e, "none")
	case "fail":
		s.failed = true
		if e.Test == "" {
			s.unended(e.Package)
		}
		s.blameFor(e)
		fmt.Fprint(s.out, strings.Join(s.output[key], ""))
		s.end(e, "FAIL")
	}
}

// unended prints what tests said that were running when their package's process ended: a panic, or the time limit's stacks.
func (s *suite) unended(pkg string) {
	for _, key := range slices.Sorted(maps.Keys(s.output)) {
		if test, ok := strings.CutPrefix(key, pkg+" "); ok && test != "" {
			fmt.Fprintf(s.out, "--- did not end: %s\n%s", test, strings.Join(s.output[key], ""))
			delete(s.output, key)
		}
	}
}

// blameFor notes which test of its own, not of a part of it, a package failed for.
func (s *suite) blameFor(e event) {
	switch {
	case e.Test == "" && !slices.ContainsFunc(s.blame, func(b string) bool { return strings.HasPrefix(b, e.Package+" ") }):
		s.blame = append(s.blame, e.Package+" -")
	case e.Test != "" && !strings.Contains(e.Test, "/"):
		s.blame = append(s.blame, e.Package+" "+e.Test)
	}
}

// end forgets a test's output and prints a package's line.
func (s *suite) end(e event, word string) {
	delete(s.output, e.Package+" "+e.Test)
	if e.Test != "" {
		if !strings.Contains(e.Test, "/") {
			s.took[e.Package] = append(s.took[e.Package], e)
		}
		return
	}
	delete(s.running, e.Package)
	if word != "none" { // a package without tests
		fmt.Fprintf(s.out, "%s %-44s %7.1fs%s\n", word, e.Package, e.Elapsed, s.slowest(e))
	}
}

// long is how many seconds a package may take until one asks what takes them.
const long = 120

// slowest are the tests that took the most time of a package that has ended, when it took long.
func (s *suite) slowest(e event) string {
	took := s.took[e.Package]
	delete(s.took, e.Package)
	if e.Elapsed < long {
		return ""
	}
	slices.SortStableFunc(took, func(a, b event) int { return cmp.Compare(b.Elapsed, a.Elapsed) })
	var b strings.Builder
	for _, t := range took[:min(len(took), 8)] {
		fmt.Fprintf(&b, "\n       %6.1fs %s", t.Elapsed, t.Test)
	}
	return b.String()
}

// reason finds why a test was skipped: the last line that a test wrote, without its file and line.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") {
			continue
		}
		if _, text, ok := strings.Cut(line, ": "); ok {
			return text
		}
		return line
	}
	return "no reason given"
}

func writeBlame(file string, blame []string) error {
	if file == "" {
		return nil
	}
	return os.WriteFile(file, []byte(strings.Join(append(blame, ""), "\n")), 0o644)
}

// writeSkips adds the tests that are not in the file.
func writeSkips(file string, skipped []string) error {
	if file == "" || len(skipped) == 0 {
		return nil
	}
	have, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	for _, s := range skipped {
		name, _, _ := strings.Cut(s, ":")
		if strings.HasPrefix(string(have), name+":") || strings.Contains(string(have), "\n"+name+":") {
			continue
		}
		if _, err = fmt.Fprintln(f, s); err != nil {
			break
		}
	}
	return errors.Join(err, f.Close())
}
