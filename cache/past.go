package cache

import (
	"context"
	"fmt"
	"io"
	"unique"
)

// Direct reads like io.ReaderAt, past memory and disk: one Fetch of just these bytes, of which nothing is kept. Errors
// are those of View, and io.EOF at the end of v.
func (b *Blocks) Direct(ctx context.Context, v Version, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("cache: direct read of %s/%s at negative offset %d", v.Bucket, v.Key, off)
	}
	sp, ok := b.spanOf(v, off, int64(len(p)))
	if !ok {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n, err := b.direct(ctx, v, p[:sp.end-sp.off], off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (b *Blocks) direct(ctx context.Context, v Version, p []byte, off int64) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if !b.begin() {
		return 0, ErrClosed
	}
	defer b.end()
	fetching, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	b.fetches.Add(1)
	body, err := b.o.Fetch(fetching, v, off, int64(len(p)))
	if err == nil {
		defer body.Close() // what was read is complete or an error
		n, err = io.ReadFull(body, p)
		b.fetched.Add(int64(n))
		err = short(v, off, int64(len(p)), err)
	}
	switch {
	case err == nil:
		return n, nil
	case ctx.Err() != nil:
		return n, ctx.Err()
	case b.ctx.Err() != nil:
		return n, ErrClosed
	}
	return n, err
}

// begin counts a fetch that is no flight: Close waits for its end.
func (b *Blocks) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return false
	}
	b.mu.running++
	return true
}

func (b *Blocks) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endLocked()
}

func (b *Blocks) endLocked() {
	if b.mu.running--; b.mu.running == 0 && b.mu.closed {
		close(b.mu.idle)
	}
}

// TryView is View for what is in memory now: it never waits, and takes nothing when a block is missing, which then
// counts neither as hit nor as miss.
func (b *Blocks) TryView(v Version, off int64, n int) (*View, bool) {
	if off < 0 {
		return nil, false
	}
	sp, ok := b.spanOf(v, off, int64(n))
	if !ok {
		return &View{}, true
	}
	version := unique.Make(v)
	first := b.memory.get(blockKey{version, sp.first}) // a miss is mostly seen here, before anything is allocated
	if first == nil {
		return nil, false
	}
	view := newView(b, sp.blocks())
	view.blocks[0] = first
	if rest := view.blocks[1:]; b.memory.getAll(blockKey{version, sp.first + 1}, rest) < len(rest) {
		view.Done()
		return nil, false
	}
	b.hits.Add(int64(len(view.blocks)))
	view.cut(sp, int64(b.o.BlockBytes))
	return view, true
}

// Store brings [off, off+length) of v, cut at v.Size, into the disk tier, fetching what is on neither tier; without a
// Disk into memory. It waits until the bytes are on disk; an error says why some were not kept. It goes on in pieces of
// MaxFetchBytes and takes no more of the memory than one: callers that want more at once call it more often at once.
// Errors are those of View too.
func (b *Blocks) Store(ctx context.Context, v Version, off, length int64) error {
	if off < 0 {
		return fmt.Errorf("cache: store of %s/%s at negative offset %d", v.Bucket, v.Key, off)
	}
	sp, ok := b.spanOf(v, off, length)
	if !ok {
		return nil
	}
	version := unique.Make(v)
	for i := sp.first; i <= sp.last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, have := b.tier(v, version, i, int(min(b.maxRun(), sp.last-i+1)))
		if !have {
			if err := b.storeRun(ctx, v, version, i, n); err != nil {
				return err
			}
		}
		i += int64(n)
	}
	return nil
}

// storeRun stores n blocks, at most maxRun, that the disk lacks.
func (b *Blocks) storeRun(ctx context.Context, v Version, version unique.Handle[Version], i int64, n int) error {
	if b.disk != nil {
		if err := b.disk.paused(); err != nil {
			return err
		}
	}
	off, length := i*int64(b.o.BlockBytes), int64(n)*int64(b.o.BlockBytes)
	view, err := b.View(ctx, v, off, int(length))
	if err != nil {
		return err
	}
	if b.disk == nil {
		view.Done()
		return nil
	}
	err = b.disk.keep(ctx, b, v, version, i, view.blocks)
	view.Done()
	b.Consumed(v, off, length) // it lies on disk now; the rest of the memory is others'
	return err
}
