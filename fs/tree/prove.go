package tree

import (
	"context"
	"sort"

	"golang.org/x/sync/errgroup"
)

const (
	// proofs is how many changes made here a stretch of a listing asks the store about where it contradicts them for too
	// long; proofsAtOnce of them together. The rest is shown as it was made here and asked about next time.
	proofs       = 256
	proofsAtOnce = 32
)

// doubt is a change made here that a listing contradicts, and only a HEAD can tell.
type doubt struct {
	path string
	c    *change
	shown
}

// prove asks the store about what a listing contradicts below bound, or everywhere: a file that was made here and that another
// host has deleted since would be listed for as long as changes are kept. A change is doubted when it was made, or last borne
// out, longer ago than settle, so that listings that lag cost nothing. What cannot be asked stays as it was made.
func (l *lister) prove(ctx context.Context, bound string, all bool) {
	var g errgroup.Group
	g.SetLimit(proofsAtOnce)
	for _, d := range l.doubts(bound, all) {
		g.Go(func() error {
			if err := l.t.resolve(ctx, d.path, d.c, &d.shown, true); err != nil && ctx.Err() == nil {
				l.t.o.Log.DebugContext(ctx, "a listing cannot be told from a change made here", "path", d.path, "err", err)
			}
			return nil
		})
	}
	_ = g.Wait() // there is none
}

func (l *lister) doubts(bound string, all bool) (ds []doubt) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	for _, name := range l.ours {
		if !all && name >= bound || len(ds) == proofs {
			break
		}
		path := join(l.path, name)
		c := l.t.mu.overlay.byPath[path]
		if c == nil || c.pinned() || c.it.IsDir() || c.kind != put {
			continue
		}
		s, asked := shown{}, l.asked
		if i := sort.Search(len(l.held), func(i int) bool { return l.held[i].name >= name }); i < len(l.held) && l.held[i].name == name {
			s, asked = l.held[i].shown, l.held[i].asked
		}
		if s.prefix {
			continue
		}
		if v := c.judge(s, asked, l.t.o.Now()); v.keep && !v.sure {
			ds = append(ds, doubt{path, c, s})
		}
	}
	return ds
}
