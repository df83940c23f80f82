package content

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// syncParallel is how many files are committed at once; their requests share the Uploader's limit.
const syncParallel = 16

// SyncUnder commits all unsaved files whose keys begin with prefix.
func (s *Files) SyncUnder(ctx context.Context, bucket, prefix string) error {
	return s.syncFiles(ctx, s.pinUnsaved(func(id ID) bool {
		return id.Bucket == bucket && strings.HasPrefix(id.Key, prefix)
	}), nil)
}

// SyncAll commits everything unsaved. progress, which may be nil, is told how many bytes are done; its calls do not
// overlap. All files are tried; the error names each that could not be stored.
func (s *Files) SyncAll(ctx context.Context, progress func(done, total int64)) error {
	return s.syncFiles(ctx, s.pinUnsaved(func(ID) bool { return true }), progress)
}

// syncFiles commits pinned files and unpins them.
func (s *Files) syncFiles(ctx context.Context, files []*File, progress func(done, total int64)) error {
	var mu struct {
		sync.Mutex
		done, total int64
		errs        []error
	}
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
			err := f.Sync(ctx)
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

// keepAtClose puts an unsaved file into the journal and says so; nil when it is stored after all.
func (f *File) keepAtClose(ctx context.Context) error {
	if f.take(ctx) == nil {
		defer f.give()
	} // else a commit is still running: the journal only reads the spool, and a late success drops the record
	u, unsaved := f.unsaved()
	if !unsaved {
		return nil
	}
	f.stopStream(ctx)
	reason := u.Err
	if reason == nil {
		reason = ctx.Err()
	}
	if err := f.keep(ctx, reason); err != nil {
		return fmt.Errorf("%s is neither stored nor kept: %w", u.ID, errors.Join(err, reason))
	}
	return fmt.Errorf("%s is not stored, %d bytes are kept in the journal: %w", u.ID, u.Bytes, reason)
}
