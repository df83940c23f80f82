package tree

import (
	"context"
	"strings"
	"time"

	"pailfs/cache"
	"pailfs/s3client"
)

// step reads the page behind a key, if the walk still stands there.
func (w *walk) step(ctx context.Context, at string) error {
	if !w.standsAt(at) {
		return nil // somebody was quicker
	}
	w.t.mu.Lock()
	w.t.mu.overlay.sweep(w.t.o.Now()) // here: what it forgets would make the listings void
	mark := w.t.entries.Mark()
	w.t.mu.Unlock()
	asked := w.t.o.Now()
	p, err := w.t.o.Store.List(ctx, s3client.ListRequest{Bucket: w.bucket, Prefix: w.prefix, After: at})
	if err == nil && p.Next != "" && p.Next <= at {
		err = errNoProgress(w.bucket, w.prefix, at)
	}
	for i := range p.Objects {
		p.Objects[i].Bucket = w.bucket
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.at != at || w.mu.ended {
		return nil // somebody has moved it
	}
	w.mu.ahead = false
	if err != nil {
		return err
	}
	w.takeLocked(page{p, asked, w.t.o.Now()}, mark)
	return nil
}

func (w *walk) standsAt(at string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.at == at && !w.mu.ended
}

// takeLocked takes a page.
func (w *walk) takeLocked(p page, mark cache.Mark) {
	w.mu.page, w.mu.read, w.mu.used = w.mu.at, p.came, 0
	for i := range p.Objects {
		w.keyLocked(&p.Objects[i], p, mark)
	}
	if p.Next != "" {
		w.mu.at = p.Next
		return
	}
	for len(w.mu.open) > 0 {
		w.closeLocked()
	}
	w.mu.ended = true
}

// keyLocked takes one key: it ends the directories that the key is not in, and begins those that it is the first of.
func (w *walk) keyLocked(o *s3client.Object, p page, mark cache.Mark) {
	for n := len(w.mu.open); n > 0 && !strings.HasPrefix(o.Key, w.mu.open[n-1].prefix); n-- {
		w.closeLocked()
	}
	in := &reached{prefix: w.prefix, valid: true}
	if n := len(w.mu.open); n > 0 {
		in = w.mu.open[n-1]
	}
	for {
		rest := o.Key[len(in.prefix):]
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			w.nameLocked(in, rest, o, p)
			return
		}
		name, prefix := rest[:i], in.prefix+rest[:i+1]
		if in.l != nil {
			w.holdLocked(in, candidate{name, shown{prefix: true}, p.asked, p.came}, prefix)
		}
		in = &reached{prefix: prefix, valid: in.valid && checkName(name) == nil && len(prefix) <= maxKey+1}
		if in.valid && prefix > w.mu.begun {
			in.l = w.t.walkLister(o, prefix, p.asked, mark)
		}
		w.mu.open = append(w.mu.open, in)
	}
}

// nameLocked takes a key that is a name of a directory, or, without a name, its marker (walkLister).
func (w *walk) nameLocked(in *reached, name string, o *s3client.Object, p page) {
	if in.l != nil && name != "" {
		w.holdLocked(in, candidate{name, shown{obj: o}, p.asked, p.came}, o.Key)
	}
}

// holdLocked keeps a name of a directory, unless there are too many.
func (w *walk) holdLocked(in *reached, c candidate, key string) {
	if len(in.l.held) >= walkHeld {
		in.l = nil
		return
	}
	in.l.hold(c, key)
}

// walkLister is the listing of a directory that a walk comes to. The directory's first key is its marker, or there is none.
func (t *Tree) walkLister(first *s3client.Object, prefix string, asked time.Time, mark cache.Mark) *lister {
	path, ok := t.space.pathOf(first.Bucket, prefix)
	if !ok {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.listerLocked(path, t.entries.BeginAt(path, mark))
	l.asked = asked
	d := t.dirLocked(path)
	d.odd = false
	switch {
	case d.checked.After(asked): // put, or looked at, since
	case first.Key == prefix:
		t.markLocked(path, first)
	default:
		t.markLocked(path, nil)
	}
	return l
}

// closeLocked ends the innermost directory: all its keys were read.
func (w *walk) closeLocked() {
	n := len(w.mu.open) - 1
	r := w.mu.open[n]
	w.mu.open = w.mu.open[:n]
	if r.l == nil {
		return
	}
	r.l.ready()
	r.l.flush("", true, func(Entry) bool { return true })
	_ = r.l.end() // that there is nothing is what its keys belie, or the marker's deletion here: whoever asks is told
}

// ready brings what was held of a directory in order.
func (l *lister) ready() {
	sortCandidates(l.held)
	l.joinSame()
}
