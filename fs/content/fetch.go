package content

import (
	"context"
	"fmt"
	"math"

	"pailfs/cache"
	"pailfs/fs/journal"
)

// fetchBase brings what the present state misses of the base into its spool; the caller has the turn. Reads go on
// meanwhile. A frozen state in the same spool has no bytes where these come to.
func (f *File) fetchBase(ctx context.Context) error {
	f.mu.Lock()
	missing, version := f.mu.layout.missing(), f.versionLocked()
	f.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	spool, err := f.writable(ctx, math.MaxInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	return f.fetch(ctx, version, missing, spool)
}

// fetchAll brings what any state of the file misses of the base into its spool: nothing will be fetched any more.
func (f *File) fetchAll(ctx context.Context) error {
	if err := f.fetchBase(ctx); err != nil {
		return err
	}
	for {
		missing, version, spool := f.missingFrozen()
		if spool == nil {
			return nil
		}
		if err := f.fetch(ctx, version, missing, spool); err != nil {
			return err
		}
	}
}

// missingFrozen is what the first frozen state that misses anything misses. One without a spool has the present one's bytes.
func (f *File) missingFrozen() ([]Range, cache.Version, *journal.Spool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, st := range f.mu.chain {
		if st.spool == nil {
			st.spool, st.local = f.mu.spool, ranges(f.mu.layout.local.within(0, st.size))
		}
		l := f.layoutLocked(st)
		if missing := l.missing(); len(missing) > 0 {
			return missing, f.versionLocked(), st.spool
		}
	}
	return nil, cache.Version{}, nil
}

// fetch brings bytes of a version into a spool, for all states that have bytes there.
func (f *File) fetch(ctx context.Context, version cache.Version, missing []Range, spool *journal.Spool) error {
	var todo []Range
	for _, r := range missing {
		todo = append(todo, pieces(r.Off, end(r))...)
	}
	blocks := f.files.o.Blocks
	buf := make([]byte, pieceBytes)
	const ahead = 4 // pieces on their way
	for i, r := range todo {
		for _, next := range todo[i:min(i+ahead, len(todo))] {
			blocks.Prefetch(version, next.Off, next.Len)
		}
		p := buf[:r.Len]
		if _, err := blocks.ReadAt(ctx, version, p, r.Off); err != nil {
			return fmt.Errorf("fetch bytes of %s: %w", f.ID(), err)
		}
		if _, err := spool.WriteAt(p, r.Off); err != nil {
			return fmt.Errorf("spool bytes of %s: %w", f.ID(), err)
		}
		f.fetched(spool, r)
	}
	return nil
}

func (f *File) fetched(spool *journal.Spool, r Range) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.spool == spool {
		f.mu.layout.fetched(r.Off, min(r.Len, f.mu.layout.size-r.Off))
	}
	for _, st := range f.mu.chain {
		if st.spool == spool {
			st.local = st.local.add(r.Off, min(r.Len, st.size-r.Off))
		}
	}
}
