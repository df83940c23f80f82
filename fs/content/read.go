package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/s3client"
)

const (
	bufBytes = mib
	// readTries bounds how often a read starts again because the bytes changed under it. Each time means that a writer
	// has got on; after the last the read returns what a read(2) beside a write(2) may return.
	readTries = 16
	// renameWait: a reader whose object is "not found" may have met a rename of this mount between the store's answer
	// and Moved.
	renameWait = time.Second
)

// Data is the answer to a read: slices over cached blocks or over a buffer, valid until Done.
type Data struct {
	slices [][]byte
	n      int
	view   *cache.View
	buf    *[]byte
	files  *Files
}

// Slices are the bytes in order; they must not be changed.
func (d Data) Slices() [][]byte { return d.slices }

// Len is the number of bytes; 0 at and behind the end of the file.
func (d Data) Len() int { return d.n }

// Done gives the bytes back. It is called once.
func (d Data) Done() {
	if d.view != nil {
		d.view.Done()
	}
	if d.buf != nil {
		d.files.bufs.Put(d.buf)
	}
}

// buffer is a Data over n bytes of memory.
func (s *Files) buffer(n int) (Data, []byte) {
	if n > bufBytes || n < bufBytes/32 {
		p := make([]byte, n)
		return Data{slices: [][]byte{p}, n: n}, p
	}
	buf, ok := s.bufs.Get().(*[]byte)
	if !ok {
		p := make([]byte, bufBytes)
		buf = &p
	}
	p := (*buf)[:n]
	return Data{slices: [][]byte{p}, n: n, buf: buf, files: s}, p
}

// look is what a read was decided on.
type look struct {
	off, n  int64
	segs    []segment
	version cache.Version
	limit   int64 // of the base
	spool   *journal.Spool
	seq     uint64
}

func (l *look) uses(from source) bool {
	for _, s := range l.segs {
		if s.from == from {
			return true
		}
	}
	return false
}

// ReadAt reads up to n bytes at off. It goes on beside writers and beside a commit, and never waits for either, unless
// it needs bytes that a writer is changing at this moment. What one write wrote is seen whole or not at all. h, which
// may be nil, learns how the reader reads. io.EOF is never returned: at the end Len is 0.
func (f *File) ReadAt(ctx context.Context, h *Handle, off int64, n int) (Data, error) {
	if off < 0 || n < 0 {
		return Data{}, &s3client.Error{Op: "read", Kind: s3client.Invalid}
	}
	for try := 1; ; try++ {
		l, busy := f.look(off, int64(n), try < readTries)
		if busy != nil {
			select {
			case <-busy:
				continue
			case <-ctx.Done():
				return Data{}, fmt.Errorf("read %s: %w", f.ID(), ctx.Err())
			}
		}
		d, err := f.read(ctx, h, l)
		switch {
		case err == nil && (try >= readTries || !f.disturbed(l)):
			return d, nil
		case err == nil:
			d.Done()
		case try < readTries && errors.Is(err, journal.ErrReleased):
			if err := f.readable(ctx); err != nil {
				return Data{}, fmt.Errorf("read %s: %w", f.ID(), err)
			}
		case try >= readTries || !f.mayRead(ctx, l, err):
			if f.files.o.Outdated != nil && (errors.Is(err, s3client.Changed) || errors.Is(err, s3client.NotFound)) {
				f.files.o.Outdated(l.version)
			}
			return Data{}, fmt.Errorf("read %s: %w", f.ID(), err)
		}
	}
}

// look decides where the bytes come from. busy, not nil, is closed when the change of these bytes that is going on ends.
func (f *File) look(off, n int64, patient bool) (l *look, busy <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l = &look{off: off, n: n, segs: f.mu.layout.split(off, n), limit: f.mu.layout.base, spool: f.mu.spool, seq: f.mu.seq,
		version: f.versionLocked()}
	if w := f.mu.writing; patient && w != nil && overlap(w.Range, off, n) && l.uses(fromSpool) {
		return nil, w.done
	}
	return l, nil
}

// disturbed says whether bytes of the spool changed while they were read. Bytes of the base never do.
func (f *File) disturbed(l *look) bool {
	if !l.uses(fromSpool) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.mu.writing; w != nil && overlap(w.Range, l.off, l.n) {
		return true
	}
	if f.mu.seq-l.seq > uint64(len(f.mu.recent)) {
		return true
	}
	for i := l.seq; i < f.mu.seq; i++ {
		if overlap(f.mu.recent[i%uint64(len(f.mu.recent))], l.off, l.n) {
			return true
		}
	}
	return false
}

