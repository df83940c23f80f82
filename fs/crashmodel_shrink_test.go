package fs_test

import (
	"math/rand/v2"
	"testing"
	"time"
)

// shrink leaves out of a history what it does not need to fail.
func shrink(t *testing.T, root string, h history, res result) (history, result) {
	end := time.Now().Add(*crashShrink)
	r := rand.New(rand.NewPCG(h.Seed, 1))
	try := func(c history) bool {
		for k := range 8 {
			if time.Now().After(end) {
				return false
			}
			if k > 0 && len(c.Kills) > 0 { // what was left out has moved the events
				c.Kills = append([]kill(nil), c.Kills...)
				i := r.IntN(len(c.Kills))
				if n := c.Kills[i].Event; n > 0 {
					c.Kills[i].Event = 1 + r.IntN(n)
				}
				if n := c.Kills[i].Entry; n > 0 {
					c.Kills[i].Entry = 1 + r.IntN(n)
				}
			}
			if got := carryOut(t, root, c); len(got.findings) > 0 {
				h, res = c, got
				return true
			}
			if len(c.Kills) == 0 {
				return false
			}
		}
		return false
	}
	for smaller := true; smaller && time.Now().Before(end); {
		smaller = false
		for _, c := range candidates(h) {
			if try(c) {
				smaller = true
				break
			}
		}
	}
	return h, res
}

// candidates are histories with something left out, the most first.
func candidates(h history) (all []history) {
	for i := range h.Kills {
		c := h
		c.Kills = append(append([]kill(nil), h.Kills[:i]...), h.Kills[i+1:]...)
		all = append(all, c)
	}
	for i := range h.Writers {
		for n := len(h.Writers[i]); n >= 1; n /= 2 {
			for at := 0; at+n <= len(h.Writers[i]); at += n {
				c := h
				c.Writers = append([][]op(nil), h.Writers...)
				c.Writers[i] = append(append([]op(nil), h.Writers[i][:at]...), h.Writers[i][at+n:]...)
				all = append(all, c)
			}
		}
	}
	if h.Faults {
		c := h
		c.Faults = false
		all = append(all, c)
	}
	if h.Look {
		c := h
		c.Look = false
		all = append(all, c)
	}
	for i, ops := range h.Writers {
		for j, o := range ops {
			change := func(f func(*op)) {
				c := h
				c.Writers = append([][]op(nil), h.Writers...)
				c.Writers[i] = append([]op(nil), ops...)
				f(&c.Writers[i][j])
				all = append(all, c)
			}
			if len(o.Sizes) > 1 {
				change(func(o *op) { o.Sizes = o.Sizes[:len(o.Sizes)-1] })
			}
			if o.Sync > 0 {
				change(func(o *op) { o.Sync = 0 })
			}
			if o.Pause > 0 {
				change(func(o *op) { o.Pause = 0 })
			}
		}
	}
	return all
}
