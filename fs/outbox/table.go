package outbox

import (
	"container/heap"
	"strings"
	"time"

	"pailfs/s3client"
)

// id names a key.
type id struct{ bucket, key string }

// place is where an entry stands.
type place uint8

const (
	aside   place = iota // behind another one of its key, or the key is not free: looked at again when that ends
	resting              // in rests: it begins at due
	waiting              // in its bucket's list of deletes that go together
	parked               // Busy: until Wake, or for MaxDelay
	asking               // taken to begin, Busy is being asked; may still be changed
	running              // its request is on its way; never changed
	gone                 // settled or dropped
)

// entry is one change that the store does not have yet. A delete is nothing but this: 128 bytes, with its part of the maps
// and without key and ETag (which the caller has as well) about 160; TestMemoryOfDeletes measures it. Everything is
// guarded by Outbox.mu but seq, home and key, which never change.
type entry struct {
	seq       uint64
	home      *home
	key, etag string
	at        int64 // Op.Time in ns since 1970, 0 for the zero time

	// Both since Outbox.born. Until due it rests, for others to be merged in or to go along; newer changes move due, but
	// not beyond last.
	due, last time.Duration

	next         *entry   // the following one of the same key
	older, newer *entry   // neighbours in home's list while waiting
	more         *more    // nil of a delete
	fail         *failure // nil unless it has failed or was checked
	index        int32    // in rests
	kind         code
	place        place
	urgent       bool // somebody waits in Drain: no rest
	counted      bool // in home's below
	forced       bool // begins although Busy would keep it back
	earlier      bool // of an earlier run, which may have carried it out
}

// code is a Kind in a byte.
type code uint8

var kinds = [...]Kind{KindDelete, KindPut, KindHeaders}

const (
	isDelete code = iota
	isPut
	isHeaders
)

func codeOf(k Kind) code {
	switch k {
	case KindPut:
		return isPut
	case KindHeaders:
		return isHeaders
	}
	return isDelete
}

// more is what a put or new headers need.
type more struct {
	size    int64
	headers s3client.Headers
	body    []byte
}

// failure is what went wrong with an entry so far, or may go wrong.
type failure struct {
	after   time.Time // Op.After
	tries   int
	err     error
	unsure  bool      // a try had no answer: the store may have carried it out, whatever it said later
	slow    bool      // refused: pauses are long, and another one's success says nothing
	alone   bool      // a delete that goes by itself from now on
	woken   bool      // its pause was ended by another one's success
	deaf    bool      // that did not help: this pause takes its time
	checked time.Time // a delete: when the object was last seen to be the one meant
}

// home is a bucket with changes.
type home struct {
	bucket string
	heads  map[string]*entry // each key's first
	// The list of deletes that are ready to go together.
	oldest, newest *entry
	waiting        int
	// below counts, for each directory, the deletes below it that its marker's delete lets go first (below.go).
	below map[string]int
}

func (e *entry) id() id { return id{e.home.bucket, e.key} }

func (e *entry) op() Op {
	o := Op{Seq: e.seq, Kind: kinds[e.kind], Bucket: e.home.bucket, Key: e.key, ETag: e.etag}
	if e.at != 0 {
		o.Time = time.Unix(0, e.at)
	}
	if m := e.more; m != nil {
		o.Size, o.Headers, o.Body = m.size, m.headers, m.body
	}
	if e.fail != nil {
		o.After = e.fail.after
	}
	return o
}

// set makes the entry say what an Op of its key says.
func (e *entry) set(o Op) {
	e.kind, e.etag, e.at, e.more = codeOf(o.Kind), o.ETag, 0, nil
	if !o.Time.IsZero() {
		e.at = o.Time.UnixNano()
	}
	if o.Kind != KindDelete {
		e.more = &more{o.Size, o.Headers, o.Body}
	}
	if !o.After.IsZero() {
		e.failing().after = o.After
	}
}

// begun says whether an entry may have been carried out without an answer.
func (e *entry) begun() bool {
	return e.earlier || e.place == running || e.fail != nil && e.fail.unsure
}

// failing is the entry's failure, made if there is none.
func (e *entry) failing() *failure {
	if e.fail == nil {
		e.fail = &failure{}
	}
	return e.fail
}

func (e *entry) tail() *entry {
	for e.next != nil {
		e = e.next
	}
	return e
}

// rests are entries by due.
type rests []*entry

func (r rests) Len() int           { return len(r) }
func (r rests) Less(i, j int) bool { return r[i].due < r[j].due }
func (r rests) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].index, r[j].index = int32(i), int32(j)
}
func (r *rests) Push(x any) {
	e := x.(*entry)
	e.index = int32(len(*r))
	*r = append(*r, e)
}
func (r *rests) Pop() any {
	last := len(*r) - 1
	e := (*r)[last]
	(*r)[last] = nil
	*r = (*r)[:last]
	return e
}

// headLocked is the first entry of a key, nil when there is none.
func (b *Outbox) headLocked(k id) *entry {
	if h := b.mu.homes[k.bucket]; h != nil {
		return h.heads[k.key]
	}
	return nil
}

