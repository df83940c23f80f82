package tree

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pailfs/cache"
	"pailfs/s3client"
)

// The errors of this package. Errors of the store come wrapped, as what they are.
var (
	ErrNotFound     = errors.New("no such file or directory")
	ErrExists       = errors.New("exists already")
	ErrNotEmpty     = errors.New("directory is not empty")
	ErrNotDir       = errors.New("not a directory")
	ErrIsDir        = errors.New("is a directory")
	ErrNameTooLong  = errors.New("name too long")
	ErrReadOnly     = errors.New("mounted read-only")
	ErrBusy         = errors.New("busy")
	ErrInvalid      = errors.New("invalid argument")
	ErrNotPermitted = errors.New("not permitted")
	// ErrName is an ErrInvalid: the name cannot be a key or a bucket.
	ErrName = fmt.Errorf("%w: the name cannot be stored", ErrInvalid)
	// ErrCopied says that a rename has made its copy, and that nobody knows whether the old name is still there.
	ErrCopied = errors.New("copied, and perhaps moved")
	// ErrCross says that the store cannot do a rename in one step and that the caller shall copy (EXDEV).
	ErrCross = errors.New("cannot be renamed in place")
	// ErrStale is a listing that cannot be had in time: the store does not answer.
	ErrStale = errors.New("last known so, the store does not answer")
)

// The type bits of a mode (S_IFMT and its values), as every Unix stores them.
const (
	typeMask    = 0o170000
	typeFifo    = 0o010000
	typeChar    = 0o020000
	typeDir     = 0o040000
	typeBlock   = 0o060000
	typeRegular = 0o100000
	typeLink    = 0o120000
	typeSocket  = 0o140000
	permMask    = 0o7777
)

// Options say what a tree shows and how. The zero value of a number means its default.
type Options struct {
	Store s3client.Store
	// Bucket is the bucket shown; "" shows the account, a directory per bucket.
	Bucket string
	// Prefix is the part of the bucket shown: "" or "a/b/".
	Prefix string
	// TTL is how long an answer of the store is taken for true without asking again; default one second; negative: always ask.
	TTL time.Duration
	// MaxEntries bounds the entries remembered, and the attributes, and the overlay; default 100,000.
	MaxEntries int
	// Full asks for the attributes stored with each object (a HEAD once a version). Without it all objects have the defaults.
	Full     bool
	UID, GID uint32
	// FileMode and DirMode are the permission bits of objects without a mode; defaults 0644 and 0755.
	FileMode, DirMode uint32
	// Copy copies an object of any size inside the store and has verified it when it returns. Headers nil keeps the
	// source's. Nil means the store's Copy.
	Copy func(ctx context.Context, src s3client.Object, bucket, key string, h *s3client.Headers) (s3client.Object, error)
	// Put stores a body and says whether the store has got what was sent: with an error, an Object that has an ETag is there and
	// is something else. Nil means the store's Put, and nobody compares.
	Put func(ctx context.Context, r s3client.PutRequest) (s3client.Object, error)
	// Attributes reads an object's headers where a Lookup needs its attributes, with the size, ETag and time they came
	// with: the store's Head (nil), or a GET that brings some of its bytes too. An Object without Headers says that
	// whoever carried out the GET has told it to Learn. The store's Head is asked when that did not happen, and after
	// s3client.Changed.
	Attributes func(ctx context.Context, e Entry) (s3client.Object, error)
	// Archive keeps what is known of versions for the next mount; nil keeps nothing. New loads and starts it.
	Archive *cache.Archive
	// Later takes small changes of names instead of the store: Mkdir, Symlink, Unlink and the like then return when it
	// has accepted them. Nil: when the store has acknowledged them.
	Later Later
	// Drain, where Later is nil, carries out what an earlier run left for the keys under a prefix (RecoveredChange), before
	// a change of such a name goes to the store. Nil: an earlier run left nothing.
	Drain func(ctx context.Context, bucket, prefix string) error
	// Finish carries out what waits for one key, also while a file with unsaved bytes has it: a rename is about to store the
	// key, and what is carried out later would undo that. nil: nothing waits.
	Finish func(ctx context.Context, bucket, key string) error
	// BucketPattern are patterns (path.Match) of the buckets that an account shows; none: all.
	BucketPattern []string
	// Intents keeps renames of directories that are going on, so that CompleteRename can end what a dead process began; nil:
	// nobody does.
	Intents Intents
	// StaleAfter is how long a Lookup or List waits for the store when it could answer from what was known longer than
	// the TTL ago; default three seconds; negative: for as long as it takes, and such answers are never given.
	StaleAfter time.Duration
	Now        func() time.Time
	Log        *slog.Logger
	ReadOnly   bool
}

// Entry is what is known of one name.
type Entry struct {
	// Path is relative to the mount, without slashes at its ends; "" is the root.
	Path string
	// Bucket and Key say where it is in the store. Key has no slash at its end for directories, and is "" for a bucket.
	Bucket, Key string
	// Mode is the full st_mode with type bits.
	Mode           uint32
	UID, GID, Rdev uint32
	// Size in bytes and ETag are the stored object's; 0 and "" for directories and for what is not stored yet. The size
	// of a symbolic link is its target's length.
	Size                int64
	ETag                string
	Mtime, Ctime, Atime time.Time
	// Full: the attributes are known. Otherwise mode and the rest are defaults so far.
	Full bool
	// Pending: created here, no object in the store yet.
	Pending bool
	// Modified is the store's time; zero when it has not said.
	Modified time.Time
	// Seen is when the store (or a change made here) last said so.
	Seen time.Time
	// Stale: this was known longer than the TTL ago, and the store does not answer.
	Stale bool
}

// IsDir says whether the entry is a directory.
func (e *Entry) IsDir() bool { return e.Mode&typeMask == typeDir }

// objectKey is the key of the object that carries the entry's attributes.
func (e *Entry) objectKey() string {
	if e.IsDir() {
		return dirKey(e.Key)
	}
	return e.Key
}

// State is what Known knows.
type State int

const (
	// Unknown: ask with Lookup.
	Unknown State = iota
	// Found: there, as of less than the TTL ago or by a change made here.
	Found
	// Absent: not there, likewise.
	Absent
)

// Attr are the attributes of something new. Mode has permission bits; for Mknod type bits too.
type Attr struct{ Mode, UID, GID uint32 }

// Change is what SetAttr shall change; nil stays.
type Change struct {
	Mode, UID, GID *uint32
	Mtime, Atime   *time.Time
	// XAttr is a change of an extended attribute, ContentType one of the type: "" is the type by the name.
	XAttr       *XAttr
	ContentType *string
	// Unsaved: the file has content that is not stored yet, the attributes will travel with it; no request.
	Unsaved bool
}

// Stats counts what a tree holds and hides.
type Stats struct {
	// Entries, Attributes: names, and versions with attributes, remembered. Changes: in the overlay; Pending of these
	// are not stored yet.
	Entries, Attributes, Changes, Pending int
	// Unsettled of the changes are accepted by Later and not in the store.
	Unsettled int
	// HiddenNames are keys that cannot be file names; Shadowed are objects hidden by a directory of the same name, its
	// marker's bytes too.
	HiddenNames, Shadowed int
}
