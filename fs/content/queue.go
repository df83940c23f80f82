package content

import (
	"container/heap"
	"time"
)

// entry is a file's place in the committer's queue; of at most one kind of heap at a time.
type entry struct {
	f     *File
	due   time.Time
	since time.Time // it has waited since then
	at    int       // in its heap
	ready bool      // in ready, not in waiting
	going bool      // in neither, but in queue.going: being committed
}

// entries is a heap of entries.
type entries struct {
	list   []*entry
	before func(a, b *entry) bool
}

func (h *entries) Len() int           { return len(h.list) }
func (h *entries) Less(i, j int) bool { return h.before(h.list[i], h.list[j]) }
func (h *entries) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].at, h.list[j].at = i, j
}
func (h *entries) Push(x any) {
	e := x.(*entry)
	e.at = len(h.list)
	h.list = append(h.list, e)
}
func (h *entries) Pop() any {
	last := len(h.list) - 1
	e := h.list[last]
	h.list[last], h.list = nil, h.list[:last]
	return e
}

// first is the heap's least entry, nil if it is empty.
func (h *entries) first() *entry {
	if len(h.list) == 0 {
		return nil
	}
	return h.list[0]
}

// queue orders files that wait for a commit: by the time it is due, and when that has come by age. It is a value without a
// lock.
//
//	add            due              next            done
//	----> waiting ------> ready ----------> going ------> gone
//	         ^              | looked at: not due yet
//	         +--------------+
type queue struct {
	of      map[*File]*entry
	waiting entries // by due
	ready   entries // by since
	going   map[*entry]struct{}
}

func newQueue() *queue {
	return &queue{of: make(map[*File]*entry), going: make(map[*entry]struct{}),
		waiting: entries{before: func(a, b *entry) bool { return a.due.Before(b.due) }},
		ready:   entries{before: func(a, b *entry) bool { return a.since.Before(b.since) }}}
}

// add takes a file in, or makes it due earlier. A time that is too early does no harm: who takes the file out looks again.
func (q *queue) add(f *File, due, since time.Time) {
	e := q.of[f]
	switch {
	case e == nil:
		e = &entry{f: f, due: due, since: since}
		q.of[f] = e
		heap.Push(&q.waiting, e)
	case e.going: // looked at again when it ends
	case !e.ready && due.Before(e.due):
		e.due = due
		heap.Fix(&q.waiting, e.at)
	}
}

// advance makes ready what is due, and says when the next one will be; zero: never.
func (q *queue) advance(now time.Time) (next time.Time) {
	for e := q.waiting.first(); e != nil; e = q.waiting.first() {
		if e.due.After(now) {
			return e.due
		}
		heap.Pop(&q.waiting)
		e.ready = true
		heap.Push(&q.ready, e)
	}
	return time.Time{}
}

// oldest is the ready file that has waited longest, nil if there is none. It stays where it is.
func (q *queue) oldest() *entry { return q.ready.first() }

// begin takes a ready entry out; done ends it.
func (q *queue) begin(e *entry) {
	heap.Remove(&q.ready, e.at)
	e.ready, e.going = false, true
	q.going[e] = struct{}{}
}

// later puts a ready entry back that is not due yet.
func (q *queue) later(e *entry, due, since time.Time) {
	heap.Remove(&q.ready, e.at)
	e.ready, e.due, e.since = false, due, since
	heap.Push(&q.waiting, e)
}

// drop forgets a ready entry, whose file needs no commit.
func (q *queue) drop(e *entry) {
	heap.Remove(&q.ready, e.at)
	delete(q.of, e.f)
}

// done forgets an entry that was begun.
func (q *queue) done(e *entry) {
	delete(q.of, e.f)
	delete(q.going, e)
}

// hasten makes files due now.
func (q *queue) hasten(files map[*File]struct{}, now time.Time) {
	for f := range files {
		if e := q.of[f]; e != nil && !e.ready && !e.going && now.Before(e.due) {
			e.due = now
			heap.Fix(&q.waiting, e.at)
		}
	}
}
