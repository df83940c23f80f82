package wired

import (
	"log/slog"
	"time"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// Options are what the rooms of a mount are built of. Store, Journal and Log are needed.
type Options struct {
	Store   s3client.Store
	Journal *journal.Journal
	Disk    *cache.Disk    // nil: no disk cache
	Archive *cache.Archive // nil: what HEADs say is not kept for the next mount
	Log     *slog.Logger

	// Bucket and Prefix are what is shown; BucketPattern which buckets of an account.
	Bucket, Prefix string
	BucketPattern  []string
	// StoreID tells the store from others in the notes of uploads.
	StoreID string
	// Journals is the directory in which all mounts of this host have their journals, this one in one named Own: uploads that
	// others left are ended. "": nobody looks.
	Journals, Own string
	// Host stands in the names of conflict copies.
	Host string

	// ReadOnly takes over nothing and stores nothing. Behind is journal durability, Full shows the attributes of objects.
	ReadOnly, Behind, Full bool
	UID, GID               uint32
	FileMode, DirMode      uint32
	// TTL is how long names and attributes are trusted; 0: not at all.
	TTL time.Duration
	// MaxLag and Settle are content's, with its defaults.
	MaxLag, Settle time.Duration
	Limits         upload.Limits
	Verify         upload.Verify
	Memory         Memory

	// Seam, of tests, is called between two steps of the rooms that a kill may separate.
	Seam func(what, key string)
}

// Memory is what each may have of it, in bytes but for Names.
type Memory struct {
	Blocks                    int64 // cached blocks, and those being fetched
	Ahead                     int64 // small files that were fetched before they are opened
	Readahead, ReadaheadTotal int64 // of one sequential reader, and of all
	Names                     int
}

func (o *Options) seam(what, key string) {
	if o.Seam != nil {
		o.Seam(what, key)
	}
}

// namesTTL is TTL as tree takes it: there 0 means its default, and a negative one that nothing is trusted.
func (o *Options) namesTTL() time.Duration {
	if o.TTL == 0 {
		return -1
	}
	return o.TTL
}
