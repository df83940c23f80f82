package upload

import (
	"context"
	"errors"

	"pailfs/s3client"
)

// The two sides that send a Stream's parts: its own goroutines while the file is being written, and Store at the end,
// which holds the stream meanwhile.

var errStreamEnded = errors.New("stream has ended")

// spawnLocked starts the goroutine behind a part; false when the Uploader is closed.
func (s *Stream) spawnLocked(pt *part) bool {
	ok := s.u.spawn(func() {
		for s.sendQueued(pt) {
		}
		s.exited()
	})
	if ok {
		pt.waited = true
		s.mu.running++
	}
	return ok
}

func (s *Stream) exited() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.running--
	s.changedLocked()
}

// sendQueued sends a part that is queued; true when it has to be sent once more.
func (s *Stream) sendQueued(pt *part) (more bool) {
	if err := acquire(s.ctx, s.u.streams); err != nil {
		s.drop(pt)
		return false
	}
	defer release(s.u.streams)
	if err := acquire(s.ctx, s.u.slots); err != nil {
		s.drop(pt)
		return false
	}
	defer release(s.u.slots)
	if !s.wanted(pt) {
		return false
	}
	id, err := s.begin(s.ctx)
	if err != nil {
		s.u.o.Log.Debug("upload in the background cannot begin", "bucket", s.to.bucket, "key", s.to.key, "err", err)
		s.drop(pt)
		return false
	}
	p, ok := s.start(pt)
	if !ok {
		return false
	}
	done, err := s.u.sendPart(s.ctx, s.to, id, p, s.src)
	if err != nil {
		s.u.o.Log.Debug("part not sent in the background", "bucket", s.to.bucket, "key", s.to.key, "part", p.Number, "err", err)
	}
	return s.finish(pt, id, done, err)
}

// begin gives the upload's id, creating it the first time.
func (s *Stream) begin(ctx context.Context) (string, error) {
	if err := acquire(ctx, s.birth); err != nil {
		return "", err
	}
	defer release(s.birth)
	if id, _ := s.uploadID(); id != "" {
		return id, nil
	}
	if err := s.Err(); err != nil {
		return "", err
	}
	id, err := s.u.create(ctx, s.to, s.headers)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.id = id
	return id, nil
}

// wanted says whether a part is still queued; the goroutine behind it goes when it is not.
func (s *Stream) wanted(pt *part) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	pt.waited = pt.state == queued
	return pt.waited
}

// drop takes a part that cannot be sent now from the queue.
func (s *Stream) drop(pt *part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pt.waited = false
	if pt.state == queued {
		pt.state, pt.failed = idle, true
		s.lessLocked(pt.Len)
	}
}

// start makes a queued part one that is being sent; false when it was taken from the queue meanwhile.
func (s *Stream) start(pt *part) (Piece, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pt.state != queued {
		pt.waited = false
		return Piece{}, false
	}
	s.startLocked(pt)
	return pt.Piece, true
}

func (s *Stream) startLocked(pt *part) {
	pt.state, pt.stale, pt.again = sending, false, false
	s.mu.busy++
	s.mu.top = max(s.mu.top, pt.Number)
}

// finish records what came of a part's sending in the background; true when it is queued again.
func (s *Stream) finish(pt *part, id string, done s3client.Part, err error) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked(pt, id, done, err)
	more = pt.again && !s.mu.storing && !s.mu.ended
	pt.again, pt.waited = false, more
	if err == nil { // the store answers: what has failed before is sent now
		s.retryLocked()
	}
	if more { // its bytes stay in flight
		pt.state = queued
		return true
	}
	pt.failed = err != nil && !pt.stale
	s.lessLocked(pt.Len)
	return false
}

func (s *Stream) finishLocked(pt *part, id string, done s3client.Part, err error) {
	pt.state = idle
	switch {
	case errors.Is(err, errAgain):
		if id == s.mu.id { // if it was there all the same, it would be forgotten now
			s.u.spawn(func() { s.u.abortLogged(s.to, id) })
		}
		s.resetLocked(id)
	case err == nil && id == s.mu.id:
		pt.state, pt.done = sent, done
		s.mu.acks++
	}
	s.mu.busy--
	s.changedLocked()
}

// resetLocked forgets an upload that is no more, and all that was sent to it.
func (s *Stream) resetLocked(id string) {
	if id != s.mu.id {
		return
	}
	s.loseLocked()
	s.mu.id, s.mu.undecided, s.mu.top = "", false, 0
	for _, pt := range s.mu.parts {
		if pt.state == sent {
			pt.state, pt.failed = idle, !pt.stale
		}
	}
}

// hold gives the stream to Store: nothing is queued any more, and nothing is being sent when it returns nil.
func (s *Stream) hold(ctx context.Context) error {
	if err := acquire(ctx, s.turn); err != nil {
		return err
	}
	if !s.storing() {
		release(s.turn)
		return errStreamEnded
	}
	err := s.until(ctx, func() bool { return s.mu.busy == 0 })
	if err == nil {
		err = s.Err()
	}
	if err != nil {
		s.release()
	}
	return err
}

func (s *Stream) storing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.ended {
		return false
	}
	s.mu.storing = true
	s.dropQueuedLocked()
	return true
}

// release gives the stream back to its writer.
func (s *Stream) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.storing = false
	release(s.turn)
}

// fresh are the parts that need not be sent again, each at its piece's index; the others are zero.
func (s *Stream) fresh(pieces []Piece) []s3client.Part {
	parts := make([]s3client.Part, len(pieces))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range pieces {
		if pt := s.mu.parts[p.Number]; pt != nil && pt.freshLocked() && pt.Piece == p {
			parts[i] = pt.done
		}
	}
	return parts
}

// missing are the pieces that are not there.
func (s *Stream) missing(pieces []Piece) (not []Piece) {
	for i, part := range s.fresh(pieces) {
		if part.ETag == "" {
			not = append(not, pieces[i])
		}
	}
	return not
}

// beyond says whether the upload may have parts with numbers over n.
func (s *Stream) beyond(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.top > n
}

// sending and sent are Store's start and finish.
func (s *Stream) sending(p Piece) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startLocked(s.partLocked(p))
}

func (s *Stream) sent(p Piece, id string, done s3client.Part, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked(s.mu.parts[p.Number], id, done, err)
}

// vanished and completed forget an upload that the store does not have any more.
func (s *Stream) vanished(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resetLocked(id)
}

func (s *Stream) completed(obj s3client.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.object = &obj
	s.resetLocked(s.mu.id)
}

// forsake aborts the upload; the next begin creates another. Store holds the stream.
func (s *Stream) forsake(ctx context.Context) {
	id, undecided := s.uploadID()
	if id == "" {
		return
	}
	s.vanished(id)
	if undecided {
		s.u.leaveMine(s.to, id, true, &s.headers)
		return
	}
	s.u.abortSoon(ctx, s.to, id)
}

func (s *Stream) setUndecided() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.undecided = true
}

// over ends the stream after its file is stored. What it sent in vain is aborted; a failure is logged, for the file is
// safe, and tried again by Close.
func (s *Stream) over(ctx context.Context) {
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	if err := s.Abort(own); err != nil {
		s.u.o.Log.WarnContext(ctx, "cannot abort a multipart upload; its parts stay for now", "bucket", s.to.bucket, "key", s.to.key,
			"err", err)
	}
}

// gone takes a stream that has ended from those that Close aborts.
func (u *Uploader) gone(s *Stream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.mu.live, s)
}
