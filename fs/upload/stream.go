package upload

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync"

	"pailfs/fs/opid"
	"pailfs/s3client"
)

// Stream is a multipart upload that runs while its file is still being written: whole parts of the layout are sent in
// the background as soon as the writer has passed them. It is an optimisation and nothing more: what it sent in vain,
// or failed to send, Store sends.
//
// A part's states:
//
//	idle → queued → sending → sent      Touched makes a queued one idle, and a sending or sent one stale:
//	  ^_______________| failure         it is sent again by the next Sealed, or by Store
//
// One goroutine at most stands behind each part. A Stream ends with a successful Store, or with Abort.
type Stream struct {
	u        *Uploader
	to       target
	headers  s3client.Headers
	limits   Limits // of its layout; an earlier run's may have been others
	src      io.ReaderAt
	reopened bool // of an earlier run: with which headers it was begun is not known

	ctx    context.Context // of the background sends
	cancel context.CancelFunc
	turn   chan struct{} // held by Store, one at a time
	birth  chan struct{} // held while the upload is created

	mu struct {
		sync.Mutex
		id        string // "" before the upload is created
		parts     map[int]*part
		last      int   // the highest number in parts
		top       int   // the highest number that was ever on its way under this id
		inFlight  int64 // bytes of the parts that are queued or sending
		running   int   // goroutines
		busy      int   // parts that are sending, by a goroutine or by Store
		storing   bool  // Store holds the stream: nothing is queued
		acks      int   // parts that were acknowledged so far
		ended     bool
		undecided bool             // a completion of this upload was not answered: never abort it
		unseen    bool             // it was reopened, and nobody has looked what it has
		object    *s3client.Object // what it has become
		lost      error            // the upload is gone, and with it the only copy of some parts
		changed   chan struct{}    // closed and made anew when a number above goes down
	}
}

type part struct {
	Piece
	state  state
	stale  bool // its bytes changed since the sending began
	again  bool // sealed again while being sent: send it once more
	waited bool // a goroutine stands behind it
	failed bool // could not be sent in the background
	only   bool // nobody else has its bytes (only.go)
	done   s3client.Part
}

type state int

const (
	idle state = iota
	queued
	sending
	sent
)

// NewStream makes a Stream; no request is made before the first part is sealed. src is the file's content as it is
// written, at the file's offsets; it must stay readable until the Stream has ended. The caller opens a Stream when a file
// has outgrown Limits.SinglePut, and ends it by a Store with it, or Abort.
func (u *Uploader) NewStream(bucket, key string, headers s3client.Headers, src io.ReaderAt) *Stream {
	s := &Stream{u: u, to: target{bucket, key}, headers: headers, limits: u.o.Limits, src: src,
		turn: make(chan struct{}, 1), birth: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(opid.With(context.Background(), opid.ID{Kind: 's', N: u.begun.Add(1)}))
	s.mu.parts = make(map[int]*part)
	s.mu.changed = make(chan struct{})
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mu.live[s] = struct{}{}
	return s
}

// Headers are those the upload is begun with. A Store with others costs a copy of the whole object onto itself.
func (s *Stream) Headers() s3client.Headers { return s.headers }

// Limits are those of the stream's layout: the Uploader's, but for an upload that an earlier run began with others.
func (s *Stream) Limits() Limits { return s.limits }

// Sealed says that the bytes [off, off+length) will probably not change any more. The layout's parts that lie wholly
// inside are sent in the background, unless they are there already. It never blocks.
func (s *Stream) Sealed(off, length int64) {
	l := s.limits
	end := endOf(off, length)
	s.mu.Lock()
	defer s.mu.Unlock()
	number, start, size := l.PartAt(off)
	if start < off {
		number, start, size = l.PartAt(start + size)
	}
	for ; number <= l.MaxParts && size <= end-start; number, start, size = l.PartAt(start + size) {
		s.sealLocked(Piece{Number: number, Off: start, Len: size})
	}
}

func (s *Stream) sealLocked(p Piece) {
	if s.mu.ended || s.mu.storing {
		return
	}
	pt := s.partLocked(p)
	switch {
	case pt.state == queued || pt.state == sent && !pt.stale:
	case pt.state == sending:
		pt.again = pt.stale
	case pt.waited || s.spawnLocked(pt):
		pt.state, pt.failed = queued, false
		s.mu.inFlight += pt.Len
	}
}

func (s *Stream) partLocked(p Piece) *part {
	pt := s.mu.parts[p.Number]
	if pt == nil {
		pt = &part{}
		s.mu.parts[p.Number] = pt
		s.mu.last = max(s.mu.last, p.Number)
	}
	if pt.Piece != p && pt.state != sending { // Store has sent it as the file's last one, cut short
		*pt = part{Piece: p, waited: pt.waited}
	}
	return pt
}

// Touched says that the bytes [off, off+length) have changed or were cut off: parts over them count as not sent. It must
// be called after the change.
func (s *Stream) Touched(off, length int64) {
	l := s.limits
	end := endOf(off, length)
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.mu.last
	for number, start, size := l.PartAt(off); number <= last && start < end; number, start, size = l.PartAt(start + size) {
		pt := s.mu.parts[number]
		if pt == nil {
			continue
		}
		pt.stale, pt.again, pt.failed, pt.only = true, false, false, false
		if pt.state == queued {
			pt.state = idle
			s.lessLocked(pt.Len)
		}
	}
}

// endOf is off+length, or the end of all files where that overflows.
func endOf(off, length int64) int64 {
	if length > math.MaxInt64-off {
		return math.MaxInt64
	}
	return off + length
}

// InFlight is the number of bytes that are queued or being sent in the background: what a writer's back-pressure looks at.
func (s *Stream) InFlight() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.inFlight
}

