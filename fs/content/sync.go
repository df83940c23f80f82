package content

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// SyncUnder commits all unsaved files whose keys begin with prefix, and those that were cloned from such a file: the
// caller is about to change what has these keys. It has their names.
func (s *Files) SyncUnder(ctx context.Context, bucket, prefix string) error {
	if err := s.Closed(); err != nil {
		return fmt.Errorf("store what is below %s/%s: %w", bucket, prefix, err)
	}
	under := func(id ID) bool { return id.Bucket == bucket && strings.HasPrefix(id.Key, prefix) }
	return s.syncFiles(ctx, s.pinUnsaved(func(f *File, id ID) bool { return under(id) || f.isCloneOf(under) }),
		func(f *File) error { return f.Sync(ctx) }, nil)
}

// SyncAll commits everything unsaved. progress, which may be nil, is told how many bytes are done; its calls do not
// overlap. All files are tried; the error names each that could not be stored.
func (s *Files) SyncAll(ctx context.Context, progress func(done, total int64)) error {
	return s.syncFiles(ctx, s.pinUnsaved(func(*File, ID) bool { return true }), func(f *File) error {
		return f.held(ctx, func() error { return f.Sync(ctx) })
	}, progress)
}

// syncFiles commits pinned files, the oldest changes first, and unpins them.
func (s *Files) syncFiles(ctx context.Context, files []*File, commit func(*File) error, progress func(done, total int64)) error {
	var mu struct {
		sync.Mutex
		done, total int64
		errs        []error
	}
	byAge(files)
	sizes := make([]int64, len(files))
	for i, f := range files {
		u, _ := f.unsaved()
		sizes[i] = u.Bytes
		mu.total += u.Bytes
	}
	var g errgroup.Group
	g.SetLimit(syncParallel)
	for i, f := range files {
		g.Go(func() error {
			defer s.unpin(f)
			err := commit(f)
			mu.Lock()
			defer mu.Unlock()
			mu.done += sizes[i]
			if err != nil {
				mu.errs = append(mu.errs, fmt.Errorf("sync %s: %w", f.ID(), err))
			}
			if progress != nil {
				progress(mu.done, mu.total)
			}
			return nil
		})
	}
	g.Wait() // its functions return no error: all are in errs
	return errors.Join(mu.errs...)
}

// byAge sorts files by their oldest unsaved change.
func byAge(files []*File) {
	since := make(map[*File]time.Time, len(files))
	for _, f := range files {
		u, _ := f.unsaved()
		since[f] = u.Since
	}
	slices.SortStableFunc(files, func(a, b *File) int { return since[a].Compare(since[b]) })
}
