package fs

import (
	"context"
	"fmt"
	"sync"
	"syscall"

	"pailfs/fs/tree"
)

// WarmOptions say how a tree is fetched ahead.
type WarmOptions struct {
	Jobs int // files at once, 16 by default
}

// WarmProgress is how far a Warm is. Files and Bytes grow while the tree is still being listed.
type WarmProgress struct {
	Files, FilesDone int64
	Bytes, BytesDone int64
	Failed           int64
	// Path, in a report, is of a file that failed, and Err why; "" else.
	Path string
	Err  error
}

// warmQueue is how many files the listing of a tree may be ahead of their fetching.
const warmQueue = 10_000

// warming is a running Warm.
type warming struct {
	s      *Server
	queue  chan tree.Entry
	report func(WarmProgress)
	mu     struct {
		sync.Mutex
		WarmProgress
	}
}

// Warm fetches a file, or all files of a directory and below it, into the disk tier; without one into memory. report is
// called for each file and each piece, one call at a time. An error is one of the listing, or ctx's; files that failed
// are counted and reported, and the others fetched all the same.
func (s *Server) Warm(ctx context.Context, p string, o WarmOptions, report func(WarmProgress)) (WarmProgress, error) {
	if o.Jobs <= 0 {
		o.Jobs = 16
	}
	w := &warming{s: s, queue: make(chan tree.Entry, warmQueue), report: report}
	e, err := s.face.tree.Lookup(ctx, p)
	if err != nil {
		return WarmProgress{}, fmt.Errorf("warm %s: %w", p, err)
	}
	var workers sync.WaitGroup
	for range o.Jobs {
		workers.Go(func() {
			for e := range w.queue {
				w.file(ctx, e)
			}
		})
	}
	err = w.walk(ctx, e)
	close(w.queue)
	workers.Wait()
	if err == nil {
		err = ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.Path, w.mu.Err = "", nil
	return w.mu.WarmProgress, err
}

// walk queues the files of a tree.
func (w *warming) walk(ctx context.Context, e tree.Entry) error {
	switch e.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		if e.Pending || e.Size == 0 {
			return nil // it is here, or there is nothing to fetch
		}
		w.add(WarmProgress{Files: 1, Bytes: e.Size})
		select {
		case w.queue <- e:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	case syscall.S_IFDIR:
		for child, err := range w.s.face.tree.List(ctx, e.Path) {
			if err == nil {
				err = w.walk(ctx, child)
			}
			if err != nil {
				return fmt.Errorf("warm %s: %w", e.Path, err)
			}
		}
	}
	return nil
}

func (w *warming) file(ctx context.Context, e tree.Entry) {
	if ctx.Err() != nil {
		return
	}
	err := w.s.face.files.Warm(ctx, versionOf(e), func(n int64) { w.add(WarmProgress{BytesDone: n}) })
	if err != nil {
		w.add(WarmProgress{Failed: 1, Path: e.Path, Err: err})
		return
	}
	w.add(WarmProgress{FilesDone: 1})
}

// add counts, and reports.
func (w *warming) add(d WarmProgress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &w.mu.WarmProgress
	m.Files += d.Files
	m.FilesDone += d.FilesDone
	m.Bytes += d.Bytes
	m.BytesDone += d.BytesDone
	m.Failed += d.Failed
	m.Path, m.Err = d.Path, d.Err
	if w.report != nil {
		w.report(*m)
	}
}
