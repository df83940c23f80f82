package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"pailfs/s3client"
)

// A caller that has not the room for a long file gives its own bytes of parts away once they are acknowledged
// (Stream.Rely). From then on the upload has the only copy of them: the stream neither aborts it by itself nor begins
// another in its place, looks at the object that was made of it before the upload is forgotten, and says ErrLost when the
// store has lost it.

// ErrLost: the store does not know an upload any more that had the only copy of bytes.
var ErrLost = errors.New("an unfinished upload with the only copy of a file's bytes is gone from the store")

// Sent is a part that the store has acknowledged.
type Sent struct {
	Piece
	ETag string
}

// Acknowledged are the parts that the store has as the file has them now, in order.
func (s *Stream) Acknowledged() (parts []Sent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for number := 1; number <= s.mu.last; number++ {
		if pt := s.mu.parts[number]; pt != nil && pt.freshLocked() {
			parts = append(parts, Sent{pt.Piece, pt.done.ETag})
		}
	}
	return parts
}

func (pt *part) freshLocked() bool { return pt.state == sent && !pt.stale }

// Rely says that the caller gives its bytes of a part away. False, and nothing said, when the store has not the part as the
// file has it now. Touched takes it back: what has changed is the caller's.
func (s *Stream) Rely(p Piece) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	pt := s.mu.parts[p.Number]
	if s.mu.ended || s.mu.lost != nil || pt == nil || !pt.freshLocked() || pt.Piece != p {
		return false
	}
	pt.only = true
	return true
}

// relied says whether the upload has the only copy of anything.
func (s *Stream) relied() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.onlyLocked()) > 0
}

func (s *Stream) onlyLocked() (only []Range) {
	for number := 1; number <= s.mu.last; number++ {
		if pt := s.mu.parts[number]; pt != nil && pt.only {
			only = append(only, Range{Off: pt.Off, Len: pt.Len})
		}
	}
	return only
}

// Err is ErrLost, with what was lost, as soon as that is known.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.lost
}

// loseLocked notes that the upload is gone.
func (s *Stream) loseLocked() {
	only := s.onlyLocked()
	if len(only) == 0 || s.mu.lost != nil || s.mu.object != nil {
		return
	}
	n := int64(0)
	for _, r := range only {
		n += r.Len
	}
	s.mu.lost = fmt.Errorf("%w: %s, upload %s: %d bytes of %d parts from offset %d on", ErrLost, s.to, s.mu.id, n, len(only), only[0].Off)
	s.u.o.Log.Error("the store has lost an unfinished upload, and with it bytes that are nowhere else", "bucket", s.to.bucket,
		"key", s.to.key, "upload", s.mu.id, "bytes", n, "ranges", fmt.Sprint(only))
}

// Retry queues the parts that could not be sent in the background.
func (s *Stream) Retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retryLocked()
}

func (s *Stream) retryLocked() {
	for number := 1; number <= s.mu.last; number++ {
		if pt := s.mu.parts[number]; pt != nil && pt.failed && pt.state == idle {
			s.sealLocked(pt.Piece)
		}
	}
}

// Acks is how many parts were acknowledged so far. WaitAck waits until there are more, or nothing is on its way: false then.
func (s *Stream) Acks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.acks
}

func (s *Stream) WaitAck(ctx context.Context, since int) (more bool, err error) {
	err = s.until(ctx, func() bool {
		more = s.mu.acks > since
		return more || s.mu.inFlight == 0
	})
	return more, err
}

// ID is the upload's, "" before there is one.
func (s *Stream) ID() string {
	id, _ := s.uploadID()
	return id
}

// Leave ends the stream and leaves its upload in the store, where Reopen finds it in a later run: nothing is sent any more.
func (s *Stream) Leave(ctx context.Context) error {
	s.stop()
	s.u.gone(s)
	if err := acquire(ctx, s.turn); err != nil {
		return fmt.Errorf("leave the upload of %s: %w", s.to, err)
	}
	defer release(s.turn)
	if err := s.until(ctx, func() bool { return s.mu.running == 0 }); err != nil {
		return fmt.Errorf("leave the upload of %s: %w", s.to, err)
	}
	return nil // its account stays open
}

