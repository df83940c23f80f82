package posix

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// who may run a rule.
type who string

const (
	anyone who = ""     // root and the ordinary user
	root   who = "root" // uid 0 alone: what nobody else may do
	user   who = "user" // the ordinary user alone: what root is not refused
)

// rule is one sentence of a man page.
type rule struct {
	name  string
	want  unix.Errno // 0: the call succeeds and do finds what it should
	who   who
	stage func(d *dir) // by root, in the test's process, before
	do    func(d *dir) error
}

// works is a rule of what a call does.
func works(name string, do func(d *dir)) rule {
	return rule{name: name, do: func(d *dir) error { do(d); return nil }}
}

// fails is a rule of what a call refuses: do returns the call's error.
func fails(want unix.Errno, name string, do func(d *dir) error) rule {
	return rule{name: errnoName(want) + " " + name, want: want, do: do}
}

func (r rule) by(w who) rule                 { r.who = w; return r }
func (r rule) staged(f func(d *dir)) rule    { r.stage = f; return r }
func (r rule) runsAs(w who) bool             { return r.who == anyone || r.who == w }
func (r rule) outcome(err error) (o outcome) { return outcomeOf(r.want, err) }

// family is the rules of a system call, or of several that belong together.
type family struct {
	name  string
	rules []rule
}

// outcome is what became of a rule: "as it should be", the name of an errno, or what was wrong.
type outcome struct {
	// Got is "" when all was as it should be, the errno's name when another one came ("OK" for none), or "wrong" when a
	// result was.
	Got string
	// Text says more.
	Text string
}

func (o outcome) String() string {
	if o.Text == "" {
		return o.Got
	}
	return o.Got + ": " + o.Text
}

// wrong is what a rule panics with when a result is not the one the man page promises, or a step on the way failed.
type wrong struct{ text string }

func (w wrong) Error() string { return w.text }

// outcomeOf compares what a call said with what it should have said.
func outcomeOf(want unix.Errno, err error) outcome {
	var w wrong
	var errno unix.Errno
	switch {
	case errors.As(err, &w):
		return outcome{Got: "wrong", Text: w.text}
	case err == nil && want == 0, errors.As(err, &errno) && errno == want:
		return outcome{}
	case err == nil:
		return outcome{Got: "OK", Text: "want " + errnoName(want)}
	case errno != 0:
		return outcome{Got: errnoName(errno), Text: err.Error()}
	}
	return outcome{Got: "wrong", Text: err.Error()}
}

// errnoName is an errno's name; of the two that are one on Linux the one that the man pages use.
func errnoName(e unix.Errno) string {
	switch e {
	case unix.EOPNOTSUPP:
		return "EOPNOTSUPP"
	case unix.EAGAIN:
		return "EAGAIN"
	}
	return unix.ErrnoName(e)
}

// run runs a rule in its directory.
func (r rule) run(path string) (o outcome) {
	d := &dir{path: path}
	defer func() {
		if text := d.end(); text != "" && o.Got == "" {
			o = outcome{Got: "wrong", Text: text}
		}
	}()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case step:
			o = outcome{Got: errnoName(p.errno), Text: p.Error()}
		case wrong:
			o = outcome{Got: "wrong", Text: p.text}
		default:
			o = outcome{Got: "panic", Text: fmt.Sprint(p)}
		}
	}()
	return r.outcome(r.do(d))
}
