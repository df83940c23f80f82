package tree

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Names of a large directory that are looked up one behind the other, slower than the TTL allows: a page each time, not a
// LIST a name.
func TestNamesInOrder(t *testing.T) {
	for _, deleting := range []bool{false, true} {
		r := newRig(t, Options{Bucket: bkt, TTL: 5 * time.Second})
		const n = 5000
		for i := range n {
			r.object(fmt.Sprintf("f%05d", i), "x")
		}
		r.names("")
		r.last = r.mem.Counts()
		for i := range n {
			p := fmt.Sprintf("f%05d", i)
			r.lookup(p)
			if deleting {
				r.ok(r.tree.Unlink(r.ctx, p))
			}
			r.clock.add(20 * time.Millisecond)
		}
		d := r.mem.Counts().Sub(r.last)
		// 100 s are 20 times the TTL; where nothing is deleted the first name asked for is not known to be the next.
		if d.List > 41 || deleting && d.List > 25 || d.Head > 0 {
			t.Errorf("deleting %v: %d LISTs, %d HEADs", deleting, d.List, d.Head)
		}
	}
}

// In no order: about as many LISTs as the directory has pages bring all of them back.
func TestNamesInNoOrder(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: 5 * time.Second})
	const n = 5000
	for i := range n {
		r.object(fmt.Sprintf("f%05d", i), "x")
	}
	r.names("")
	r.clock.add(time.Minute)
	r.last = r.mem.Counts()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		i := rnd.IntN(n)
		r.lookup(fmt.Sprintf("f%05d", i))
		r.missing(fmt.Sprintf("f%05d-", i))
	}
	if l := r.mem.Counts().Sub(r.last).List; l > 2*(5+3) {
		t.Errorf("%d LISTs", l)
	}
}

// What pages say of names is what is there, whatever the order they are asked in.
func TestNamesTellTheTruth(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 100 {
		r := newRig(t, Options{Bucket: bkt, TTL: time.Second})
		r.tree.o.Store = smallPages{r.mem, 2 + rnd.IntN(9)}
		there := map[string]bool{}
		name := func() string {
			return []string{"a", "b", "a-", "é", "z"}[rnd.IntN(5)] + []string{"", "-", "0", ".", "é"}[rnd.IntN(5)] + []string{"", "1", "-"}[rnd.IntN(3)]
		}
		for range 60 {
			p := name()
			switch rnd.IntN(6) {
			case 0:
				if !there[p] {
					r.object(p+"/x", "x")
					there[p] = true
				}
				r.clock.add(2 * time.Second)
			case 1:
				if !there[p] {
					r.store(p, "x")
				}
				there[p] = true
			case 2:
				if e, err := r.tree.Lookup(r.ctx, p); err == nil && !e.IsDir() {
					r.ok(r.tree.Unlink(r.ctx, p))
					delete(there, p)
				}
			case 3:
				r.clock.add(time.Duration(rnd.IntN(1500)) * time.Millisecond)
			case 4:
				r.names("")
			}
			for range 4 {
				p := name()
				if there[p] {
					r.lookup(p)
				} else {
					r.missing(p)
				}
			}
		}
		_ = round
	}
}
