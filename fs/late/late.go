package late

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"pailfs/s3client"
)

const (
	// window is how long after it was given up a request may still be carried out: some stores delay a write for up to a
	// minute before they answer.
	window = time.Minute
	// soon is when a deleted name is looked at first: what was already in the store's hands is carried out within moments.
	soon = 2 * time.Second
	// patience bounds one look.
	patience = 30 * time.Second
	// lookTries is how often a look is made that has no answer.
	lookTries = 5
	// mostGoing is how many names are remembered each for itself whose deletion has no answer, about 5 MB of them; of more it
	// is remembered that it may be any.
	mostGoing = 1 << 15
	// skew is how far the store's clock may be ahead of ours, where nobody has watched what came to a name.
	skew = 30 * time.Second
)

// name is a bucket and a key.
type name struct{ bucket, key string }

// anyName stands for all names of the store.
var anyName name

// Options say what is around a Store.
type Options struct {
	Store   s3client.Store
	Log     *slog.Logger // nil: none
	Journal Journal      // nil: what is in doubt dies with the process
	StoreID string       // names the store in the journal
}

// Store is an s3client.Store. Safe for concurrent use; it lives until Close.
type Store struct {
	s3client.Store
	log  *slog.Logger
	kept register

	looks   sync.WaitGroup
	closing chan struct{}
	mu      struct {
		sync.Mutex
		closed  bool
		places  map[name]*place
		going   int    // places with a deletion in doubt
		forgets bool   // a goroutine waits to forget places
		left    []name // that were to be looked at once more when Close came
	}
}

// place is what is known of a name. It is forgotten when nothing can come to it any more and nobody looks at it.
//
//	in doubt -> (deleted) -> waiting for its looks -> over
//	                 ^             | stored again, by us
//	                 +-------------+
type place struct {
	made    []request     // oldest first
	deleted bool          // since the latest of them ended; nobody wants what they make
	earlier bool          // deleted by an earlier run: what is younger than the requests is not theirs
	waits   bool          // a goroutine will look
	going   going         // a deletion of it; what is made of the name waits for its end
	looking chan struct{} // closed when the look that is going on is over; nil: none is
}

// New puts a Store around another.
func New(o Options) *Store {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{Store: o.Store, log: o.Log, kept: register{journal: o.Journal, store: o.StoreID}, closing: make(chan struct{})}
	s.mu.places = make(map[name]*place)
	s.kept.mu.notes = make(map[name]uint64)
	return s
}

// Put is the store's.
func (s *Store) Put(ctx context.Context, r s3client.PutRequest) (s3client.Object, error) {
	return s.make(ctx, name{r.Bucket, r.Key}, func() request { return ofPut(&r) }, func(ctx context.Context) (s3client.Object, error) {
		return s.Store.Put(ctx, r)
	})
}

// Copy is the store's.
func (s *Store) Copy(ctx context.Context, r s3client.CopyRequest) (s3client.Object, error) {
	return s.make(ctx, name{r.Bucket, r.Key}, func() request { return ofCopy(&r) }, func(ctx context.Context) (s3client.Object, error) {
		return s.Store.Copy(ctx, r)
	})
}

// CompleteUpload is the store's.
func (s *Store) CompleteUpload(ctx context.Context, r s3client.CompleteRequest) (s3client.Object, error) {
	return s.make(ctx, name{r.Bucket, r.Key}, func() request { return ofCompletion(&r) }, func(ctx context.Context) (s3client.Object, error) {
		return s.Store.CompleteUpload(ctx, r)
	})
}

// make makes a request that makes an object, and notes it when the store may carry it out, once more too, behind its end.
func (s *Store) make(ctx context.Context, n name, what func() request, do func(context.Context) (s3client.Object, error)) (s3client.Object, error) {
	if err := s.Settled(ctx, n.bucket, n.key); err != nil {
		return s3client.Object{}, err
	}
	if err := s.wanted(ctx, n); err != nil {
		return s3client.Object{}, err
	}
	noted, doubt := s3client.WithDoubt(ctx)
	obj, err := do(noted)
	if doubt.Any() {
		s3client.Doubtful(ctx)
		s.note(n, what())
	}
	return obj, err
}

// wanted takes a deletion back: the name is about to have an object again. A look that is going on is waited for. What the
// journal says of the deletion goes first: else a later run would take the new object for what came late.
func (s *Store) wanted(ctx context.Context, n name) error {
	for {
		busy, deleted := s.take(n)
		if deleted {
			return s.takeBack(n)
		}
		if busy == nil {
			return nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return &s3client.Error{Op: "wait for a look at", Bucket: n.bucket, Key: n.key, Kind: s3client.Canceled, Err: ctx.Err()}
		}
	}
}