// Wait waits until fewer than below bytes are in flight; below less than 1 means none.
func (s *Stream) Wait(ctx context.Context, below int64) error {
	return s.until(ctx, func() bool { return s.mu.inFlight < max(1, below) })
}

// until waits for a condition, which is asked with the lock held.
func (s *Stream) until(ctx context.Context, ok func() bool) error {
	for {
		done, changed := s.ask(ok)
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Stream) ask(ok func() bool) (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ok(), s.mu.changed
}

func (s *Stream) changedLocked() {
	close(s.mu.changed)
	s.mu.changed = make(chan struct{})
}

func (s *Stream) lessLocked(bytes int64) {
	s.mu.inFlight -= bytes
	s.changedLocked()
}

// Abort ends the stream: it waits for what is being sent to break off and aborts the upload. It may be called again, and
// must be when it failed; after a successful Store it does nothing.
func (s *Stream) Abort(ctx context.Context) error {
	s.stop()
	if err := acquire(ctx, s.turn); err != nil {
		return fmt.Errorf("abort the upload of %s: %w", s.to, err)
	}
	defer release(s.turn)
	if err := s.until(ctx, func() bool { return s.mu.running == 0 }); err != nil {
		return fmt.Errorf("abort the upload of %s: %w", s.to, err)
	}
	id, undecided := s.uploadID()
	switch {
	case id == "":
	case undecided:
		s.u.leaveMine(s.to, id, true, &s.headers)
	default:
		if err := s.u.abort(ctx, s.to, id); err != nil {
			return err
		}
	}
	s.vanished(id)
	s.u.gone(s)
	return nil
}

// Drop is Abort for a caller who cannot wait for the store: nothing is sent any more, and the upload is aborted in the
// background. What fails is tried again by Close.
func (s *Stream) Drop() {
	s.stop()
	s.u.spawn(func() {
		ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
		defer cancel()
		if err := s.Abort(ctx); err != nil {
			s.u.o.Log.Warn("cannot abort a multipart upload; its parts stay for now", "bucket", s.to.bucket, "key", s.to.key,
				"err", err)
		}
	})
}

// stop ends the background sends.
func (s *Stream) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.ended = true
	s.dropQueuedLocked()
	s.cancel()
}

func (s *Stream) dropQueuedLocked() {
	for _, pt := range s.mu.parts {
		if pt.state == queued {
			pt.state = idle
			s.lessLocked(pt.Len)
		}
		pt.again = false
	}
}

func (s *Stream) uploadID() (id string, undecided bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.id, s.mu.undecided
}
