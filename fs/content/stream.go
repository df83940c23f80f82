package content

import (
	"context"
	"fmt"
	"math"

	"pailfs/fs/journal"
	"pailfs/fs/upload"
)

// waitStream is the back-pressure of a writer that is faster than the network: it waits, without the turn, until little
// enough of the file is on its way.
func (f *File) waitStream(ctx context.Context) error {
	st := f.currentStream()
	if st == nil {
		return nil
	}
	inFlight := st.InFlight()
	most := min(f.files.mostOnItsWay(inFlight), f.mostPassing(st))
	if inFlight < most {
		return nil
	}
	if err := st.Wait(ctx, most); err != nil {
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
	st.Touched(r.Off, r.Len) // behind what is sealed a commit that failed may have sent the last part
	f.seal(st)
}

// seal gives the upload the layout's parts that the writer has left behind. Not the first: many programs come back to
// write a header; it goes with the commit.
func (f *File) seal(st *streaming) {
	f.mu.Lock()
	front := f.mu.front
	f.mu.Unlock()
	was := st.sealed
	for {
		number, start, length := st.Limits().PartAt(st.sealed)
		if length <= 0 || start+length > front {
			break
		}
		if number > 1 {
			st.Sealed(start, length)
		}
		st.sealed = start + length
	}
	if st.sealed > was {
		f.thin(st)
	}
	f.thinMemory(st)
}

// startStream begins an upload if the file is one to stream: nothing of it is in the store, and it was written without a
// gap from its beginning past what one PUT carries.
func (f *File) startStream(ctx context.Context) *streaming {
	u := f.files.o.Uploader
	f.mu.Lock()
	id, l := f.mu.id, &f.mu.layout
	fits := l.base == 0 && f.mu.front > u.Limits().SinglePut && !f.mu.detached && !f.mu.superseded && f.mu.state != syncing
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
	f.pass(st, spool)
	f.mu.Lock()
	f.mu.stream = st
	f.mu.Unlock()
	f.files.streams.add(f)
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

// Grain says what a read at off reads at least (upload.Grained).
func (s spoolSource) Grain(off int64) int64 { return s.spool.Grain(off) }

// streamCut tells the running upload of a new size: a file cut so short that one PUT will do gives it up.
func (f *File) streamCut(ctx context.Context, size, old int64) {
	st := f.currentStream()
	switch {
	case st == nil || size >= old:
	case size <= f.files.o.Uploader.Limits().SinglePut:
		f.stopStream(ctx)
	default:
		st.Touched(size, math.MaxInt64-size)
		_, start, _ := st.Limits().PartAt(size)
		st.sealed = min(st.sealed, start) // what is written there again is sent again
	}
}

// stopStream gives the running upload up; the caller has the turn.
func (f *File) stopStream(ctx context.Context) {
	f.mu.Lock()
	st := f.mu.stream
	f.mu.stream = nil
	f.mu.Unlock()
	f.endPassing()
	f.abort(ctx, st)
}

// forgetStream takes a running upload off the file, if it is the file's.
func (f *File) forgetStream(st *streaming) {
	f.endPassing()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.stream == st {
		f.mu.stream = nil
	}
}

// dropStream gives the running upload up without waiting for the store; the caller has the turn.
func (f *File) dropStream() {
	f.mu.Lock()
	st := f.mu.stream
	f.mu.stream = nil
	f.mu.Unlock()
	f.endPassing()
	if st != nil {
		st.Drop()
	}
}

// abort ends an upload that nobody will finish, in the background if it cannot be done now. Parts that stay cost space in
// the store; the file itself is not in danger, so that is logged and no error.
func (f *File) abort(ctx context.Context, st *streaming) {
	if st == nil {
		return
	}
	if err := st.Abort(ctx); err != nil {
		f.files.o.Log.DebugContext(ctx, "an unfinished upload is aborted in the background", "object", st.id.String(), "err", err)
		st.Drop()
	}
}

// streaming is an upload that runs while the file is being written, and how much of the file it was given.
type streaming struct {
	*upload.Stream
	id     ID
	sealed int64 // the layout's parts below were sealed or are the first
	passes int64 // what is behind may be in lent memory (passing.go); math.MaxInt64: nothing is

	// Nothing more could be given away to free memory, the parts acknowledged then being so many; guarded by the turn.
	thinned bool
	acks    int

	stays bool // the disk gives nothing back; guarded by the turn, as sealed is

	// Of parts whose bytes are not here any more (punched.go), guarded by File.mu:
	upload string // the upload that has them
	given  map[int]upload.Sent
}
