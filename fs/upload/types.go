package upload

import (
	"errors"
	"io"
	"log/slog"

	"pailfs/fs/journal"
	"pailfs/s3client"
)

// Range is a run of bytes of a file.
type Range = journal.Range

// ErrClosed is the answer to work given to an Uploader after Close.
var ErrClosed = errors.New("upload: closed")

// Base is the stored version that a file was opened from. Ranges of it are copied inside the store, pinned by its ETag.
type Base struct {
	Bucket, Key, ETag string
	Size              int64 // bytes of the whole object
}

// Job asks for an object to become equal to a file.
type Job struct {
	Bucket, Key string
	// Headers travel with the object.
	Headers s3client.Headers
	// Source is the file's whole final content, [0, Need.Size). It is read from several goroutines, more than once where
	// a request is repeated. Bytes that change while Store runs may be stored in either state: the caller keeps the file
	// dirty and stores again.
	Source io.ReaderAt
	Need   Need
	// Base, when not nil, is where Need.Base's bytes can be copied from.
	Base *Base
	// IfAbsent stores only when the key does not exist (s3client.Exists otherwise). It always costs a multipart upload:
	// a completion is the one request that stores can make conditional.
	IfAbsent bool
	// Stream, when not nil, is an upload that was begun while the file was being written.
	Stream *Stream
}

// Options are an Uploader's surroundings.
type Options struct {
	Store  s3client.Store
	Limits Limits
	// Parallel is the most requests with bodies or copies in flight over the whole mount; 0 means 21, of which a large
	// file gets 16 (three quarters).
	Parallel int
	Log      *slog.Logger // nil: nothing is logged
}

func (o Options) withDefaults() Options {
	if o.Parallel <= 0 {
		o.Parallel = 21
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Limits == (Limits{}) {
		o.Limits = LimitsOf(o.Store.Profile(), 0)
	}
	return o
}
