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

func (f *File) write(ctx context.Context, p []byte, where func(size int64) int64) (off int64, n int, err error) {
	if len(p) == 0 {
		return where(f.Stat().Size), 0, nil
	}
	if err := f.waitStream(ctx); err != nil {
		return 0, 0, err
	}
	if err := f.take(ctx); err != nil {
		return 0, 0, err
	}
	defer f.give()
	spool, err := f.ensureSpool()
	if err != nil {
		return 0, 0, err
	}
	off = where(f.Stat().Size)
	r := Range{Off: off, Len: int64(len(p))}
	f.begin(r)
	n, err = spool.WriteAt(p, off)
	f.end(r, func() {
		sequential := off == f.mu.front && off == f.mu.layout.size
		f.mu.layout.wrote(off, int64(n))
		if sequential {
			f.mu.front = off + int64(n)
		}
	})
	f.streamed(ctx, r)
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
		record()
		f.changedLocked()
		f.mu.mtime = f.files.o.Now()
	}
}

// Truncate sets the size; what a longer file gains is zeros. Setting the size that the file has changes nothing.
func (f *File) Truncate(ctx context.Context, size int64) error {
	if size < 0 {
		id := f.ID()
		return &s3client.Error{Op: "truncate", Bucket: id.Bucket, Key: id.Key, Kind: s3client.Invalid}
	}
	if err := f.take(ctx); err != nil {
		return err
	}
	defer f.give()
	return f.truncateTurn(ctx, size)
}

func (f *File) truncateTurn(ctx context.Context, size int64) error {
	f.mu.Lock()
	old, spool, gone := f.mu.layout.size, f.mu.spool, f.mu.forgotten
	f.mu.Unlock()
	if gone {
		return fmt.Errorf("truncate %s: %w", f.ID(), ErrClosed)
	}
	if size == old {
		return nil
	}
	r := Range{Off: min(size, old), Len: math.MaxInt64 - min(size, old)}
	f.begin(r)
	var err error
	if size < old && spool != nil {
		err = spool.Truncate(size)
	}
	if err != nil {
		f.end(r, nil)
		return fmt.Errorf("truncate %s: %w", f.ID(), err)
	}
	f.end(r, func() {
		f.mu.layout.truncate(size)
		f.mu.front = min(f.mu.front, size)
	})
	f.streamCut(ctx, size, old)
	return nil
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
	if err := f.take(ctx); err != nil {
		return err
	}
	defer f.give()
	size := f.Stat().Size
	if punch || zero {
		if err := f.zeroTurn(ctx, off, min(length, size-off)); err != nil {
			return err
		}
	}
	if !punch && !keepSize && off+length > size {
		return f.truncateTurn(ctx, off+length)
	}
	return nil
}

// zeroTurn makes bytes inside the file zeros: a hole in the spool that counts as written.
func (f *File) zeroTurn(ctx context.Context, off, n int64) error {
	if n <= 0 {
		return nil
	}
	spool, err := f.ensureSpool()
	if err != nil {
		return err
	}
	r := Range{Off: off, Len: n}
	f.begin(r)
	if err := spool.PunchHole(off, n); err != nil {
		f.end(r, nil)
		return fmt.Errorf("zero a range of %s: %w", f.ID(), err)
	}
	f.end(r, func() { f.mu.layout.wrote(off, n) })
	f.streamed(ctx, r)
	return nil
}

// waitStream is the back-pressure of a writer that is faster than the network: it waits, without the turn, until little
// enough of the file is on its way.
func (f *File) waitStream(ctx context.Context) error {
	st := f.currentStream()
	if st == nil || st.InFlight() < f.files.o.StreamBytes {
		return nil
	}
	if err := st.Wait(ctx, f.files.o.StreamBytes); err != nil {
		return fmt.Errorf("write %s: %w", f.ID(), err)
	}
	return nil
}

func (f *File) currentStream() *streaming {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.stream
}

// streamed tells the running upload what was written, and starts one when a new file written from its beginning outgrows
// a single PUT. The caller has the turn.
func (f *File) streamed(ctx context.Context, r Range) {
	st := f.currentStream()
	if st == nil {
		if st = f.startStream(ctx); st == nil {
			return
		}
	}
	if r.Off < st.sealed {
		st.Touched(r.Off, min(r.Len, st.sealed-r.Off))
	}
	f.seal(st)
}

// seal gives the upload the layout's parts that the writer has left behind. Not the first: many programs come back to
// write a header; it goes with the commit.
func (f *File) seal(st *streaming) {
	f.mu.Lock()
	front := f.mu.front
	f.mu.Unlock()
	for {
		number, start, length := f.files.o.Uploader.Limits().PartAt(st.sealed)
		if length <= 0 || start+length > front {
			return
		}
		if number > 1 {
			st.Sealed(start, length)
		}
		st.sealed = start + length
	}
}

// startStream begins an upload if the file is one to stream: nothing of it is in the store, and it was written without a
// gap from its beginning past what one PUT carries.
func (f *File) startStream(ctx context.Context) *streaming {
	u := f.files.o.Uploader
	f.mu.Lock()
	id, l := f.mu.id, &f.mu.layout
	fits := l.base == 0 && f.mu.front > u.Limits().SinglePut && !f.mu.detached && !f.mu.superseded
	spool := f.mu.spool
	f.mu.Unlock()
	if !fits || spool == nil {
		return nil
	}
	headers, err := f.headersFor(ctx, id, true)
	if err != nil {
		return nil // the commit asks again, and reports it
	}
	st := &streaming{id: id, Stream: u.NewStream(id.Bucket, id.Key, headers, spoolSource{spool})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.stream = st
	return st
}

// spoolSource is the content of a file without a base: the spool, and zeros where it has holes or ends.
type spoolSource struct{ spool *journal.Spool }

func (s spoolSource) ReadAt(p []byte, off int64) (int, error) {
	if err := readSpool(s.spool, p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// streamCut tells the running upload of a new size: a file cut so short that one PUT will do gives it up.
func (f *File) streamCut(ctx context.Context, size, old int64) {
	st := f.currentStream()
	switch {
	case st == nil || size >= old:
	case size <= f.files.o.Uploader.Limits().SinglePut:
		f.stopStream(ctx)
	case size < st.sealed:
		st.Touched(size, st.sealed-size)
		_, start, _ := f.files.o.Uploader.Limits().PartAt(size)
		st.sealed = min(st.sealed, start) // what is written there again is sent again
	}
}

// stopStream gives the running upload up; the caller has the turn. Parts that cannot be aborted now cost space in the
// store until the bucket's unfinished uploads are cleared; the file itself is not in danger, so that is logged and no
// error.
func (f *File) stopStream(ctx context.Context) {
	f.mu.Lock()
	st := f.mu.stream
	f.mu.stream = nil
	f.mu.Unlock()
	if st == nil {
		return
	}
	if err := st.Abort(ctx); err != nil {
		f.files.o.Log.Warn("an unfinished upload stays in the store", "object", st.id.String(), "err", err)
	}
}
