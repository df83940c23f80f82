package content

import (
	"context"
	"fmt"
	"math"

	"pailfs/fs/journal"
	"pailfs/s3client"
)

// WriteAt writes into the spool. It needs no network; it waits, before it takes anything, while too much of the file is
// on its way to the store, and while a commit reads the file. After an error n bytes were written.
func (f *File) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	if off < 0 || off > math.MaxInt64-int64(len(p)) {
		return 0, f.tooLarge("write")
	}
	_, n, err = f.write(ctx, p, func(int64) int64 { return off })
	return n, err
}

// Append writes at the end of the file and says where that was (O_APPEND).
func (f *File) Append(ctx context.Context, p []byte) (off int64, n int, err error) {
	return f.write(ctx, p, func(size int64) int64 { return size })
}

func (f *File) tooLarge(op string) error {
	id := f.ID()
	return &s3client.Error{Op: op, Bucket: id.Bucket, Key: id.Key, Kind: s3client.TooLarge}
}

func (f *File) writeOnce(ctx context.Context, p []byte, where func(size int64) int64) (off int64, n int, err error) {
	if len(p) == 0 {
		return where(f.Stat().Size), 0, nil
	}
	if err := f.waitStream(ctx); err != nil {
		return 0, 0, err
	}
	if err := f.takeTurn(ctx, func(size int64) (Range, bool) { return Range{Off: where(size), Len: int64(len(p))}, false }); err != nil {
		return 0, 0, err
	}
	defer f.turn.give()
	off = where(f.Stat().Size)
	if off > f.files.o.Uploader.Limits().Largest()-int64(len(p)) {
		return 0, 0, f.tooLarge("write")
	}
	spool, err := f.writable(ctx, off, math.MaxInt64)
	if err != nil {
		return 0, 0, err
	}
	r := Range{Off: off, Len: int64(len(p))}
	f.begin(r)
	n, err = spool.WriteAt(p, off)
	f.end(r, func() {
		sequential := off == f.mu.front && off == f.mu.layout.size
		f.wroteLocked(off, int64(n))
		if sequential {
			f.mu.front = off + int64(n)
		}
	})
	f.streamed(ctx, r)
	if err == nil {
		err = f.files.Closed()
	}
	if err != nil {
		return off, n, fmt.Errorf("write %s: %w", f.ID(), err)
	}
	return off, n, nil
}

// begin announces a change of bytes of the spool, so that readers do not see half of it; the caller has the turn.
func (f *File) begin(r Range) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.writing = &active{Range: r, done: make(chan struct{})}
}

// end records the change and lets readers on.
func (f *File) end(r Range, record func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.mu.writing.done)
	f.mu.writing = nil
	f.mu.recent[f.mu.seq%uint64(len(f.mu.recent))] = r
	f.mu.seq++
	if record != nil {
		f.changedLocked()
		record()
		f.mu.mtime = f.files.o.Now()
	}
}

// Truncate sets the size; what a longer file gains is zeros. Setting the size that the file has changes nothing.
func (f *File) Truncate(ctx context.Context, size int64) error {
	if size < 0 {
		id := f.ID()
		return &s3client.Error{Op: "truncate", Bucket: id.Bucket, Key: id.Key, Kind: s3client.Invalid}
	}
	if err := f.takeTurn(ctx, func(old int64) (Range, bool) { return Range{Off: size}, size < old }); err != nil {
		return err
	}
	defer f.turn.give()
	if err := f.truncateTurn(ctx, size); err != nil {
		return err
	}
	return f.files.Closed()
}

func (f *File) truncateTurn(ctx context.Context, size int64) error {
	f.mu.Lock()
	old, spool, gone := f.mu.layout.size, f.mu.spool, f.mu.forgotten
	f.mu.Unlock()
	if gone {
		return fmt.Errorf("truncate %s: %w", f.ID(), ErrClosed)
	}
	switch {
	case size == old:
		return nil
	case size > old && size > f.files.o.Uploader.Limits().Largest():
		return f.tooLarge("truncate")
	}
	r := Range{Off: min(size, old), Len: math.MaxInt64 - min(size, old)}
	var err error
	if size < old && spool != nil {
		err = f.cutSpool(ctx, spool, size, r)
	} else {
		f.begin(r)
	}
	if err != nil {
		f.end(r, nil)
		return fmt.Errorf("truncate %s: %w", f.ID(), err)
	}
	f.end(r, func() {
		f.truncatedLocked(size)
		f.mu.front = min(f.mu.front, size)
	})
	f.streamCut(ctx, size, old)
	return nil
}

// cutSpool begins the change r and cuts the spool, or gives the file a new one that is no longer: no reader must find the
// bytes gone that the layout has still.
func (f *File) cutSpool(ctx context.Context, spool *journal.Spool, size int64, r Range) error {
	if f.isFrozen(spool, size) {
		f.stopStream(ctx) // now: readers wait for what has begun
	}
	f.begin(r)
	now, err := f.writable(ctx, size, size)
	if err == nil && now == spool {
		err = spool.Truncate(size)
	}
	return err
}

// Allocate is fallocate(2): without a flag the file becomes long enough, by zeros; zero makes the range zeros and the
// file long enough unless keepSize; punch makes the range zeros and never changes the size. No disk space is taken: the
// spool has holes.
func (f *File) Allocate(ctx context.Context, off, length int64, keepSize, punch, zero bool) error {
	if off < 0 || length <= 0 {
		id := f.ID()
		return &s3client.Error{Op: "allocate", Bucket: id.Bucket, Key: id.Key, Kind: s3client.Invalid}
	}
	if off > math.MaxInt64-length {
		return f.tooLarge("allocate")
	}
	change := Range{Off: off, Len: length}
	if !punch && !zero {
		change.Len = 0
	}
	if err := f.takeTurn(ctx, func(size int64) (Range, bool) {
		return Range{Off: off, Len: min(change.Len, size-off)}, false
	}); err != nil {
		return err
	}
	defer f.turn.give()
	size := f.Stat().Size
	if punch || zero {
		if err := f.zeroTurn(ctx, off, min(length, size-off)); err != nil {
			return err
		}
	}
	if !punch && !keepSize && off+length > size {
		if err := f.truncateTurn(ctx, off+length); err != nil {
			return err
		}
	}
	return f.files.Closed()
}

// zeroTurn makes bytes inside the file zeros: a hole in the spool that counts as written.
func (f *File) zeroTurn(ctx context.Context, off, n int64) error {
	if n <= 0 {
		return nil
	}
	spool, err := f.writable(ctx, off, math.MaxInt64)
	if err != nil {
		return err
	}
	r := Range{Off: off, Len: n}
	f.begin(r)
	if err := spool.PunchHole(off, n); err != nil {
		f.end(r, nil)
		return fmt.Errorf("zero a range of %s: %w", f.ID(), err)
	}
	f.end(r, func() { f.wroteLocked(off, n) })
	f.streamed(ctx, r)
	return nil
}
