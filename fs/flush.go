package fs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"pailfs/fs/content"
)

// flushParallel is how many files a flush stores at once.
const flushParallel = 16

// Flush stores what is unsaved of a path and of all below it, names too; "" is everything. The path need not exist: what waits
// may be its deletion. report, which may be nil, is told how many bytes are done, one call at a time. All are tried; the
// error names those that could not be stored.
func (s *Server) Flush(ctx context.Context, p string, report func(done, total int64)) error {
	return s.face.flush(ctx, p, report)
}

// flush is Flush. The caller holds no name.
func (f *face) flush(ctx context.Context, p string, report func(done, total int64)) error {
	bucket, key, err := f.tree.Locate(p)
	if err != nil {
		return fmt.Errorf("flush %s: %w", p, err)
	}
	err = f.flushFiles(ctx, func(id content.ID) bool {
		return bucket == "" || id.Bucket == bucket && (key == "" || id.Key == key || strings.HasPrefix(id.Key, dirPrefix(key)))
	}, report)
	return errors.Join(err, f.drain(ctx, bucket, key), f.files.Closed()) // a mount that has ended knows of no unsaved file
}

// flushFiles stores the unsaved files that wanted likes.
func (f *face) flushFiles(ctx context.Context, wanted func(content.ID) bool, report func(done, total int64)) error {
	var files []content.Unsaved
	var mu struct {
		sync.Mutex
		done, total int64
		errs        []error
	}
	for _, u := range f.files.Unsaved() {
		if wanted(u.ID) {
			files = append(files, u)
			mu.total += u.Bytes
		}
	}
	var g errgroup.Group
	g.SetLimit(flushParallel)
	for _, u := range files {
		g.Go(func() error {
			err := f.flushFile(ctx, u.ID)
			mu.Lock()
			defer mu.Unlock()
			mu.done += u.Bytes
			if err != nil {
				mu.errs = append(mu.errs, err)
			}
			if report != nil {
				report(mu.done, mu.total)
			}
			return nil
		})
	}
	g.Wait() // its functions return no error: all are in errs
	return errors.Join(mu.errs...)
}

// flushFile stores one file under its name.
func (f *face) flushFile(ctx context.Context, id content.ID) error {
	release, err := f.hold(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	file, ok := f.files.Get(id)
	if !ok {
		return nil // stored, or gone, meanwhile
	}
	if err := file.Sync(ctx); err != nil {
		return fmt.Errorf("store %s: %w", id, err)
	}
	return nil
}

// drain carries out what small changes wait under a prefix.
func (f *face) drain(ctx context.Context, bucket, prefix string) error {
	if f.outbox == nil {
		return nil
	}
	return f.outbox.Drain(ctx, bucket, prefix)
}
