package content

import (
	"context"
	"fmt"
	"math"
)

// fetchBase brings what of the base is not in the spool into it; the caller has the turn. Reads go on meanwhile.
func (f *File) fetchBase(ctx context.Context) error {
	f.mu.Lock()
	missing := f.mu.layout.missing()
	var base Base
	if f.mu.base != nil {
		base = *f.mu.base
	}
	f.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	spool, err := f.writable(ctx, 0, math.MaxInt64)
	if err != nil {
		return err
	}
	var todo []Range
	for _, r := range missing {
		todo = append(todo, pieces(r.Off, end(r))...)
	}
	blocks := f.files.o.Blocks
	buf := make([]byte, pieceBytes)
	const ahead = 4 // pieces on their way
	for i, r := range todo {
		for _, next := range todo[i:min(i+ahead, len(todo))] {
			blocks.Prefetch(base.Version, next.Off, next.Len)
		}
		p := buf[:r.Len]
		if _, err := blocks.ReadAt(ctx, base.Version, p, r.Off); err != nil {
			return fmt.Errorf("fetch bytes of %s: %w", f.ID(), err)
		}
		if _, err := spool.WriteAt(p, r.Off); err != nil {
			return fmt.Errorf("spool bytes of %s: %w", f.ID(), err)
		}
		f.mu.Lock()
		f.bothLocked(func(l *layout) { l.fetched(r.Off, r.Len) })
		f.mu.Unlock()
	}
	return nil
}
