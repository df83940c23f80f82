package content

import (
	"context"
	"math"
	"slices"
	"sync"

	"pailfs/fs/journal"
	"pailfs/fs/upload"
)

// Room on the local disk for files that are longer than it: what the store has acknowledged of a stream is given away
// (punched.go), all but the newest, and all of it when the disk is full.

// defaultRetain is how much of what streams have sent stays here, in all; never more than an eighth of the free space.
const (
	defaultRetain = 512 * mib
	retainShare   = 8
	// roomShare: no more than half of the free space is on its way at once.
	roomShare = 2
)

// streams are the files with a running upload, and some that had one.
type streams struct {
	mu struct {
		sync.Mutex
		files    map[*File]struct{}
		released int64 // bytes given away so far, by all files
	}
}

func (s *streams) add(f *File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.files == nil {
		s.mu.files = make(map[*File]struct{})
	}
	s.mu.files[f] = struct{}{}
}

func (s *streams) all() (files []*File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.mu.files {
		if f.currentStream() == nil {
			delete(s.mu.files, f)
		} else {
			files = append(files, f)
		}
	}
	return files
}

// many is how many there are, or were a moment ago; at least one.
func (s *streams) many() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(max(1, len(s.mu.files)))
}

func (s *streams) given(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.released += n
}

func (s *streams) releasedSoFar() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.released
}

// free is the room on the journal's disk; where that is not known, plenty.
func (s *Files) free() int64 {
	free, err := s.o.Journal.Free()
	if err != nil {
		s.o.Log.Debug("free space is not known", "err", err)
		return math.MaxInt64
	}
	return free
}

// mostOnItsWay bounds what of a stream may be on its way before its writer waits.
func (s *Files) mostOnItsWay(inFlight int64) int64 {
	if inFlight < 16*mib { // not worth a question
		return s.o.StreamBytes
	}
	return max(1, min(s.o.StreamBytes, s.free()/roomShare+inFlight/roomShare))
}

// thin gives away what the store has of a stream, but for the newest; the caller has the turn.
func (f *File) thin(st *streaming) {
	parts, here := f.givable(st)
	keep := min(f.files.o.Retain, (f.files.free()/retainShare)+here/retainShare) / int64(max(1, len(f.files.streams.all())))
	for _, p := range parts {
		if here <= keep || !f.giveAway(st, p) {
			return
		}
		here -= p.Len
	}
}

// giveSentAway gives away all that the store has of a stream; the caller has the turn.
func (f *File) giveSentAway() {
	st := f.currentStream()
	if st == nil {
		return
	}
	parts, _ := f.givable(st)
	for _, p := range parts {
		f.giveAway(st, p)
	}
}

// givable are the parts that need not be here, oldest first, and their bytes. The first one stays: many programs come back
// to write a header. So does what a frozen state has.
func (f *File) givable(st *streaming) (parts []upload.Sent, bytes int64) {
	f.mu.Lock()
	spool, frozen := f.mu.spool, f.frozenLocked()
	local, size := slices.Clone(f.mu.layout.local), f.mu.layout.size
	wanted := f.mu.stream == st && !f.mu.detached && f.mu.layout.base == 0 && !st.stays
	f.mu.Unlock()
	limits := st.Limits()
	if last, _, _ := limits.PartAt(size); !wanted || spool == nil || last > limits.MaxParts {
		return nil, 0
	}
	here := without(local, spool.Released())
	for _, p := range st.Acknowledged() {
		number, off, length := limits.PartAt(p.Off)
		if number != p.Number || off != p.Off || length != p.Len || number == 1 || off < frozen {
			continue
		}
		if len(here.gaps(off, length)) == 0 {
			parts, bytes = append(parts, p), bytes+length
		}
	}
	return parts, bytes
}

// frozenLocked is where the bytes of the present spool end that a frozen state has.
func (f *File) frozenLocked() (to int64) {
	for _, st := range f.mu.chain {
		if st.spool == f.mu.spool {
			to = max(to, st.size)
		}
	}
	return to
}

func (f *File) giveAway(st *streaming, p upload.Sent) bool {
	if !st.Rely(p.Piece) {
		return false
	}
	f.mu.Lock()
	spool := f.mu.spool
	st.noteGiven(p)
	f.mu.Unlock()
	if err := spool.Release(p.Off, p.Len); err != nil {
		st.stays = true
		f.files.o.Log.Info("a stream stays on the disk until it is stored", "file", f.ID().String(), "err", err)
		return false
	}
	f.files.streams.given(p.Len)
	return true
}

