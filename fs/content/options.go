package content

import (
	"context"
	"log/slog"
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
	// Lost, where it is not nil, is told that a file has no name any more: somebody else has removed or replaced what it stood
	// on, and its changes are kept elsewhere or void (both logged). What the name is now only the store knows.
	Lost func(ID)
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
	// Retain is how much of what the store has of files being streamed stays on the disk all the same, in bytes for all of them:
	// 0 means 512 MiB, negative none; an eighth of the free space at the most. The first part of each stays always.
	Retain int64
	// PassAfter is how much of a streamed file is written like any other, in bytes: 0 means 256 MiB. What comes behind stays in
	// memory that the journal borrows, until the store has it, and no longer; in journal durability it does not.
	PassAfter int64
	// Behind is journal durability: Flush returns when the file is in the journal, and the store gets it in the background.
	Behind bool
	// MaxLag is how long the journal may have what the store does not have before it is stored whatever else goes on, and who
	// closes a file waits for that: 0 means 30 s.
	MaxLag time.Duration
	// Settle is how long a file must rest before it is stored in the background: 0 means 100 ms.
	Settle time.Duration
	// Hold keeps an id's name as it is during a commit that nobody called for (background, SyncAll, Recover). Who calls
	// Sync, Flush, SyncUnder, Move or Detach has the name already. nil: nothing to keep.
	Hold func(ctx context.Context, id ID) (release func(), err error)
	// Guard is taken around every commit and deletion of an object, also around the look at it before; done says whether what
	// waits for the object is moot: the file was stored under the id, or left it. nil: nobody else changes objects.
	Guard func(ctx context.Context, id ID) (done func(stored bool), err error)
	// Rewriting, where it is not nil, gives the attributes that the stored version etag of an object is to have ("": whichever
	// there is), where the store may have given it them without an answer: perhaps it is another version since.
	Rewriting func(id ID) (etag string, h s3client.Headers, ok bool)
	// Resume, where it is not nil, gives the multipart uploads of an earlier run that may have parts of this file already.
	Resume func(id ID) []string
	Now    func() time.Time // nil: time.Now
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
	if o.Retain == 0 {
		o.Retain = defaultRetain
	}
	if o.PassAfter <= 0 {
		o.PassAfter = defaultPassAfter
	}
	if o.MaxLag <= 0 {
		o.MaxLag = 30 * time.Second
	}
	if o.Settle <= 0 {
		o.Settle = 100 * time.Millisecond
	}
	if o.Hold == nil {
		o.Hold = func(context.Context, ID) (func(), error) { return func() {}, nil }
	}
	if o.Guard == nil {
		o.Guard = func(context.Context, ID) (func(bool), error) { return func(bool) {}, nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
