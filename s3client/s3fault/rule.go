package s3fault

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"
)

// Call is one call of a Store's method as rules and hooks see it.
type Call struct {
	Name   string // the method: "Get", "CompleteUpload", ...
	Bucket string // the destination's, for copies
	Key    string // the destination's; the prefix for List and Uploads; "" for calls on a bucket
	// Number of the part, for UploadPart and CopyPart.
	Part int
}

// Rule is a fault. Its first fields choose the calls it strikes, the others say what happens, in this order: Delay,
// Hook, Before (the call is not made), the call, After or Refused (it was made, the answer is lost), the body's fault.
type Rule struct {
	Call   string // the method's name; "" strikes every method
	Bucket string // "" strikes every bucket
	Key    string // "" strikes every key
	Prefix string // of the key
	Part   int    // a part's number; 0 strikes all

	Nth         int     // strikes the nth matching call alone, counted from 1; 0 strikes all
	Times       int     // strikes at most so many calls; 0 has no limit
	Probability float64 // of striking a matching call; 0 means 1
	Seed        uint64  // of the chance

	Delay time.Duration // waited before the call, or until its context ends
	// Hook runs before the call; its error is the answer then.
	Hook func(context.Context, Call) error
	// Before is the answer in place of the call. A bare s3client.Kind is made an *s3client.Error.
	Before error
	// After is the answer when the call has been carried out, successfully or not.
	After error
	// Refused: the call has been carried out, the answer was lost, and all further attempts were refused with this until the
	// deadline. The answer is what a client makes of that (s3client.InDoubt).
	Refused error
	// Cut breaks Get's body off after CutAt bytes with CutErr, or io.ErrUnexpectedEOF when that is nil.
	Cut    bool
	CutAt  int64
	CutErr error
	// Stall stops Get's body after CutAt bytes until the call's context ends or the body is closed.
	Stall bool
}

// Active is a rule at work.
type Active struct {
	store *Store
	rule  Rule

	// guarded by Store.mu
	seen, struck int
	chance       *rand.Rand
}

// Struck is how many calls the rule has chosen so far.
func (a *Active) Struck() int {
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	return a.struck
}

// Remove ends the rule. A call that it has chosen already goes on with it.
func (a *Active) Remove() {
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	for i, b := range a.store.mu.rules {
		if a == b {
			a.store.mu.rules = append(a.store.mu.rules[:i:i], a.store.mu.rules[i+1:]...)
			return
		}
	}
}

func (r *Rule) matches(c Call) bool {
	return (r.Call == "" || r.Call == c.Name) && (r.Bucket == "" || r.Bucket == c.Bucket) &&
		(r.Key == "" || r.Key == c.Key) && strings.HasPrefix(c.Key, r.Prefix) && (r.Part == 0 || r.Part == c.Part)
}

// choosesLocked decides whether the rule strikes the call.
func (a *Active) choosesLocked(c Call) bool {
	if !a.rule.matches(c) {
		return false
	}
	a.seen++
	switch {
	case a.rule.Nth != 0 && a.seen != a.rule.Nth:
		return false
	case a.rule.Times != 0 && a.struck >= a.rule.Times:
		return false
	case a.rule.Probability != 0 && a.chance.Float64() >= a.rule.Probability:
		return false
	}
	a.struck++
	return true
}
