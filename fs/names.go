package fs

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// names keeps a name as it is while something relies on it.
//
// A change of a file (a write that makes it unsaved, its commit, its attributes, a new name in a directory) shares its
// path; a rename, an unlink or an rmdir owns the paths that it changes, with all that is below them. So nothing is stored
// under a name between the copy that a rename makes of it and the deletion that follows. Reading and looking up never
// wait here.
//
// Nobody shares or owns while he shares or owns already: an owner that waits lets no one in before him.
type names struct {
	mu struct {
		sync.Mutex
		shared map[string]int
		owned  map[string]struct{} // no two of different owners overlap
		freed  chan struct{}       // closed when a path is given back; nil when nobody waits
	}
}

func newNames() *names {
	n := &names{}
	n.mu.shared = make(map[string]int)
	n.mu.owned = make(map[string]struct{})
	return n
}

// within says whether a path is dir or below it.
func within(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}

// share waits until nobody owns the path or a directory above it.
func (n *names) share(ctx context.Context, path string) (release func(), err error) {
	err = n.wait(ctx, func() bool {
		for o := range n.mu.owned {
			if within(path, o) {
				return false
			}
		}
		n.mu.shared[path]++
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("wait for the renaming of %s: %w", path, err)
	}
	return func() {
		n.free(func() {
			if n.mu.shared[path]--; n.mu.shared[path] == 0 {
				delete(n.mu.shared, path)
			}
		})
	}, nil
}

// own waits until nobody owns or shares the paths or anything below them. Those who come later wait from the beginning.
func (n *names) own(ctx context.Context, paths ...string) (release func(), err error) {
	release = func() {
		n.free(func() {
			for _, p := range paths {
				delete(n.mu.owned, p)
			}
		})
	}
	err = n.wait(ctx, func() bool {
		for _, p := range paths {
			for o := range n.mu.owned {
				if within(p, o) || within(o, p) {
					return false
				}
			}
		}
		for _, p := range paths {
			n.mu.owned[p] = struct{}{}
		}
		return true
	})
	if err == nil {
		if err = n.wait(ctx, func() bool { return !n.inUseLocked(paths) }); err != nil {
			release()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("wait for changes of %s: %w", paths[0], err)
	}
	return release, nil
}

func (n *names) inUseLocked(paths []string) bool {
	for s := range n.mu.shared {
		for _, p := range paths {
			if within(s, p) {
				return true
			}
		}
	}
	return false
}

// wait calls try, under the lock, until it says yes or ctx ends.
func (n *names) wait(ctx context.Context, try func() bool) error {
	for {
		n.mu.Lock()
		ok := try()
		if !ok && n.mu.freed == nil {
			n.mu.freed = make(chan struct{})
		}
		freed := n.mu.freed
		n.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// free gives something back and wakes those who wait.
func (n *names) free(give func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	give()
	if n.mu.freed != nil {
		close(n.mu.freed)
		n.mu.freed = nil
	}
}
