package content

import (
	"context"
	"fmt"

	"pailfs/cache"
)

// warmParallel pieces of one file are fetched at once by Warm.
const warmParallel = 4

// Ahead starts to fetch the first n bytes of a version that is expected to be opened soon. It never waits and says
// nothing: what fails is fetched again when it is read.
func (s *Files) Ahead(v cache.Version, n int64) {
	s.o.Blocks.Prefetch(v, 0, min(n, v.Size))
}

// NotAhead gives up what Ahead has begun and nobody waits for.
func (s *Files) NotAhead(v cache.Version) { s.o.Blocks.CancelPrefetch(v, 0, v.Size) }

// Peek fetches the first n bytes of a version, or waits for who does already. Errors are those of a read.
func (s *Files) Peek(ctx context.Context, v cache.Version, n int64) error {
	view, err := s.o.Blocks.View(ctx, v, 0, int(min(n, v.Size)))
	if err != nil {
		return fmt.Errorf("read %s/%s: %w", v.Bucket, v.Key, err)
	}
	view.Done()
	return nil
}

// Warm brings a version into the disk tier, without one into memory. fetched is told of each piece, in bytes, from
// several goroutines. It returns when all is there, or with the first error.
func (s *Files) Warm(ctx context.Context, v cache.Version, fetched func(n int64)) error {
	all := pieces(0, v.Size)
	next := make(chan Range)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	workers := min(warmParallel, len(all))
	for range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			for p := range next {
				if err := s.o.Blocks.Store(ctx, v, p.Off, p.Len); err != nil {
					cancel(err)
					return
				}
				fetched(p.Len)
			}
		}()
	}
	for _, p := range all {
		select {
		case next <- p:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	for range workers {
		<-done
	}
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("fetch %s/%s: %w", v.Bucket, v.Key, err)
	}
	return nil
}