// rest is how long a new change rests.
func (b *Outbox) rest(o *Op) time.Duration {
	if o.Kind == KindPut && strings.HasSuffix(o.Key, "/") {
		return min(b.o.MarkerDelay, b.o.MaxDelay)
	}
	return b.o.Delay
}

// appendLocked puts a new entry behind those of its key.
func (b *Outbox) appendLocked(o Op, now time.Duration) *entry {
	h := b.mu.homes[o.Bucket]
	if h == nil {
		h = &home{bucket: o.Bucket, heads: make(map[string]*entry), below: make(map[string]int)}
		b.mu.homes[o.Bucket] = h
	}
	e := &entry{seq: o.Seq, home: h, key: o.Key, due: now + b.rest(&o), last: now + b.o.MaxDelay}
	e.set(o)
	if b.tooEarly(e) {
		e.due = now + o.After.Sub(b.o.Now())
		e.last = e.due
	}
	if first := h.heads[o.Key]; first != nil {
		first.tail().next = e
	} else {
		h.heads[o.Key] = e
	}
	b.countLocked(e, now)
	return e
}

// removeLocked takes the first entry of a key out, whatever its place.
func (b *Outbox) removeLocked(e *entry) {
	b.liftLocked(e)
	e.place = gone
	h := e.home
	if e.next != nil {
		h.heads[e.key] = e.next
	} else if delete(h.heads, e.key); len(h.heads) == 0 {
		delete(b.mu.homes, h.bucket)
	}
	e.next = nil
	b.mu.count--
	b.roomLocked()
	b.countLocked(e, b.now())
}

// liftLocked takes an entry from where it rests.
func (b *Outbox) liftLocked(e *entry) {
	switch e.place {
	case resting:
		heap.Remove(&b.mu.rests, int(e.index))
	case waiting:
		e.home.unlink(e)
	case parked:
		delete(b.mu.parked, e)
	}
	e.place = aside
}

// placeLocked puts the first entry of a key where it belongs, anew when something about it has changed.
func (b *Outbox) placeLocked(e *entry, now time.Duration) {
	if e == nil || e.place >= asking || e.home.heads[e.key] != e {
		return
	}
	b.liftLocked(e)
	b.countLocked(e, now)
	if e.afterOthers() {
		return // placed again when those are done
	}
	if e.urgent {
		e.due, e.last = min(e.due, now), min(e.last, now)
	}
	paused := e.due > now && (e.fail != nil && e.fail.err != nil || b.tooEarly(e))
	if !paused && b.goesAlongLocked(e) {
		e.place = waiting
		e.home.link(e, now)
		return
	}
	e.place = resting
	heap.Push(&b.mu.rests, e)
}

// tooEarly says whether an upload may still make the object that an entry is about.
func (b *Outbox) tooEarly(e *entry) bool {
	return e.fail != nil && !e.fail.after.IsZero() && b.o.Now().Before(e.fail.after)
}

// goesAlongLocked tells whether an entry may go in one request with others.
func (b *Outbox) goesAlongLocked(e *entry) bool {
	return e.kind == isDelete && b.batch > 1 && !b.mu.single && (e.fail == nil || !e.fail.alone) && !b.needsCheck(e)
}

// needsCheck tells whether a change has to ask first what is stored under its key: a delete, whether that is still the
// object that was meant; a put of an earlier run, whether somebody has stored another one since.
func (b *Outbox) needsCheck(e *entry) bool {
	switch {
	case b.o.CheckAfter < 0:
		return false
	case e.kind == isPut:
		return e.earlier && e.etag != AnyVersion && b.o.Now().Sub(time.Unix(0, e.at)).Abs() > b.o.CheckAfter
	case e.kind != isDelete:
		return false
	}
	if e.earlier && (e.fail == nil || e.fail.checked.IsZero()) {
		return true // whatever was stored there since must stay
	}
	since := time.Unix(0, e.at)
	if e.fail != nil && !e.fail.checked.IsZero() {
		since = e.fail.checked
	}
	age := b.o.Now().Sub(since)
	return age > b.o.CheckAfter || age < 0 // a clock that was set back says nothing of the age
}

// link puts a delete into the bucket's list: at its end, or in front when it has rested already.
func (h *home) link(e *entry, now time.Duration) {
	h.waiting++
	rested := e.due <= now
	if rested {
		e.last = e.due
	}
	switch {
	case h.oldest == nil:
		h.oldest, h.newest = e, e
	case rested:
		e.newer, h.oldest.older = h.oldest, e
		h.oldest = e
	default:
		e.older, h.newest.newer = h.newest, e
		h.newest = e
	}
}

func (h *home) unlink(e *entry) {
	h.waiting--
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		h.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		h.newest = e.older
	}
	e.older, e.newer = nil, nil
}

// due is when the bucket's deletes go: a full request at once, else when no more have come for a while, or the oldest has
// waited long enough.
func (h *home) due(batch int) (time.Duration, bool) {
	switch {
	case h.waiting == 0:
		return 0, false
	case h.waiting >= batch:
		return 0, true
	}
	return min(h.newest.due, h.oldest.last), true
}
