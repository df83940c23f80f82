package content

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// ID names an object.
type ID struct{ Bucket, Key string }

func (id ID) String() string { return id.Bucket + "/" + id.Key }

// Base is the stored version that a file is opened on, and when the store was last seen to have it.
type Base struct {
	Version cache.Version
	Seen    time.Time
}

// Mode says what a file is opened for.
type Mode int

const (
	Read Mode = iota
	Write
	// Create is O_CREAT of a name that has no object: the file is empty, and unsaved from birth.
	Create
)

// Options are the surroundings of Files. Store, Blocks, Journal and Uploader are required.
type Options struct {
	Store    s3client.Store
	Blocks   *cache.Blocks
	Journal  *journal.Journal
	Uploader *upload.Uploader
	// Headers are the attributes that travel with an upload of id, asked for when an upload begins and again at the
	// commit. streaming: the upload runs while the file is being written, so what changes with each write (times) had
	// better be left out.
	Headers func(ctx context.Context, id ID, streaming bool) (s3client.Headers, error)
	// Outdated, where it is not nil, is told of a version that a read has found gone from the store.
	Outdated func(cache.Version)
	// Stored is called after each commit, before Sync returns, without a lock held. The Object has Size, ETag, Modified
	// (where the store said it) and Headers as sent.
	Stored func(ID, s3client.Object)
	// CheckAfter: a base that was seen longer ago is asked for again (HEAD) before a commit replaces it.
	CheckAfter time.Duration
	Log        *slog.Logger // nil: nothing is logged
	Host       string       // stands in the names of conflict copies
	// Readahead is the largest window of a sequential reader in bytes: 0 means 96 MiB, negative turns readahead off.
	Readahead int64
	// ReadaheadTotal bounds the windows of all sequential readers together, in bytes; they share it evenly. 0: no bound.
	ReadaheadTotal int64
	// StreamBytes is how much of a file being streamed may be on its way before a write waits: 0 means 256 MiB.
	StreamBytes int64
	Now         func() time.Time // nil: time.Now
}

func (o Options) withDefaults() Options {
	if o.Headers == nil {
		o.Headers = func(context.Context, ID, bool) (s3client.Headers, error) { return s3client.Headers{}, nil }
	}
	if o.Stored == nil {
		o.Stored = func(ID, s3client.Object) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Host == "" {
		o.Host = "unknown"
	}
	if o.Readahead == 0 {
		o.Readahead = 96 * mib
	}
	if o.StreamBytes <= 0 {
		o.StreamBytes = 256 * mib
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Files are the open and the unsaved files of a mount, one File an ID. Safe for concurrent use. It lives from New to
// Close.
type Files struct {
	o       Options
	bufs    sync.Pool // *[]byte of bufBytes, for reads that cannot be served from cached blocks
	readers readers

	mu struct {
		sync.Mutex
		closed    bool
		byID      map[ID]*File
		all       map[*File]struct{} // byID's, and those that lost their id
		conflicts []Conflict
	}
}

// ErrClosed: Files has been closed, or the File forgotten.
var ErrClosed = fmt.Errorf("content: %w", os.ErrClosed)

// New makes an empty Files.
func New(o Options) *Files {
	s := &Files{o: o.withDefaults()}
	s.mu.byID = make(map[ID]*File)
	s.mu.all = make(map[*File]struct{})
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
	if s.mu.closed {
		return nil, fmt.Errorf("open %s: %w", id, ErrClosed)
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
func (s *Files) pinUnsaved(wanted func(ID) bool) []*File {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*File
	for f := range s.mu.all {
		if id, unsaved := f.unsavedID(); unsaved && wanted(id) {
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
	}
	s.discard(f, spool)
}

// discard deletes a spool whose bytes nobody needs.
func (s *Files) discard(f *File, spool *journal.Spool) {
	if spool == nil {
		return
	}
	if err := spool.Discard(); err != nil {
		s.o.Log.Warn("spool of a stored file stays on the disk", "object", f.ID().String(), "spool", spool.Name(), "err", err)
	}
}

// removeLocked takes a File out of the tables.
func (s *Files) removeLocked(f *File) {
	if id := f.ID(); s.mu.byID[id] == f {
		delete(s.mu.byID, id)
	}
	delete(s.mu.all, f)
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

// Unsaved is a File with changes that the store does not have.
type Unsaved struct {
	ID    ID
	Bytes int64     // how many bytes are to be stored
	Since time.Time // the oldest of the changes
	Err   error     // why the last commit failed; nil when none was tried yet
}

// Unsaved lists the files with changes that the store does not have, in no order.
func (s *Files) Unsaved() []Unsaved {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Unsaved
	for f := range s.mu.all {
		if u, ok := f.unsaved(); ok {
			out = append(out, u)
		}
	}
	return out
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

// Close commits everything, keeps in the journal what the store does not take, and names it in the error. Afterwards no
// file can be opened. It ends within ctx's time but for the disk.
func (s *Files) Close(ctx context.Context) error {
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	var errs []error
	if err := s.SyncAll(ctx, nil); err != nil {
		// What is not stored is named below; a conflict is stored, and was logged.
		s.o.Log.Debug("not everything could be committed at close", "err", err)
	}
	for _, f := range s.pinUnsaved(func(ID) bool { return true }) {
		errs = append(errs, f.keepAtClose(ctx))
	}
	return errors.Join(append(errs, s.forgetAll())...)
}

// forgetAll closes the spools of what is still open: nobody is left to use them.
func (s *Files) forgetAll() error {
	s.mu.Lock()
	files := make([]*File, 0, len(s.mu.all))
	for f := range s.mu.all {
		files = append(files, f)
	}
	clear(s.mu.all)
	clear(s.mu.byID)
	s.mu.Unlock()
	var errs []error
	for _, f := range files {
		if spool, keep := f.abandon(); spool != nil && keep {
			errs = append(errs, spool.Close())
		} else if spool != nil {
			errs = append(errs, spool.Discard())
		}
	}
	return errors.Join(errs...)
}
