package posix

import (
	"fmt"
	"os"
	"testing"

	"pailfs/tests/testenv"
)

// workers is how many processes run rules for each of root and user on each mount.
const workers = 3

// job is a rule with the directory it runs in.
type job struct {
	family string
	rule   rule
	path   string
}

func TestRules(t *testing.T) {
	testenv.Require(t)
	s := testenv.StoreIn(t, t.TempDir())
	for _, durability := range durabilities {
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			m := mounted(t, s, durability)
			for _, w := range []who{root, user} {
				t.Run(string(w), func(t *testing.T) { runRules(t, m.Path(string(w)), w) })
			}
		})
	}
}

// runRules runs the rules that are for somebody, on as many workers as there are.
func runRules(t *testing.T, base string, w who) {
	if err := os.Mkdir(base, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(base, w.uid(), w.uid()); err != nil {
		t.Fatal(err)
	}
	jobs := make(chan job)
	done := make(chan struct{})
	for range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			runner(t, jobs, w)
		}()
	}
	n := 0
	for _, f := range families() {
		for _, r := range f.rules {
			if r.runsAs(w) {
				n++
				jobs <- job{f.name, r, fmt.Sprintf("%s/%d", base, n)}
			}
		}
	}
	close(jobs)
	for range workers {
		<-done
	}
}

// runner has one worker after the other run rules: a rule that hangs takes its worker with it.
func runner(t *testing.T, jobs <-chan job, w who) {
	var p *worker
	defer func() {
		if p != nil {
			p.stop()
		}
	}()
	for j := range jobs {
		t.Run(j.family+"/"+j.rule.name, func(t *testing.T) {
			if p == nil {
				p = startWorker(t, w)
			}
			staged(t, j, w)
			o, err := p.run(task{Family: j.family, Rule: j.rule.name, Path: j.path})
			if err != nil {
				p = nil
				o = outcome{Got: "wrong", Text: err.Error()}
			}
			judge(t, j.family+": "+j.rule.name, w, o)
		})
	}
}

// staged makes the directory of a rule that root prepares something for.
func staged(t *testing.T, j job, w who) {
	t.Helper()
	if j.rule.stage == nil {
		return
	}
	if err := os.Mkdir(j.path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(j.path, w.uid(), w.uid()); err != nil {
		t.Fatal(err)
	}
	if o := (rule{do: func(d *dir) error { j.rule.stage(d); return nil }}).run(j.path); o.Got != "" {
		t.Fatalf("what root prepares: %v", o)
	}
}

func (w who) uid() int {
	if w == root {
		return 0
	}
	return userID
}

// judge compares an outcome with what is known to fail.
func judge(t *testing.T, name string, w who, o outcome) {
	t.Helper()
	k, ok := knownFailure(name, w)
	switch {
	case !ok && o.Got != "":
		t.Error(o)
	case ok && o.Got == "":
		t.Errorf("this is right now: take it out of known_test.go and FAILS.md (it was %s)", k.gets)
	case ok && o.Got != "" && o.Got != k.gets:
		t.Errorf("%v; it is known to give %s", o, k.gets)
	}
}

func TestNamesOfRulesAreTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	n := 0
	for _, f := range everything() {
		for _, r := range f.rules {
			name := f.name + ": " + r.name
			if seen[name] {
				t.Errorf("two rules are called %q", name)
			}
			seen[name] = true
			n++
		}
	}
	for _, k := range known() {
		for _, name := range k.rules {
			if !seen[name] {
				t.Errorf("no rule is called %q, which is known to fail", name)
			}
		}
	}
	if n < 400 {
		t.Errorf("there are %d rules only", n)
	}
	t.Logf("%d rules", n)
}