// Reopen makes a Stream of an upload that an earlier run has left (Leave, or its death), with the parts that it is known to
// have. They may be of another part size, or of a store with another number of parts: the layout is theirs. Whether the store
// has them still is asked by the first Store. The caller says with Rely which it has the bytes of
// no more. The headers that it was begun with are not known.
func (u *Uploader) Reopen(bucket, key, id string, parts []Sent, src io.ReaderAt) *Stream {
	s := u.NewStream(bucket, key, s3client.Headers{}, src)
	limits, ok := u.o.Limits.fitting(parts)
	if !ok {
		u.o.Log.Error("an unfinished upload has parts of an unknown size; with the options of the run that began it it can be completed",
			"bucket", bucket, "key", key, "upload", id, "parts", fmt.Sprint(parts))
	}
	s.limits = limits
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reopened, s.mu.unseen = true, true
	s.mu.id = id
	for _, p := range parts {
		pt := s.partLocked(p.Piece)
		pt.state, pt.done = sent, s3client.Part{Number: p.Number, ETag: p.ETag, Size: p.Len}
		s.mu.top = max(s.mu.top, p.Number)
	}
	u.setMine(s.to, id, u.adoptedAs(s.to, id))
	return s
}

// adoptedAs takes an upload from the leftovers, and gives its account.
func (u *Uploader) adoptedAs(to target, id string) (a account) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mu.left[to] = slices.DeleteFunc(u.mu.left[to], func(l leftover) bool {
		if l.ID == id {
			a = l.account()
		}
		return l.ID == id
	})
	return a
}

// look asks once which parts a reopened upload has. What it has not, or has with other bytes, is sent again, and is lost
// where nobody has it. gone: the store does not know the upload. Store holds the stream.
func (s *Stream) look(ctx context.Context) (gone bool, err error) {
	id, unseen := s.isUnseen()
	if !unseen {
		return false, nil
	}
	found, err := s.u.o.Store.Parts(ctx, s.to.bucket, s.to.key, id)
	if s3client.KindOf(err) == s3client.NotFound {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look what an upload has: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.unseen = false
	there := make(map[int]s3client.Part)
	for _, p := range found {
		there[p.Number] = p
		s.mu.top = max(s.mu.top, p.Number)
	}
	for _, pt := range s.mu.parts {
		have := there[pt.Number]
		if pt.freshLocked() && (!strings.EqualFold(have.ETag, pt.done.ETag) || have.Size != pt.Len) {
			pt.stale = true
			if pt.only {
				s.loseLocked()
			}
		}
	}
	return false, s.mu.lost
}

func (s *Stream) isUnseen() (id string, unseen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.id, s.mu.unseen && s.mu.id != ""
}

// reopen is look for a Store of these pieces. found is the object where the upload has become that: nobody heard the answer.
func (s *Stream) reopen(ctx context.Context, j Job, pieces []Piece) (found *s3client.Object, err error) {
	gone, err := s.look(ctx)
	if err != nil || !gone {
		return nil, err
	}
	seen, err := s.u.o.Store.Head(s3client.Patient(ctx), s.to.bucket, s.to.key)
	switch {
	case err != nil && s3client.KindOf(err) != s3client.NotFound:
		return nil, fmt.Errorf("look what became of an upload: %w", err)
	case err == nil && seen.Size == j.Need.Size:
		if is, err := s.joinsTo(j, pieces, seen.ETag); err != nil || is {
			return &seen, err
		}
	}
	s.vanished(s.ID())
	return nil, s.Err()
}

// joinsTo says whether the parts, those that were sent and the rest as it is here, make an object with an ETag.
func (s *Stream) joinsTo(j Job, pieces []Piece, etag string) (bool, error) {
	parts := s.fresh(pieces)
	if !strings.HasSuffix(etag, fmt.Sprintf("-%d", len(parts))) {
		return false, nil
	}
	for i, p := range pieces {
		if parts[i].ETag != "" {
			continue
		}
		sum, err := sumOf(j.Source, p.Off, p.Len)
		if err != nil {
			return false, err
		}
		parts[i].ETag = sum
	}
	want, ok := joinedETag(parts)
	return ok && want == etag, nil
}

// Completed is the object that the upload has become. Store may have failed all the same, when it had more to do (headers):
// the bytes are stored then.
func (s *Stream) Completed() (s3client.Object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.object == nil {
		return s3client.Object{}, false
	}
	return *s.mu.object, true
}
