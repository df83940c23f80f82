package tree

import (
	"fmt"
	"net/netip"
	"path"
	"strings"
)

// The rules for buckets' names, as the service has them (S3's, without those that only some endpoints know).

// ruleError is a name that breaks a rule. It is ErrName.
type ruleError struct{ name, rule string }

func (e *ruleError) Error() string { return fmt.Sprintf("%q is no bucket's name: %s", e.name, e.rule) }
func (e *ruleError) Unwrap() error { return ErrName }

// checkBucket holds a bucket's name to the service's rules.
func checkBucket(name string) error {
	broken := func(rule string) error { return &ruleError{name, rule} }
	if len(name) < 3 || len(name) > 63 {
		return broken("it has 3 to 63 characters")
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		inside := i > 0 && i < len(name)-1
		switch {
		case !letter && c != '-' && c != '.':
			return broken("it has small letters (a-z), digits, hyphens and dots alone")
		case !letter && !inside:
			return broken("it begins and ends with a letter or a digit")
		case c == '.' && (name[i-1] == '.' || name[i-1] == '-' || name[i+1] == '-'):
			return broken("a dot stands between letters or digits")
		}
	}
	if a, err := netip.ParseAddr(name); err == nil && a.Is4() {
		return broken("it is no IP address")
	}
	return nil
}

// checkNewBucket is checkBucket for a bucket to be made: names that begin with xn-- are for the service alone, and one that
// would not be shown is not made.
func (t *Tree) checkNewBucket(name string) error {
	if strings.HasPrefix(name, "xn--") {
		return &ruleError{name, "it does not begin with xn--"}
	}
	if err := checkBucket(name); err != nil {
		return err
	}
	if !t.wanted(name) {
		return &ruleError{name, "it matches --bucket-pattern (" + strings.Join(t.o.BucketPattern, ":") + ")"}
	}
	return nil
}

// bucketShown says whether a bucket of the account's list can be a directory. Parts of large objects lie in
// NAME+segments, NAME_segments and .file-segments; those, as all names against the rules, cannot be opened.
func bucketShown(name string) bool {
	if strings.HasSuffix(name, "+segments") || strings.HasSuffix(name, "_segments") || name == ".file-segments" {
		return false
	}
	return checkBucket(name) == nil
}

// wanted says whether a bucket's name matches one of the patterns, where there are any.
func (t *Tree) wanted(name string) bool {
	for _, p := range t.o.BucketPattern {
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
	}
	return len(t.o.BucketPattern) == 0
}
