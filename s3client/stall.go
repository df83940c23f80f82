package s3client

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// watch gives attempts up whose waits last too long. One timer serves all attempts: a request sets none of its own as
// long as the timer is set for a moment that is no later than the end of its wait, and a Read of a body, of which there
// are thousands, only writes down when it began.
type watch struct {
	born time.Time
	next atomic.Int64 // when the timer will look, after born; 0 when it is not set
	mu   struct {
		sync.Mutex
		timer *time.Timer
		all   map[*watched]struct{}
	}
}

func newWatch() *watch {
	w := &watch{born: time.Now()}
	w.mu.all = make(map[*watched]struct{})
	return w
}

func (w *watch) now() time.Duration { return time.Since(w.born) }

// watched is an attempt under watch: its wait for the answer, from the last byte of the request on, then the one of each
// Read of the answer's body. Times are after the watch was born.
type watched struct {
	w       *watch
	bark    func(error)  // ends the attempt
	limit   atomic.Int64 // of a wait
	waiting atomic.Int64 // when the present wait began, and 1; 0 while nobody waits
	sent    atomic.Int64 // when the last piece of the request's body was taken; -1 when the answer is there
}

// begin starts the wait for the answer.
func (d *watched) begin(w *watch, limit time.Duration, bark func(error)) {
	d.w, d.bark = w, bark
	d.limit.Store(int64(limit))
	w.mu.Lock()
	w.mu.all[d] = struct{}{}
	w.mu.Unlock()
	d.wait()
}

// wait begins a wait and returns when that is.
func (d *watched) wait() time.Duration {
	now := d.w.now()
	d.waiting.Store(int64(now) + 1)
	due := int64(now) + d.limit.Load()
	if next := d.w.next.Load(); next == 0 || next > due {
		d.w.mu.Lock()
		defer d.w.mu.Unlock()
		d.w.setLocked(due)
	}
	return now
}

// rest ends a wait.
func (d *watched) rest() { d.waiting.Store(0) }

// taken says that the transport took a piece of the request's body. It may still do so when the answer is there.
func (d *watched) taken() time.Duration {
	now := d.w.now()
	if was := d.sent.Load(); was >= 0 {
		d.sent.CompareAndSwap(was, int64(now))
	}
	return now
}

// answered ends the wait for the answer. From now on the waits are those for its body.
func (d *watched) answered(limit time.Duration) {
	d.rest()
	d.sent.Store(-1)
	d.limit.Store(int64(limit))
}

// end is the end of the attempt.
func (d *watched) end() {
	d.rest()
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	delete(d.w.mu.all, d)
}

// due is the end of the present wait, and what its passing means; false while nobody waits.
func (d *watched) due() (int64, error, bool) {
	since, why := d.waiting.Load()-1, errStalled
	if since < 0 {
		return 0, nil, false
	}
	if sent := d.sent.Load(); sent >= 0 {
		since, why = max(since, sent), errNoAnswer
	}
	return since + d.limit.Load(), why, true
}

// setLocked sets the timer for a moment, unless it is set for an earlier one.
func (w *watch) setLocked(due int64) {
	if next := w.next.Load(); next != 0 && next <= due {
		return
	}
	w.next.Store(due)
	in := max(time.Duration(due)-w.now(), 0)
	if w.mu.timer == nil {
		w.mu.timer = time.AfterFunc(in, w.look)
		return
	}
	w.mu.timer.Reset(in)
}

// look is the timer's.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	// A wait that begins from here on finds the timer unset; one that began before is seen below.
	w.next.Store(0)
	now, first := int64(w.now()), int64(0)
	for d := range w.mu.all {
		due, why, waits := d.due()
		switch {
		case !waits:
		case due <= now:
			delete(w.mu.all, d)
			d.bark(why)
		case first == 0 || due < first:
			first = due
		}
	}
	if first != 0 {
		w.setLocked(first)
	}
}

// sendBody tells the watch of each piece of a request's body.
type sendBody struct {
	rc    io.ReadCloser
	ctx   context.Context
	at    *attempt
	out   *atomic.Int64
	limit *bandwidth
}

// Read hands bytes out when the bandwidth allows. The watch takes the wait for bytes that move, as they would without a limit.
func (b *sendBody) Read(p []byte) (int, error) {
	n, err := b.rc.Read(p[:b.limit.piece(len(p))])
	if err := b.limit.wait(b.ctx, n, func() { b.at.moved.Store(int64(b.at.dog.taken())) }); err != nil {
		return 0, err
	}
	if now := b.at.dog.taken(); n > 0 {
		b.at.moved.Store(int64(now))
	}
	b.out.Add(int64(n))
	return n, err
}

func (b *sendBody) Close() error { return b.rc.Close() }

// recvBody is an answer's body. The watch's time runs only while somebody reads.
type recvBody struct {
	rc     io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	at     *attempt
	in     *atomic.Int64
	left   int64 // of what is taken from it: minio-go reads what it does not need to the end
	limit  *bandwidth
}

func (b *recvBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.at.note(nil, errEndless)
		return 0, errEndless
	}
	began := b.at.dog.wait()
	n, err := b.rc.Read(p[:b.limit.piece(len(p))])
	b.at.dog.rest()
	// Paid for afterwards, when it is known how much there was, and no wait of the watch is going on. What came is handed out
	// in any case: a context that has ended is seen by the next Read.
	_ = b.limit.wait(b.ctx, n, func() {})
	b.left -= int64(n)
	if n > 0 {
		b.in.Add(int64(n))
		b.at.moved.Store(int64(began))
	}
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.ctx); errors.Is(cause, errStalled) {
			err = cause
		}
		b.at.note(nil, err)
	}
	return n, err
}

func (b *recvBody) Close() error {
	err := b.rc.Close()
	b.at.dog.end()
	b.cancel(nil)
	return err
}
