package outbox

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"pailfs/s3client"
)

// Journal keeps notes. AddNote and the others append; what was appended is durable after Sync.
type Journal interface {
	AddNote(kind string, data []byte) (seq uint64, err error)
	ReplaceNote(seq uint64, data []byte) error
	DropNote(seq uint64) error
	Sync() error
}

// Done is a change that is not the outbox's any more: carried out (Err nil), or given up.
type Done struct {
	Op Op
	// Object is what a put or new headers have made, as far as the answer says: ETag, Modified, Size, and Headers as sent.
	Object s3client.Object
	// Err says why a change was given up. It wraps s3client.Changed or s3client.NotFound: the object that it was about is
	// another one by now, or none.
	Err error
}

// Options are what an Outbox works with. Journal and Store are needed, the rest has defaults.
type Options struct {
	Journal Journal
	Store   s3client.Store
	// Copy makes the copy of an object that one Store.Copy cannot make, or not well: one larger than MaxCopy, or of a
	// multipart object. Nil: Store.Copy makes all.
	Copy func(ctx context.Context, src s3client.Object, bucket, key string, h *s3client.Headers) (s3client.Object, error)
	// Put makes the put of a body and says whether the store has got what was sent. Nil: Store.Put, and nobody compares.
	Put func(ctx context.Context, r s3client.PutRequest) (s3client.Object, error)
	// Busy tells that a file with unsaved bytes has this key: its commit comes first. It is asked without a lock when an
	// entry is about to begin; Wake says that the answer may be another by now. Nil: never.
	Busy func(bucket, key string) bool
	// Settled is told of each change that is carried out or given up, once, in order for each key, and before a Drain that
	// waits for it returns; possibly before the call that brought the change has returned its seq. It must not call the
	// Outbox, and a lock that it takes must not be held while the Outbox is called: an Add may wait for room that only a
	// settled entry makes. A change that a Hold has dropped is not reported.
	Settled func(Done)
	// CheckAfter: a delete that is older than this asks (HEAD) whether the object is still the one that was deleted; one without an
	// ETag, whether it is older than the deletion. 0: 1 minute; negative: it never asks.
	CheckAfter time.Duration
	// Delay is how long an entry rests, in case that a change of the same key follows; each that follows lets it rest anew,
	// until MaxDelay after the first. Deletes of a bucket rest together in the same way: the last one for Delay, the
	// first one for at most MaxDelay, none when they fill a request. 0: 200 ms and 5 s.
	Delay, MaxDelay time.Duration
	// MarkerDelay is Delay for a directory's marker: what fills a directory sets its times when all else is done, and what
	// lies in it shows meanwhile that it is there. 0: 1 s, or Delay if that is longer.
	MarkerDelay time.Duration
	Parallel    int // requests at once; 0: 16
	MaxPending  int // entries; what makes a new one waits when there are so many. 0: 100,000
	Now         func() time.Time
	Log         *slog.Logger
}

func (o *Options) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.CheckAfter, time.Minute)
	set(&o.Delay, 200*time.Millisecond)
	set(&o.MaxDelay, 5*time.Second)
	set(&o.MarkerDelay, max(o.Delay, time.Second))
	o.MaxDelay = max(o.MaxDelay, o.Delay)
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	if o.MaxPending <= 0 {
		o.MaxPending = 100_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Busy == nil {
		o.Busy = func(string, string) bool { return false }
	}
	if o.Put == nil {
		o.Put = o.Store.Put
	}
	if o.Settled == nil {
		o.Settled = func(Done) {}
	}
}

// ErrClosed answers calls after Close.
var ErrClosed = errors.New("the outbox is closed")
