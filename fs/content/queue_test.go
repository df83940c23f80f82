package content

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// queueModel is a queue beside maps of the files that are in each of its states.
type queueModel struct {
	q              *queue
	now            time.Time
	files          []*File
	waiting, ready map[*File]queued
	going          map[*File]*entry
}

type queued struct{ due, since time.Time }

// The queue against a list that is looked through.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &queueModel{q: newQueue(), now: time.Unix(1000, 0), waiting: map[*File]queued{}, ready: map[*File]queued{},
			going: map[*File]*entry{}, files: make([]*File, 8)}
		for i := range m.files {
			m.files[i] = &File{}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": m.add, "advance": m.advance, "begin": m.begin, "done": m.done, "later": m.later, "drop": m.drop, "hasten": m.hasten,
			"": m.compare,
		})
	})
}

func (m *queueModel) at(t *rapid.T, name string) time.Time {
	return m.now.Add(time.Duration(rapid.IntRange(-20, 20).Draw(t, name)) * time.Second)
}

// first is the oldest that is ready, of which the queue must know.
func (m *queueModel) first(t *rapid.T) *entry {
	e := m.q.oldest()
	for f, it := range m.ready {
		if e == nil || it.since.Before(m.ready[e.f].since) {
			t.Fatalf("oldest is %v, %p has waited since %v", e, f, it.since)
		}
	}
	return e
}

func (m *queueModel) add(t *rapid.T) {
	f, due, since := rapid.SampledFrom(m.files).Draw(t, "file"), m.at(t, "due"), m.at(t, "since")
	m.q.add(f, due, since)
	if it, ok := m.waiting[f]; ok && due.Before(it.due) {
		m.waiting[f] = queued{due, it.since}
	} else if _, isReady := m.ready[f]; !ok && !isReady && m.going[f] == nil {
		m.waiting[f] = queued{due, since}
	}
}

func (m *queueModel) advance(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "s")) * time.Second)
	next := m.q.advance(m.now)
	var want time.Time
	for f, it := range m.waiting {
		if !it.due.After(m.now) {
			m.ready[f] = it
			delete(m.waiting, f)
		} else if want.IsZero() || it.due.Before(want) {
			want = it.due
		}
	}
	if !next.Equal(want) {
		t.Fatalf("next %v, want %v", next, want)
	}
}

func (m *queueModel) begin(t *rapid.T) {
	if e := m.first(t); e != nil {
		m.q.begin(e)
		m.going[e.f] = e
		delete(m.ready, e.f)
	}
}

func (m *queueModel) done(*rapid.T) {
	for f, e := range m.going {
		m.q.done(e)
		delete(m.going, f)
	}
}

func (m *queueModel) later(t *rapid.T) {
	if e := m.first(t); e != nil {
		due, since := m.at(t, "due"), m.at(t, "since")
		m.q.later(e, due, since)
		delete(m.ready, e.f)
		m.waiting[e.f] = queued{due, since}
	}
}

func (m *queueModel) drop(t *rapid.T) {
	if e := m.first(t); e != nil {
		m.q.drop(e)
		delete(m.ready, e.f)
	}
}

func (m *queueModel) hasten(t *rapid.T) {
	f := rapid.SampledFrom(m.files).Draw(t, "file")
	m.q.hasten(map[*File]struct{}{f: {}}, m.now)
	if it, ok := m.waiting[f]; ok && m.now.Before(it.due) {
		m.waiting[f] = queued{m.now, it.since}
	}
}

func (m *queueModel) compare(t *rapid.T) {
	got := fmt.Sprint(len(m.q.of), m.q.waiting.Len(), m.q.ready.Len())
	if want := fmt.Sprint(len(m.waiting)+len(m.ready)+len(m.going), len(m.waiting), len(m.ready)); got != want {
		t.Fatalf("has %s, want %s", got, want)
	}
}

func TestPause(t *testing.T) {
	for fails, want := range map[int]time.Duration{0: time.Second, 1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second,
		7: time.Minute, 1000: time.Minute} {
		if got := pause(fails); got != want {
			t.Errorf("after %d failures %v, want %v", fails, got, want)
		}
	}
}
