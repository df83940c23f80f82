package fs_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// shared is what happens to a bucket, but for the order of what happens at the same moment.
type shared struct {
	Seed             uint64
	Behind           bool
	TTL              time.Duration
	Settle, MaxLag   time.Duration
	Lag, DeletionLag time.Duration // of the store's listings
	Steps            [3][]step     // of the two hosts and of the client
}

// step is what one of them does next.
type step struct {
	Kind, Path, To string
	Sizes          []int
	N              int
	Think, Pause   time.Duration
}

func (s step) String() string {
	out := s.Kind + " " + s.Path
	if s.To != "" {
		out += " to " + s.To
	}
	return fmt.Sprintf("%s %v n %d think %v pause %v", out, s.Sizes, s.N, s.Think, s.Pause)
}

func (h shared) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "seed %d behind %v ttl %v settle %v max-lag %v lag %v deletions %v\n", h.Seed, h.Behind, h.TTL, h.Settle, h.MaxLag, h.Lag, h.DeletionLag)
	for i, steps := range h.Steps {
		for _, x := range steps {
			fmt.Fprintf(&s, "  %d: %v\n", i, x)
		}
	}
	return s.String()
}

// universe are the names that are used. "a-" sorts behind "a" as a name and before "a/" as a key.
func universe() (all []string) {
	names := []string{"a", "a-", "b"}
	for _, x := range names {
		all = append(all, x)
		for _, y := range names {
			all = append(all, x+"/"+y)
			for _, z := range names {
				all = append(all, x+"/"+y+"/"+z)
			}
		}
	}
	return all
}

func newShared(seed uint64) shared {
	r := rand.New(rand.NewPCG(seed, 0x2a0))
	h := shared{Seed: seed, Behind: r.IntN(2) == 0, TTL: pick(r, 5*time.Second, 5*time.Second, time.Second, time.Minute),
		Settle: pick(r, 100*time.Millisecond, time.Millisecond, time.Second), MaxLag: pick(r, 30*time.Second, 200*time.Millisecond)}
	switch r.IntN(3) {
	case 0:
		h.Lag = 5 * time.Second
	case 1:
		h.DeletionLag = 5 * time.Second
	}
	switch *twoOnly {
	case "store":
		h.Behind = false
	case "journal":
		h.Behind = true
	}
	haste := pick(r, 300*time.Millisecond, 3*time.Second, 20*time.Second)
	for who := range h.Steps {
		for range 10 + r.IntN(40) {
			h.Steps[who] = append(h.Steps[who], newStep(r, who, haste))
		}
	}
	return h
}

func newStep(r *rand.Rand, who int, haste time.Duration) step {
	// Names near the root are used most, so that there is something below them.
	name := func() string {
		p := pick(r, "a", "a", "a-", "b")
		for range pick(r, 0, 1, 1, 1, 2) {
			p += "/" + pick(r, "a", "a-", "b")
		}
		return p
	}
	s := step{Path: name(), N: r.IntN(1000), Think: pick(r, 0, time.Duration(r.Int64N(int64(haste))), time.Duration(r.Int64N(int64(haste)))),
		Pause: pick(r, 0, 0, time.Duration(r.IntN(300))*time.Millisecond)}
	if who == foreign {
		s.Kind = pick(r, "put", "put", "put", "delete", "delete", "copy", "marker")
		s.Sizes = []int{r.IntN(pick(r, 20, 3000))}
		if s.Kind == "copy" {
			s.To = name()
		}
		return s
	}
	s.Kind = pick(r, "save", "save", "save", "append", "edit", "cut", "chmod", "chown", "utimens", "setxattr", "mkdir", "mkdir", "mkdir", "symlink",
		"unlink", "unlink", "rmdir", "rename", "rename", "rename", "look", "look", "look", "look", "list", "list", "list", "forget", "flush")
	switch s.Kind {
	case "rename":
		s.To = name()
	case "chmod":
		s.N = pick(r, 0o600, 0o640, 0o711)
	case "save", "append", "edit":
		for range r.IntN(pick(r, 2, 4)) + pick(r, 0, 1, 1, 1) {
			s.Sizes = append(s.Sizes, 1+r.IntN(pick(r, 100, 2000, 6000)))
		}
	case "cut":
		s.N = r.IntN(3000)
	case "list":
		s.Path, _ = splitLast(s.Path)
	case "flush":
		s.Path = ""
	}
	return s
}