// mayRead says whether a failed read is worth another try, because its version is not the File's any more. It waits for
// a commit or a rename that may be about to say so.
func (f *File) mayRead(ctx context.Context, l *look, err error) bool {
	gone := errors.Is(err, s3client.NotFound)
	f.mu.Lock()
	moved := f.mu.spool != l.spool || f.versionLocked() != l.version
	settled, rebased := f.mu.settled, f.mu.rebased
	f.mu.Unlock()
	switch {
	case errors.Is(err, os.ErrClosed):
		return moved
	case !gone && !errors.Is(err, s3client.Changed):
		return false
	case moved:
		return true
	}
	var late <-chan time.Time
	if settled == nil {
		if !gone {
			return f.rewritten(ctx, l.version)
		}
		t := time.NewTimer(renameWait)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-settled:
	case <-rebased:
	case <-late:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.versionLocked() != l.version
}

// rewritten waits for a change of the object's attributes, which may have made another version of the same bytes, and says
// whether it has.
func (f *File) rewritten(ctx context.Context, v cache.Version) bool {
	done, err := f.files.o.Guard(ctx, ID{Bucket: v.Bucket, Key: v.Key})
	if err != nil {
		return false
	}
	done(false)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.versionLocked() != v
}

// TryReadAt is ReadAt for what is in memory: false when it would have to wait for disk, network or another writer. It is
// the way of most reads, and costs no context. The reader's state is the same as with ReadAt.
func (f *File) TryReadAt(h *Handle, off int64, n int) (Data, bool) {
	if off < 0 || n <= 0 || h == nil || h.direct {
		return Data{}, false
	}
	v, off, n, ok := f.inBase(off, n)
	if !ok {
		return Data{}, false
	}
	view, ok := f.files.o.Blocks.TryView(v, off, n)
	if !ok {
		return Data{}, false
	}
	f.fetchAhead(h, v, off, int64(n), v.Size)
	return Data{slices: view.Slices(), n: view.Len(), view: view}, true
}

// inBase says that all of a read lies in the base, and where; n is cut at the end of the file.
func (f *File) inBase(off int64, n int) (cache.Version, int64, int, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &f.mu.layout
	if f.mu.base == nil || len(l.local) > 0 || l.base != l.size || off >= l.size || l.base != f.mu.base.Version.Size {
		return cache.Version{}, 0, 0, false
	}
	return f.mu.base.Version, off, int(min(int64(n), l.size-off)), true
}

// read fetches what a look decided on: without a copy when all of it is in the base.
func (f *File) read(ctx context.Context, h *Handle, l *look) (Data, error) {
	if len(l.segs) == 0 {
		return Data{}, nil
	}
	blocks := f.files.o.Blocks
	direct := h != nil && h.direct
	if l.uses(fromBase) && !direct && h != nil && l.off < l.limit {
		f.fetchAhead(h, l.version, l.off, min(l.n, l.limit-l.off), l.limit)
	}
	if first := l.segs[0]; len(l.segs) == 1 && first.from == fromBase && !direct {
		v, err := blocks.View(ctx, l.version, first.Off, int(first.Len))
		if err != nil {
			return Data{}, err
		}
		return Data{slices: v.Slices(), n: v.Len(), view: v}, nil
	}
	last := l.segs[len(l.segs)-1]
	d, p := f.files.buffer(int(end(last.Range) - l.off))
	readBase := blocks.ReadAt
	if direct {
		readBase = blocks.Direct
	}
	if err := l.fill(ctx, readBase, p); err != nil {
		d.Done()
		return Data{}, err
	}
	return d, nil
}

// fill reads all segments into p, which begins at l.off.
func (l *look) fill(ctx context.Context, readBase func(context.Context, cache.Version, []byte, int64) (int, error), p []byte) error {
	for _, s := range l.segs {
		q := p[s.Off-l.off:][:s.Len]
		var err error
		switch s.from {
		case fromZero:
			clear(q)
		case fromSpool:
			err = readSpool(l.spool, q, s.Off)
		case fromBase:
			_, err = readBase(ctx, l.version, q, s.Off)
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%s ends early: %w", l.version.Key, io.ErrUnexpectedEOF)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readSpool fills p from the spool; behind its end are zeros.
func readSpool(spool *journal.Spool, p []byte, off int64) error {
	n, err := spool.ReadAt(p, off)
	clear(p[n:])
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// fetchAhead tells the handle's readahead of a read of n bytes at off, all within limit bytes of the base, and starts the
// GETs that the reader will want next.
func (f *File) fetchAhead(h *Handle, v cache.Version, off, n, limit int64) {
	blocks := f.files.o.Blocks
	most := max(0, f.files.o.Readahead)
	was := h.isSequential()
	if was {
		most = f.files.readers.share(&h.reads, f.files.o.Now(), most, f.files.o.ReadaheadTotal)
	}
	g, passed, sequential := h.decide(off, n, limit, most)
	if passed.Len > 0 {
		blocks.Consumed(v, passed.Off, passed.Len)
	}
	if g.drop.Len > 0 {
		blocks.CancelPrefetch(v, g.drop.Off, g.drop.Len)
	}
	if was && !sequential {
		f.files.readers.leave(&h.reads)
	}
	if sequential && g.count == 0 && !blocks.Contains(v, off, n) {
		// Memory was short when this was to be fetched, or it was evicted since: not in small reads now.
		g = fetch(off, min((off/pieceBytes+1)*pieceBytes, limit))
	}
	for _, r := range g.ranges() {
		for _, piece := range pieces(r.Off, min(end(r), limit)) {
			if f.wants(piece) {
				blocks.Prefetch(v, piece.Off, piece.Len)
			}
		}
	}
}

func (h *Handle) isSequential() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.readahead.sequential()
}

func (h *Handle) decide(off, n, limit, most int64) (g guess, passed Range, sequential bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g = h.mu.readahead.read(off, n, limit, most)
	from, to := h.mu.readahead.passed(most)
	return g, Range{Off: from, Len: to - from}, h.mu.readahead.sequential()
}

// wants says whether any byte of r would be read from the base.
func (f *File) wants(r Range) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.mu.layout.local.gaps(r.Off, r.Len)) > 0
}
