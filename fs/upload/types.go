package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

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

// Ahead is a Source that has to fetch some of its bytes. It is told of a stretch that will soon be read from its beginning
// to its end, so that it fetches what is missing in few requests; stretches are told in the order in which they are sent,
// about as many as are sent at once. It must not block.
type Ahead interface {
	Ahead(off, n int64)
}

// Grained is a Source that reads some of its bytes in whole units, whatever is asked for: Grain is how long the unit is that
// the byte at off lies in, at a multiple of that; 0 where there is none. A request, which takes its body in small pieces,
// is given a unit at once then, so that none is read twice.
type Grained interface {
	Grain(off int64) int64
}

func ahead(src io.ReaderAt, off, n int64) {
	if a, ok := src.(Ahead); ok {
		a.Ahead(off, n)
	}
}

// Job asks for an object to become equal to a file.
type Job struct {
	Bucket, Key string
	// Headers travel with the object.
	Headers s3client.Headers
	// Source is the file's whole final content, [0, Need.Size). It is read from several goroutines, more than once where
	// a request is repeated. Bytes that change while Store runs may be stored in either state: the caller keeps the file
	// dirty and stores again. It may be an Ahead, or Grained.
	Source io.ReaderAt
	Need   Need
	// Base, when not nil, is where Need.Base's bytes can be copied from.
	Base *Base
	// IfAbsent stores only when the key does not exist (s3client.Exists otherwise). It always costs a multipart upload:
	// a completion is the one request that stores can make conditional.
	IfAbsent bool
	// Stream, when not nil, is an upload that was begun while the file was being written.
	Stream *Stream
	// Resume are ids of multipart uploads of this key that an earlier run began, in the order they were begun, and that
	// may have parts of this content. What fits is not sent again; those that are not used are aborted once the object is
	// stored. Uploads that Adopt was told of need not be named.
	Resume []string

	// State, when not "", names the bytes and the headers: two Jobs of a key with one State ask for the same object.
	State string

	// Making, when not nil, is told the ETag that an object joined from parts will have, where that can be foretold, before
	// the store is asked to join them: the answer may never come.
	Making func(etag string)

	// Spoiled, when not nil, is told the ETag of an object that the store has now and that is not what was sent (Verify).
	Spoiled func(etag string)

	resume *[]string // those of Resume that nothing is known of yet
}

// Options are an Uploader's surroundings.
type Options struct {
	Store  s3client.Store
	Limits Limits
	// Parallel is the most requests with bodies or copies in flight over the whole mount; 0 means 21, of which a large
	// file gets 16 (three quarters).
	Parallel int
	Verify   Verify
	Register Register     // nil: none
	Log      *slog.Logger // nil: nothing is logged
	// Settled waits until what is stored under a name is not deleted by a request that has no answer (fs/late); nil: nobody knows.
	Settled func(ctx context.Context, bucket, key string) error
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

// Register keeps account of multipart uploads in a place that outlives the process, so that none is forgotten when the
// process dies. Its calls are made in the order of its methods for each upload, from several goroutines for several. A
// call only has to be written where a killed process leaves it (no wait for the disk). An error is logged and the upload
// goes on: an upload that may be forgotten is better than a file that is not stored.
type Register interface {
	// Begins is called before an upload is created.
	Begins(bucket, key string) (token uint64, err error)
	// Has is called when the store has given it an id.
	Has(token uint64, id string) error
	// Completes is called before the store is asked to join the parts. From then on the object may come to be, and the
	// parts may be what it consists of.
	Completes(token uint64) error
	// Ends is called when it is completed, aborted, or known to be gone.
	Ends(token uint64) error
}

// Left is an upload that an earlier run registered and did not end.
type Left struct {
	Token       uint64 // as Begins gave it; Ends is told it when the upload is gone
	Bucket, Key string
	ID          string    // "": the process died around the upload's creation
	Begun       time.Time // when Begins was called
	Completing  bool      // Completes was called
}

// Verify says which bodies are compared with what the store says that it has got.
type Verify int

const (
	// VerifyAuto verifies where it costs little beside the request itself (verify.go).
	VerifyAuto Verify = iota
	// VerifyFull verifies every body that is sent and every object that is joined from parts.
	VerifyFull
	VerifyOff
)

var verifyNames = [...]string{"auto", "full", "off"}

func (v Verify) String() string {
	if v < 0 || int(v) >= len(verifyNames) {
		return fmt.Sprintf("verify %d", int(v))
	}
	return verifyNames[v]
}

// ParseVerify reads auto, full or off; "" is auto.
func ParseVerify(name string) (Verify, error) {
	for i, n := range verifyNames {
		if n == name {
			return Verify(i), nil
		}
	}
	if name == "" {
		return VerifyAuto, nil
	}
	return 0, fmt.Errorf("verify is auto, full or off, not %q", name)
}
