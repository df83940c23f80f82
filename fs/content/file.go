package content

import (
	"context"
	"fmt"
	"sync"
	"time"

	"pailfs/cache"
	"pailfs/fs/journal"
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
//   - kept: the journal has a state of it, as of the last Flush (keep.go). It may have changed since.
//   - superseded: another File has its id, because the store has another version. Its handles read theirs; what they
//     write conflicts at the commit.
//   - in conflict: its content was stored under another key, which is its id now; Sync goes on answering ErrConflict.
//   - lost: in conflict and detached. What is left of it was stored elsewhere (rest.go); writing it is ErrConflict too.
//
// Three tokens are held across disk and network and waited for with a context; mu never is. Readers need mu alone.
//   - sending: whoever stores the file or takes its name away; at most one at a time.
//   - turn: whoever changes the file's bytes. A commit that somebody called for has it all the time and so stores one state
//     of the file; one in the background stores a kept state, which nobody changes, and lets writers go on.
//   - recording: whoever writes the file's record in the journal.
type File struct {
	files     *Files
	sending   token
	turn      token
	recording token

	mu struct {
		sync.Mutex
		id         ID
		refs, pins int // handles, operations; both 0 and clean: forgotten
		forgotten  bool
		detached   bool
		superseded bool
		recovered  bool  // from the journal, not committed since
		leaving    bool  // its name is about to go: nobody may begin to rely on its object
		conflict   error // what Sync answers after a conflict
		lost       bool  // in conflict, and detached: bytes of its base are gone (rest.go)

		layout    layout
		spool     *journal.Spool // nil until bytes are written
		chain     []*stage       // frozen states over the base, oldest first (states.go)
		going     *stage         // the one of them that is on its way to the store; nil: none
		latest    change         // of the present state over the chain's last; nothing without a chain
		lineage   string         // this File's name in its records, and in its uploads' State; "" before the first
		resume    []string       // multipart uploads of an earlier run that may have parts of it
		base      *Base          // what the store had when last seen; nil: nothing
		foreign   bool           // base is another object, whose bytes were cloned
		own       *Base          // beside a foreign base: what the store has under id; nil: nothing
		uncertain bool           // an upload to id had no answer: without a base there may be an object all the same
		sent      own            // versions under id that may be there beside base
		rewrite   *rewrite       // new attributes of base, which the store may have taken; nil: none
		stale     *stale         // an object to delete after the next commit: left behind by a rename during a commit

		state   state
		gen     uint64    // changes of bytes or attributes so far
		touches uint64    // changes of attributes so far
		since   time.Time // the oldest change that the store lacks
		changed time.Time // the latest change
		mtime   time.Time
		headers *s3client.Headers // of a recovered file: stand in for Options.Headers until it is changed

		yielding []journal.Version // what the record gives way to while a rename over the file is going on

		settled chan struct{} // closed when the running commit ends; nil when none runs
		rebased chan struct{} // closed when base changes
		telling chan struct{} // closed when Options.Stored has been told of what was stored last; nil: it has
		tries   uint64        // commits ended
		lastGen uint64        // gen that the last commit covered
		lastErr error         // its result
		fails   int           // commits that failed on end
		next    time.Time     // not tried in the background before
		cancel  func()        // ends the background commit that is running; nil when none is

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
	f := &File{files: s, sending: newToken(), turn: newToken(), recording: newToken()}
	f.mu.id, f.mu.refs = id, 1
	f.mu.rebased = make(chan struct{})
	if base == nil {
		f.mu.state, f.mu.since, f.mu.mtime = dirty, s.o.Now(), s.o.Now()
		f.mu.gen, f.mu.changed = 1, f.mu.since
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
	f.files.behind.schedule(f) // what nobody has open any more need not wait for another Flush
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

// token is a lock that is waited for with a context.
type token chan struct{}

func newToken() token { return make(token, 1) }

// take waits for a token of the file. give gives it back.
func (f *File) take(ctx context.Context, t token) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for %s: %w", f.ID(), err)
	}
	if t.try() {
		return nil // who need not wait asks for no Done, which costs something (fs.operation)
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", f.ID(), ctx.Err())
	}
}

func (t token) try() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t token) give() { <-t }

// takeAll waits for what a commit under the eyes of a caller, a Move or a Detach needs: nobody stores the file, and
// nobody changes it.
func (f *File) takeAll(ctx context.Context) error {
	if err := f.take(ctx, f.sending); err != nil {
		return err
	}
	if err := f.take(ctx, f.turn); err != nil {
		f.sending.give()
		return err
	}
	return nil
}

func (f *File) giveAll() {
	f.turn.give()
	f.sending.give()
}

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

// Touch says that attributes changed that have to travel with the next commit. A File that became clean meanwhile is
// unsaved again, so that a change which came too late for a commit gets one of its own. What the journal has of the file
// gets the new attributes before Touch returns. False: the File has no commits any more (nobody has it open, or its name is
// gone); the caller stores the attributes itself.
func (f *File) Touch() bool {
	f.Told()
	touched, isKept := f.touch()
	if isKept {
		f.amendHeaders()
		f.files.behind.schedule(f)
	}
	return touched
}

func (f *File) touch() (touched, isKept bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.forgotten || f.mu.detached || f.mu.state == clean && f.mu.refs == 0 {
		return false, false
	}
	f.mu.touches++
	f.changedLocked()
	return true, f.keptLocked() != nil
}

// tells begins the time between a commit's end and Options.Stored, in which the File seems clean and nobody knows of what.
func (f *File) tells() (told func()) {
	c := make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.telling = c
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.mu.telling = nil
		close(c)
	}
}

