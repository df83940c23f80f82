package testenv

import (
	"regexp"
	"time"
)

// Option changes how Mount mounts or what it expects.
type Option func(*config)

type config struct {
	source         string
	dir            string
	stateDir       string
	runDir         string
	cacheHome      string
	ttl            time.Duration // negative: the program's default
	args           []string
	env            []string
	program        string // "": Binary
	exits          []int
	expected       []*regexp.Regexp
	expectedMisses bool // set by AllowLog: no line need match
}

func newConfig(options []Option) config {
	c := config{ttl: time.Second, exits: []int{0}}
	for _, o := range options {
		o(&c)
	}
	return c
}

// Of mounts a bucket, or "BUCKET/PREFIX"; without it the whole account is mounted.
func Of(source string) Option { return func(c *config) { c.source = source } }

// At mounts on a directory of the test's instead of a new one.
func At(dir string) Option { return func(c *config) { c.dir = dir } }

// State uses a state directory of the test's, such as that of a mount that was killed.
func State(dir string) Option { return func(c *config) { c.stateDir = dir } }

// CacheHome uses a cache directory of the test's, such as that of an earlier mount at the same place.
func CacheHome(dir string) Option { return func(c *config) { c.cacheHome = dir } }

// TTL sets --metadata-ttl; the default here is one second. A negative one leaves the program's default.
func TTL(d time.Duration) Option { return func(c *config) { c.ttl = d } }

// Args adds arguments to the command line.
func Args(args ...string) Option { return func(c *config) { c.args = append(c.args, args...) } }

// Env adds NAME=VALUE variables to the process's environment.
func Env(vars ...string) Option { return func(c *config) { c.env = append(c.env, vars...) } }

// Program mounts by another program than Binary, which is given the same arguments: a script that starts it.
func Program(path string) Option { return func(c *config) { c.program = path } }

// ExpectExit announces exit statuses that are right for this mount; without it only 0 is.
func ExpectExit(statuses ...int) Option { return func(c *config) { c.exits = statuses } }

// ExpectLog announces WARN and ERROR lines: those that match a pattern do not fail the test, and a pattern that no line
// matches does.
func ExpectLog(patterns ...string) Option {
	return func(c *config) {
		for _, p := range patterns {
			c.expected = append(c.expected, regexp.MustCompile(p))
		}
	}
}

// AllowLog is ExpectLog for lines that may or may not come.
func AllowLog(patterns ...string) Option {
	return func(c *config) {
		ExpectLog(patterns...)(c)
		c.expectedMisses = true
	}
}