func (s *Store) take(n name) (busy <-chan struct{}, deleted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.mu.places[n]
	if p == nil {
		return nil, false
	}
	if p.looking == nil {
		deleted, p.deleted = p.deleted, false
	}
	return p.looking, deleted
}

func (s *Store) takeBack(n name) error {
	err := s.keep(n)
	if err == nil {
		err = s.kept.sync()
	}
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.mu.places[n]; p != nil {
		p.deleted = true
	}
	return &s3client.Error{Op: "store again", Bucket: n.bucket, Key: n.key, Kind: s3client.Unknown, Err: err}
}

// note notes a request.
func (s *Store) note(n name, r request) {
	r.until = time.Now().Add(window)
	s.add(n, r)
	if err := s.keep(n); err != nil {
		s.log.Warn("a request without an answer is in no journal: its name may come back if this process is killed", "name", n.bucket+"/"+n.key, "err", err)
	}
}

func (s *Store) placeLocked(n name) *place {
	p := s.mu.places[n]
	if p == nil {
		p = &place{}
		s.mu.places[n] = p
	}
	return p
}

// add adds a request to its place.
func (s *Store) add(n name, r request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.placeLocked(n)
	now := time.Now()
	p.made = append(slices.DeleteFunc(p.made, func(o request) bool { return now.After(o.until) || o.like(&r) }), r)
	s.forgetLaterLocked()
}

// forgetLaterLocked has the places forgotten that nobody looks at, when nothing can come to them any more: a note that stays holds
// a part of the journal's log, whether another request is ever in doubt or not.
func (s *Store) forgetLaterLocked() {
	if s.mu.forgets || s.mu.closed {
		return
	}
	s.mu.forgets = true
	s.looks.Go(func() {
		for {
			gone, next := s.forget()
			if err := s.keep(gone...); err != nil {
				s.log.Warn("the note of a request without an answer stays in the journal", "name", gone[0].bucket+"/"+gone[0].key, "names", len(gone), "err", err)
			}
			if next.IsZero() {
				return
			}
			select {
			case <-time.After(time.Until(next)):
			case <-s.closing:
				return // leave forgets
			}
		}
	})
}

// forget forgets what it may, and says when there will be more; zero: nobody waits for that any more.
func (s *Store) forget() (gone []name, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone = s.sweepLocked()
	for _, p := range s.mu.places {
		if ends := p.ends(); !p.waits && !p.deleted && (next.IsZero() || ends.Before(next)) {
			next = ends
		}
	}
	s.mu.forgets = !next.IsZero()
	return gone, next
}

func (s *Store) sweepLocked() (gone []name) {
	now := time.Now()
	for n, p := range s.mu.places {
		if !p.waits && !p.deleted && !now.Before(p.ends()) {
			s.dropLocked(n, p)
			gone = append(gone, n)
		}
	}
	return gone
}

func (s *Store) dropLocked(n name, p *place) {
	if !p.going.until.IsZero() {
		s.mu.going--
	}
	delete(s.mu.places, n)
}

// ends is when nothing can happen to the name any more.
func (p *place) ends() time.Time {
	if until := p.until(); until.After(p.going.until) {
		return until
	}
	return p.going.until
}

// over says whether nothing can come any more.
func (p *place) over(now time.Time) bool { return !now.Before(p.until()) }

func (p *place) until() time.Time {
	if len(p.made) == 0 {
		return time.Time{}
	}
	return p.made[len(p.made)-1].until
}

// Delete is the store's.
func (s *Store) Delete(ctx context.Context, bucket, key string) error {
	err := s.deleteOne(ctx, name{bucket, key})
	if err == nil || s3client.KindOf(err) == s3client.NotFound {
		s.deleted(name{bucket, key})
	}
	return err
}

// DeleteMany is the store's.
func (s *Store) DeleteMany(ctx context.Context, bucket string, keys []string) ([]s3client.KeyError, error) {
	noted, doubt := s3client.WithDoubt(ctx)
	refused, err := s.Store.DeleteMany(noted, bucket, keys)
	if doubt.Any() {
		s3client.Doubtful(ctx)
		s.mayGo(bucket, keys...)
	}
	if err != nil || !s.doubts() {
		return refused, err
	}
	kept := make(map[string]bool, len(refused))
	for _, r := range refused {
		kept[r.Key] = true
	}
	for _, k := range keys {
		if !kept[k] {
			s.deleted(name{bucket, k})
		}
	}
	return refused, nil
}

// doubts says whether there is anything to look for.
func (s *Store) doubts() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.places) > 0
}

