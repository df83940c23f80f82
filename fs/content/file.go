package content

import (
	"context"
	"fmt"
	"sync"
	"time"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// state of a File. Only clean means that the store has every byte and attribute.
type state int

const (
	clean state = iota
	dirty
	syncing
	failed
)

func (s state) String() string { return [...]string{"clean", "dirty", "syncing", "failed"}[s] }

// File is the bytes of one object, shared by all its handles. Safe for concurrent use.
//
//	        write, truncate, Touch         Sync
//	clean -------------------------> dirty ----> syncing ----------> clean
//	  ^      (a new file is born dirty)           ^  |  |  Touch meanwhile: commits again
//	  |                                           |  |
//	  |                                Sync again |  v the store refuses
//	  +-- Done of a Detach (any state)            failed <--- write, truncate, Touch stay here
//
// A clean File without handles is forgotten and its spool deleted; an unsaved one stays until it is stored or detached.
// Beside its state a File may be
//   - detached: its name is gone (unlink, replaced by rename). It lives on in spool and memory; Sync has nothing to do.
//   - superseded: another File has its id, because the store has another version. Its handles read theirs; what they
//     write conflicts at the commit.
//   - in conflict: its content was stored under another key, which is its id now; Sync goes on answering ErrConflict.
//
// turn is held by whoever changes the file's bytes and by a commit, across disk and network, and is waited for with a
// context: a commit therefore stores one state of the file. mu is never held across either. Readers need mu alone.
type File struct {
	files *Files
	turn  chan struct{} // holds a token while somebody has the turn

	mu struct {
		sync.Mutex
		id         ID
		refs, pins int // handles, operations; both 0 and clean: forgotten
		forgotten  bool
		detached   bool
		superseded bool
		recovered  bool  // from the journal, not committed since
		conflict   error // what Sync answers after a conflict

		layout    layout
		spool     *journal.Spool // nil until bytes are written
		kept      bool           // the journal has a record of the spool
		base      *Base          // what the store had when last seen; nil: nothing
		uncertain bool           // an upload to id had no answer: without a base there may be an object all the same
		stale     *ID            // an object to delete after the next commit: left behind by a rename during a commit

		state   state
		gen     uint64 // changes of bytes or attributes so far
		touches uint64 // changes of attributes so far
		since   time.Time
		mtime   time.Time
		headers *s3client.Headers // of a recovered file: stand in for Options.Headers until Touch

		settled chan struct{} // closed when the running commit ends; nil when none runs
		rebased chan struct{} // closed when base changes
		tries   uint64        // commits ended
		lastGen uint64        // gen that the last commit covered
		lastErr error         // its result

		writing *active    // the change of bytes going on
		seq     uint64     // changes of bytes ended
		recent  [16]Range  // the last of them, by seq
		stream  *streaming // the upload that runs while the file is written
		front   int64      // where a sequential writer writes next
	}
}

// active is a change of bytes going on.
type active struct {
	Range
	done chan struct{} // closed at its end
}

func newFile(s *Files, id ID, base *Base) *File {
	f := &File{files: s, turn: make(chan struct{}, 1)}
	f.mu.id, f.mu.refs = id, 1
	f.mu.rebased = make(chan struct{})
	if base == nil {
		f.mu.state, f.mu.since, f.mu.mtime = dirty, s.o.Now(), s.o.Now()
		f.mu.gen = 1
		return f
	}
	b := *base
	f.mu.base = &b
	f.mu.layout = layout{size: b.Version.Size, base: b.Version.Size}
	return f
}

// Handle is what one open file description remembers: how it reads. Its File may change under it.
type Handle struct {
	direct bool // past all caches
	reads  reader
	mu     struct {
		sync.Mutex
		readahead readahead
	}
}

// Handle makes the reader state of one reference. direct reads past all caches (O_DIRECT): each read asks the store.
func (f *File) Handle(direct bool) *Handle { return &Handle{direct: direct} }

// Hold takes one more reference of an open File.
func (f *File) Hold() { f.addRef(1) }

// Close gives a reference of Open or Hold back, and ends its Handle if there is one. The last one of a clean File forgets it.
func (f *File) Close(h *Handle) {
	if h != nil {
		f.files.readers.leave(&h.reads)
	}
	f.files.drop(f, func() { f.addRef(-1) })
}

// ID is the object that the File is stored as.
func (f *File) ID() ID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.id
}

func (f *File) setID(id ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.id = id
	f.mu.superseded = false
}

func (f *File) addRef(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.refs += n
}

func (f *File) addPin(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.pins += n
}

// take waits for the turn. give gives it back.
func (f *File) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for %s: %w", f.ID(), err)
	}
	select {
	case f.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", f.ID(), ctx.Err())
	}
}

func (f *File) give() { <-f.turn }

// serves says whether an Open may share this File.
func (f *File) serves(base *Base, how Mode) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case how == Create && base == nil:
		return false // what an earlier run has left is not shown, so its name may be created
	case f.mu.state != clean || base == nil:
		return true
	case f.mu.base.Version == base.Version:
		if base.Seen.After(f.mu.base.Seen) {
			f.mu.base.Seen = base.Seen
		}
		return f.mu.conflict == nil
	}
	return base.Seen.Before(f.mu.base.Seen)
}

func (f *File) supersede() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.superseded = true
}

// unsavedLocked says whether the store lacks something that it should have.
func (f *File) unsavedLocked() bool { return f.mu.state != clean && !f.mu.detached && !f.mu.forgotten }

func (f *File) unsavedID() (ID, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.id, f.unsavedLocked()
}

