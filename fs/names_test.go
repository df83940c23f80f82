package fs

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestNames(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		held, wanted string // a path; "!" before it: owned
		waits        bool
	}{
		{"a/b", "a/b", false},
		{"a/b", "!a/b", true},
		{"a/b", "!a", true},
		{"a/b", "!a/b/c", false},
		{"a/b", "!a/bc", false},
		{"a/bc", "!a/b", false},
		{"!a", "a", true},
		{"!a", "a/b/c", true},
		{"!a/b", "a", false},
		{"!a/b", "a/bc", false},
		{"!a", "!a/b", true},
		{"!a/b", "!a", true},
		{"!a/b", "!a/c", false},
	} {
		n := newNames()
		take := func(ctx context.Context, p string) (func(), error) {
			if p[0] == '!' {
				return n.own(ctx, p[1:], "elsewhere/"+p[1:])
			}
			return n.share(ctx, p)
		}
		first, err := take(t.Context(), c.held)
		if err != nil {
			t.Fatal(err)
		}
		second, err := take(ended, c.wanted)
		if errors.Is(err, context.Canceled) != c.waits {
			t.Errorf("%s held, %s wanted: %v", c.held, c.wanted, err)
		}
		if err == nil {
			second()
		}
		first()
		if len(n.mu.shared)+len(n.mu.owned) != 0 {
			t.Errorf("%s held, %s wanted: left %v %v", c.held, c.wanted, n.mu.shared, n.mu.owned)
		}
	}
}

func TestNamesLetEveryoneIn(t *testing.T) {
	n := newNames()
	var busy sync.WaitGroup
	writers := map[string]int{}
	for i := range 8 {
		p := []string{"a/x", "a/y", "b/x", "c"}[i%4]
		busy.Go(func() {
			for range 500 {
				release, err := n.share(t.Context(), p)
				if err != nil {
					t.Error(err)
					return
				}
				release()
			}
		})
		busy.Go(func() {
			for range 200 {
				release, err := n.own(t.Context(), p[:1], "z"+p[:1])
				if err != nil {
					t.Error(err)
					return
				}
				n.mu.Lock()
				writers[p[:1]]++
				if writers[p[:1]] > 1 || n.inUseLocked([]string{p[:1]}) {
					t.Errorf("%s is not owned alone", p[:1])
				}
				n.mu.Unlock()
				n.mu.Lock()
				writers[p[:1]]--
				n.mu.Unlock()
				release()
			}
		})
	}
	busy.Wait()
}