// deleted notes a deletion, and has the name looked at where a request may still come to it.
func (s *Store) deleted(n name) {
	if !s.deletes(n) {
		return
	}
	if err := s.keep(n); err != nil {
		s.log.Warn("a deletion in doubt is in no journal: its name may come back if this process is killed", "name", n.bucket+"/"+n.key, "err", err)
	}
}

func (s *Store) deletes(n name) (inDoubt bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.mu.places[n]
	if p == nil || p.over(time.Now()) {
		return false
	}
	p.deleted = true
	s.watchLocked(n, p)
	return true
}

func (s *Store) watchLocked(n name, p *place) {
	if p.waits || s.mu.closed {
		return
	}
	p.waits = true
	s.looks.Go(func() { s.watch(n, p) })
}

// watch looks at a deleted name a moment after it was deleted, and when nothing can come to it any more.
func (s *Store) watch(n name, p *place) {
	begun, tries := time.Now(), 0
	next := begun.Add(soon)
	for {
		select {
		case <-time.After(time.Until(next)):
		case <-s.closing:
			s.unwatched(n, p)
			return
		}
		err := s.look(n, p)
		if err != nil && tries < lookTries {
			tries++
			s.log.Debug("a deleted name could not be looked at yet", "name", n.bucket+"/"+n.key, "err", err)
			next = time.Now().Add(time.Duration(tries) * soon)
			continue
		}
		if err != nil {
			s.log.Warn("an upload without an answer may bring a deleted file back", "name", n.bucket+"/"+n.key, "err", err)
		}
		until, over := s.looked(n, p, next)
		if over && err == nil { // else the next mount looks
			err = s.keep(n)
			if err != nil {
				s.log.Warn("a deletion that holds stays in the journal", "name", n.bucket+"/"+n.key, "err", err)
			}
		}
		if over {
			return
		}
		tries, next = 0, until
	}
}

// looked ends a name's account when nothing can come to it any more; else it says when to look again.
func (s *Store) looked(n name, p *place, at time.Time) (next time.Time, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next = p.until(); next.After(at) {
		return next, false
	}
	if p.going.until.After(time.Now()) {
		p.waits, p.deleted = false, false
		s.forgetLaterLocked()
	} else {
		s.dropLocked(n, p)
	}
	return next, true
}

// look deletes what one of the requests has made of a name, unless the name has been stored again.
func (s *Store) look(n name, p *place) error {
	made, young, done, wanted := s.begin(p)
	if !wanted {
		return nil
	}
	defer done()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	obj, err := s.Store.Head(ctx, n.bucket, n.key)
	switch {
	case errors.Is(err, s3client.NotFound):
		return nil
	case err != nil:
		return err
	case !isOneOf(made, &obj), !young.IsZero() && obj.Modified.After(young):
		return nil // somebody else's
	}
	if err := s.deleteOne(ctx, n); err != nil {
		return err
	}
	s.log.Info("an upload without an answer was carried out behind the deletion of its name, which is deleted again", "name", n.bucket+"/"+n.key)
	return nil
}

// begin begins a look; until done nobody stores the name. wanted is false where there is nothing to look for. What was stored
// behind young, where that is not zero, none of the requests has made.
func (s *Store) begin(p *place) (made []request, young time.Time, done func(), wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.deleted {
		return nil, young, nil, false
	}
	if p.earlier {
		young = p.until().Add(skew)
	}
	over := make(chan struct{})
	p.looking = over
	return p.made, young, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		p.looking = nil
		close(over)
	}, true
}

// unwatched is for a name whose looks the end of the mount cuts short: it is looked at once more now.
func (s *Store) unwatched(n name, p *place) {
	if err := s.look(n, p); err != nil {
		s.log.Debug("a deleted name could not be looked at", "name", n.bucket+"/"+n.key, "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.deleted && !p.over(time.Now()) {
		s.mu.left = append(s.mu.left, n)
	}
}

// Close looks at what is still to be looked at once more, and waits for that, or for ctx.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.mu.closed {
		close(s.closing)
	}
	s.mu.closed = true
	s.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		s.looks.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return s.leave()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave forgets what can come no more, and says which deletions nobody stands by until the next mount.
func (s *Store) leave() error {
	s.mu.Lock()
	gone := s.sweepLocked()
	if n := len(s.mu.left); n > 0 {
		first := s.mu.left[0]
		s.log.Info("uploads without an answer may bring deleted files back within a minute; the next mount looks again",
			"names", n, "first", first.bucket+"/"+first.key)
		s.mu.left = nil
	}
	s.mu.Unlock()
	return s.keep(gone...)
}