func (f *File) unsaved() (Unsaved, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := Unsaved{ID: f.mu.id, Since: f.mu.since, Err: f.mu.lastErr, Bytes: f.unsavedBytesLocked()}
	return u, f.unsavedLocked()
}

func (f *File) unsavedBytesLocked() int64 {
	return ranges(f.mu.layout.need(0).Dirty).bytes()
}

// forget ends a File that nobody needs; its spool is the caller's to discard.
func (f *File) forget() (spool *journal.Spool, forgotten bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.refs > 0 || f.mu.pins > 0 || f.unsavedLocked() || f.mu.forgotten {
		return nil, false
	}
	f.mu.forgotten = true
	spool, f.mu.spool = f.mu.spool, nil
	return spool, true
}

// abandon ends a File at the end of the run; keep says that its spool has
// bytes that the store does not have.
func (f *File) abandon() (spool *journal.Spool, keep bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keep = f.mu.kept || f.mu.state != clean && !f.mu.detached
	f.mu.forgotten = true
	spool, f.mu.spool = f.mu.spool, nil
	return spool, keep
}

// Stat is what is known of a File without asking anybody.
type Stat struct {
	Size    int64         // bytes
	Mtime   time.Time     // the last change of bytes here; zero if there was none
	Dirty   bool          // the store lacks something; false for a detached File
	Version cache.Version // the stored version under the File; zero if none
	Blocks  int64         // units of 512 bytes, as in stat(2)
}

// Stat never waits for disk or network.
func (f *File) Stat() Stat {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Stat{Size: f.mu.layout.size, Mtime: f.mu.mtime, Dirty: f.unsavedLocked(), Version: f.versionLocked(),
		Blocks: (f.mu.layout.size + 511) / 512}
}

// versionLocked is the stored version under the file, zero if none.
func (f *File) versionLocked() cache.Version {
	if f.mu.base == nil {
		return cache.Version{}
	}
	return f.mu.base.Version
}

// NextData is where data begins at or behind off (SEEK_DATA); false when there is none.
func (f *File) NextData(off int64) (int64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.layout.nextData(off)
}

// NextHole is where a hole begins at or behind off (SEEK_HOLE), the end of the file being one; false behind the end.
func (f *File) NextHole(off int64) (int64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.layout.nextHole(off)
}

// Touch says that attributes changed that have to travel with the next commit. A File that became clean meanwhile is
// unsaved again, so that a change which came too late for a commit gets one of its own. False: the File has no commits
// any more (nobody has it open, or its name is gone); the caller stores the attributes itself.
func (f *File) Touch() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.forgotten || f.mu.detached {
		return false
	}
	f.mu.touches++
	f.mu.headers = nil
	f.changedLocked()
	return true
}

// changedLocked makes the File unsaved.
func (f *File) changedLocked() {
	f.mu.gen++
	if f.mu.state == clean {
		f.mu.state, f.mu.since = dirty, f.files.o.Now()
	}
}

// rebaseLocked records what the store has now.
func (f *File) rebaseLocked(id ID, o s3client.Object) {
	f.mu.base = &Base{Seen: f.files.o.Now(), Version: cache.Version{Bucket: id.Bucket, Key: id.Key, ETag: o.ETag, Size: o.Size}}
	close(f.mu.rebased)
	f.mu.rebased = make(chan struct{})
}

// headersFor pulls the attributes that travel with an upload.
func (f *File) headersFor(ctx context.Context, id ID, streaming bool) (s3client.Headers, error) {
	f.mu.Lock()
	h := f.mu.headers
	f.mu.Unlock()
	if h != nil {
		return *h, nil
	}
	return f.files.o.Headers(s3client.Patient(ctx), id, streaming)
}

// ensureSpool makes the spool; the caller has the turn.
func (f *File) ensureSpool() (*journal.Spool, error) {
	f.mu.Lock()
	spool, gone := f.mu.spool, f.mu.forgotten
	f.mu.Unlock()
	if gone {
		return nil, fmt.Errorf("write %s: %w", f.ID(), ErrClosed)
	}
	if spool != nil {
		return spool, nil
	}
	spool, err := f.files.o.Journal.NewSpool()
	if err != nil {
		return nil, fmt.Errorf("spool of %s: %w", f.ID(), err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.spool = spool
	return spool, nil
}

// checkLocked is what holds whenever nobody is inside a method. Tests call it.
func (f *File) checkLocked() error {
	l := &f.mu.layout
	switch {
	case l.base > l.size || l.size < 0:
		return fmt.Errorf("base limit %d of size %d", l.base, l.size)
	case l.base > 0 && (f.mu.base == nil || l.base > f.mu.base.Version.Size):
		return fmt.Errorf("base limit %d without a base that long", l.base)
	case len(l.local) > 0 && (f.mu.spool == nil || end(l.local[len(l.local)-1]) > l.size):
		return fmt.Errorf("local bytes %v of size %d, spool %v", l.local, l.size, f.mu.spool != nil)
	case f.mu.state == clean && (len(l.dirty) > 0 || f.mu.base == nil || l.size != l.base):
		return fmt.Errorf("clean with unsaved bytes %v, size %d, base %d", l.dirty, l.size, l.base)
	case f.mu.state == syncing && f.mu.settled == nil:
		return fmt.Errorf("syncing without a commit")
	}
	for _, r := range l.dirty {
		if len(l.local.gaps(r.Off, r.Len)) > 0 {
			return fmt.Errorf("dirty %v is not local %v", r, l.local)
		}
	}
	return nil
}

// streaming is an upload that runs while the file is being written, and how much of the file it was given.
type streaming struct {
	*upload.Stream
	id     ID
	sealed int64 // the layout's parts below were sealed or are the first
}