// Told returns when Options.Stored has been told of what was stored. Whoever is called by it must not call Told.
func (f *File) Told() {
	f.mu.Lock()
	c := f.mu.telling
	f.mu.Unlock()
	if c != nil {
		<-c
	}
}

// changedLocked makes the File unsaved.
func (f *File) changedLocked() {
	now := f.files.o.Now()
	f.mu.gen++
	f.mu.changed, f.mu.headers = now, nil
	if f.mu.state == clean {
		f.mu.state, f.mu.since = dirty, now
	}
	if k := f.keptLocked(); k != nil && k.left.IsZero() && k.bytes != f.bytesLocked() {
		k.left = now
	}
}

// bytesLocked counts the changes of bytes.
func (f *File) bytesLocked() uint64 { return f.mu.gen - f.mu.touches }

// rebaseLocked records what the store has now.
func (f *File) rebaseLocked(id ID, o s3client.Object) {
	f.mu.base = &Base{Seen: f.files.o.Now(), Version: cache.Version{Bucket: id.Bucket, Key: id.Key, ETag: o.ETag, Size: o.Size}}
	f.mu.foreign, f.mu.own, f.mu.sent = false, nil, own{}
	close(f.mu.rebased)
	f.mu.rebased = make(chan struct{})
}

// checkLocked is what holds whenever nobody is inside a method. Tests call it.
func (f *File) checkLocked() error {
	l := &f.mu.layout
	switch {
	case l.base > 0 && (f.mu.base == nil || l.base > f.mu.base.Version.Size):
		return fmt.Errorf("base limit %d without a base that long", l.base)
	case f.mu.state == clean && (len(l.dirty) > 0 || f.mu.base == nil || l.size != l.base):
		return fmt.Errorf("clean with unsaved bytes %v, size %d, base %d", l.dirty, l.size, l.base)
	case f.mu.state == syncing && f.mu.settled == nil:
		return fmt.Errorf("syncing without a commit")
	case f.mu.state == clean && len(f.mu.chain) > 0:
		return fmt.Errorf("clean with frozen states")
	case f.mu.own != nil && !f.mu.foreign, f.mu.foreign && f.mu.base == nil:
		return fmt.Errorf("foreign %v, base %v, own %v", f.mu.foreign, f.mu.base, f.mu.own)
	}
	if err := l.check(f.mu.spool != nil); err != nil {
		return err
	}
	return f.checkChainLocked()
}
