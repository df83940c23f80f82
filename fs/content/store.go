package content

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"pailfs/fs/journal"
	"pailfs/s3client"
)

// Files are the open and the unsaved files of a mount, one File an ID. Safe for concurrent use. It lives from New to
// Close.
type Files struct {
	o       Options
	bufs    sync.Pool // *[]byte of bufBytes, for reads that cannot be served from cached blocks
	readers readers
	behind  *committer
	streams streams

	recovered, stored atomic.Uint64 // for Progress
	closed            atomic.Bool   // set under mu

	mu struct {
		sync.Mutex
		loaded    bool               // what earlier runs left is here
		clones    map[*File]struct{} // files with a foreign base, and some that had one
		byID      map[ID]*File
		all       map[*File]struct{} // byID's, and those that lost their id
		conflicts []Conflict

		conflictAt time.Time        // of the latest one's name
		undropped  []*journal.Spool // that could not be discarded: tried again with the next
		// left are the files of earlier runs' renames that have left a version under a former name (File.mu.stale).
		left map[ID]*File
	}
}

// ErrClosed: Files has been closed, or the File forgotten.
var ErrClosed = fmt.Errorf("content: %w", os.ErrClosed)

// Closed is ErrClosed from the beginning of Close on: what is changed then may not be kept. Who asks behind a change and gets
// nil knows that Close comes after it.
func (s *Files) Closed() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return nil
}

// New makes an empty Files.
func New(o Options) *Files {
	s := &Files{o: o.withDefaults()}
	s.mu.byID = make(map[ID]*File)
	s.mu.all = make(map[*File]struct{})
	s.mu.clones = make(map[*File]struct{})
	s.mu.left = make(map[ID]*File)
	s.behind = newCommitter(s)
	return s
}

// Open gives the File of an id with one more reference, which Close gives back. With a base nil the file is a new one,
// empty and unsaved (Create), or one that is here already. A new one takes the id from what an earlier run left unsaved,
// which is then kept as a conflict. Else an unsaved File is shared whatever base says. A clean one of
// another version loses the id to a new File, and its handles go on reading their version; unless base is the older
// knowledge of the two.
func (s *Files) Open(id ID, base *Base, how Mode) (*File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Closed(); err != nil {
		return nil, fmt.Errorf("open %s: %w", id, err)
	}
	old := s.mu.byID[id]
	if old != nil && old.serves(base, how) {
		old.addRef(1)
		return old, nil
	}
	if base == nil && how != Create {
		return nil, &s3client.Error{Op: "open", Bucket: id.Bucket, Key: id.Key, Kind: s3client.NotFound}
	}
	f := newFile(s, id, base)
	if old != nil {
		old.supersede()
	}
	s.mu.byID[id] = f
	s.mu.all[f] = struct{}{}
	return f, nil
}

// Get is the open or unsaved File of an id, without a new reference.
func (s *Files) Get(id ID) (*File, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.mu.byID[id]
	return f, ok
}

// pin keeps the File of an id from being forgotten until unpin; nil when there is none.
func (s *Files) pin(id ID) *File {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.mu.byID[id]
	if f != nil {
		f.addPin(1)
	}
	return f
}

// pinUnsaved pins every File with unsaved changes that wanted likes.
func (s *Files) pinUnsaved(wanted func(*File, ID) bool) []*File {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*File
	for f := range s.mu.all {
		if id, unsaved := f.unsavedID(); unsaved && wanted(f, id) {
			f.addPin(1)
			out = append(out, f)
		}
	}
	return out
}

func (s *Files) unpin(f *File) { s.drop(f, func() { f.addPin(-1) }) }

// drop takes a reference or a pin off a File and forgets it when nobody needs it any more.
func (s *Files) drop(f *File, off func()) {
	spool, forgotten := func() (*journal.Spool, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		off()
		spool, forgotten := f.forget()
		if forgotten {
			s.removeLocked(f)
		}
		return spool, forgotten
	}()
	if forgotten {
		if v := f.Stat().Version; v.ETag != "" {
			s.o.Blocks.CancelPrefetch(v, 0, v.Size) // nobody is left who would read it
		}
		s.cacheStored(f, spool)
	}
	s.discard(f, spool)
}

// discard deletes a spool whose bytes nobody needs.
func (s *Files) discard(f *File, spool *journal.Spool) {
	if spool == nil {
		return
	}
	if err := s.drops([]*journal.Spool{spool}); err != nil {
		s.o.Log.Warn("spool of a stored file stays on the disk", "object", f.ID().String(), "spool", spool.Name(), "err", err)
	}
}

// drops deletes spools whose bytes nobody needs, with those that could not be deleted before. The error is of the new ones.
func (s *Files) drops(spools []*journal.Spool) error {
	var errs []error
	for _, spool := range s.takeUndropped() {
		if spool.Discard() != nil { // whoever dropped it has the error
			s.undropped(spool)
		}
	}
	for _, spool := range spools {
		if err := spool.Discard(); err != nil {
			errs = append(errs, err)
			s.undropped(spool)
		}
	}
	return errors.Join(errs...)
}

func (s *Files) undropped(spool *journal.Spool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.undropped = append(s.mu.undropped, spool)
}

func (s *Files) takeUndropped() []*journal.Spool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.mu.undropped
	s.mu.undropped = nil
	return all
}

// removeLocked takes a File out of the tables.
func (s *Files) removeLocked(f *File) {
	if id := f.ID(); s.mu.byID[id] == f {
		delete(s.mu.byID, id)
	}
	delete(s.mu.all, f)
	delete(s.mu.clones, f)
}

// rekey moves a File to another id; a File that has that id already loses it.
func (s *Files) rekey(f *File, to ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := f.ID()
	if s.mu.byID[from] == f {
		delete(s.mu.byID, from)
	}
	if old := s.mu.byID[to]; old != nil && old != f {
		old.supersede()
	}
	s.mu.byID[to] = f
	f.setID(to)
}

// Conflict is a file of which both versions were kept.
type Conflict struct {
	ID   ID // has what somebody else stored
	Kept ID // has what was written here
	Time time.Time
}

// Conflicts lists the conflicts of this run, oldest first.
func (s *Files) Conflicts() []Conflict {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Conflict(nil), s.mu.conflicts...)
}

func (s *Files) addConflict(c Conflict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.conflicts = append(s.mu.conflicts, c)
}