// write writes, and makes room when the disk is full: first by giving away what the store has, then by waiting until it has
// more.
func (f *File) write(ctx context.Context, p []byte, where func(size int64) int64) (off int64, n int, err error) {
	for {
		released := f.files.streams.releasedSoFar()
		at, more, err := f.writeOnce(ctx, p[n:], where)
		if n += more; n == more {
			off = at
		}
		if err == nil || !journal.IsFull(err) || !f.files.makeRoom(ctx, f, released) {
			return off, n, err
		}
		next := off + int64(n)
		if n > 0 {
			where = func(int64) int64 { return next }
		}
	}
}

// makeRoom gives away all that the store has of any stream, or waits until it has more. True: it is worth another try.
// released is what had been given away before the disk was found full.
func (s *Files) makeRoom(ctx context.Context, own *File, released int64) bool {
	for ctx.Err() == nil {
		st := s.onItsWay(own)
		acks := 0
		if st != nil {
			acks = st.Acks()
		}
		s.giveAllAway(ctx, own)
		if s.streams.releasedSoFar() != released {
			return true
		}
		if st == nil {
			return s.storeForRoom(ctx, own)
		}
		if more, err := st.WaitAck(ctx, acks); err != nil || !more {
			return false
		}
	}
	return false
}

// storeForRoom stores a file that grows behind what was committed of it, as an fsync would: no upload runs for that part.
func (s *Files) storeForRoom(ctx context.Context, f *File) bool {
	if !f.growsBehindItsBase() {
		return false
	}
	if err := f.heldToChange(ctx, func() error { return f.Sync(ctx) }); err != nil {
		s.o.Log.WarnContext(ctx, "a file is too long for the disk, and cannot be stored to make room", "file", f.ID().String(), "err", err)
		return false
	}
	released := s.streams.releasedSoFar()
	s.giveAllAway(ctx, f)
	return s.streams.releasedSoFar() != released
}

// growsBehindItsBase says whether a file was written on end by this mount, committed on the way, and only appended to since.
func (f *File) growsBehindItsBase() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &f.mu.layout
	return !f.mu.detached && !f.mu.foreign && l.base > 0 && l.size > l.base && f.mu.front == l.size &&
		len(l.dirty.within(0, l.base)) == 0
}

// onItsWay is a running upload of which something is on its way: the file's own, if there is one.
func (s *Files) onItsWay(own *File) *streaming {
	if st := own.currentStream(); st != nil {
		st.Retry()
		if st.InFlight() > 0 {
			return st
		}
	}
	for _, f := range s.streams.all() {
		if st := f.currentStream(); st != nil && st.InFlight() > 0 {
			return st
		}
	}
	return nil
}

// giveAllAway gives away what the store has of all files. Whoever else has a turn is not waited for.
func (s *Files) giveAllAway(ctx context.Context, own *File) {
	for _, f := range s.spooled() {
		if f == own && f.take(ctx, f.turn) != nil || f != own && !f.turn.try() {
			continue
		}
		f.giveSentAway()
		f.giveStoredAway(0)
		f.turn.give()
	}
}

// spooled are the files with bytes on the disk.
func (s *Files) spooled() (files []*File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.mu.all {
		if f.hasSpool() {
			files = append(files, f)
		}
	}
	return files
}

func (f *File) hasSpool() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.spool != nil
}

// leastStored is the least of a stored file that is worth a hole.
const leastStored = 64 << 10

// giveStoredAway gives away what stayed of bytes from an offset on that were committed: they are read from the base from now
// on. The caller has the turn.
func (f *File) giveStoredAway(from int64) {
	f.mu.Lock()
	spool, from, l := f.mu.spool, max(from, f.frozenLocked()), &f.mu.layout
	var stored ranges
	if spool != nil && f.mu.base != nil && !f.mu.detached && !f.mu.leaving && !f.mu.superseded && l.base > from {
		for _, r := range without(l.local.within(from, l.base-from), l.dirty) {
			if r.Len >= leastStored {
				stored = stored.add(r.Off, r.Len)
			}
		}
		l.local = without(l.local, stored)
	}
	f.mu.Unlock()
	for _, r := range stored {
		if err := spool.Release(r.Off, r.Len); err != nil {
			f.files.o.Log.Debug("stored bytes stay on the disk", "file", f.ID().String(), "err", err)
			return
		}
		f.files.streams.given(r.Len)
	}
}
