package content

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The queue against a list that is looked through.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, now := newQueue(), time.Unix(1000, 0)
		type item struct{ due, since time.Time }
		waiting, ready, going := map[*File]item{}, map[*File]item{}, map[*File]*entry{}
		files := make([]*File, 8)
		for i := range files {
			files[i] = &File{}
		}
		at := func(name string) time.Time {
			return now.Add(time.Duration(rapid.IntRange(-20, 20).Draw(t, name)) * time.Second)
		}
		first := func() *entry {
			e := q.oldest()
			for f, it := range ready {
				if e == nil || it.since.Before(ready[e.f].since) {
					t.Fatalf("oldest is %v, %p has waited since %v", e, f, it.since)
				}
			}
			return e
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				f, due, since := rapid.SampledFrom(files).Draw(t, "file"), at("due"), at("since")
				q.add(f, due, since)
				if it, ok := waiting[f]; ok && due.Before(it.due) {
					waiting[f] = item{due, it.since}
				} else if _, isReady := ready[f]; !ok && !isReady && going[f] == nil {
					waiting[f] = item{due, since}
				}
			},
			"advance": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "s")) * time.Second)
				next := q.advance(now)
				var want time.Time
				for f, it := range waiting {
					if !it.due.After(now) {
						ready[f] = it
						delete(waiting, f)
					} else if want.IsZero() || it.due.Before(want) {
						want = it.due
					}
				}
				if !next.Equal(want) {
					t.Fatalf("next %v, want %v", next, want)
				}
			},
			"begin": func(t *rapid.T) {
				if e := first(); e != nil {
					q.begin(e)
					going[e.f] = e
					delete(ready, e.f)
				}
			},
			"done": func(t *rapid.T) {
				for f, e := range going {
					q.done(e)
					delete(going, f)
				}
			},
			"later": func(t *rapid.T) {
				if e := first(); e != nil {
					due, since := at("due"), at("since")
					q.later(e, due, since)
					delete(ready, e.f)
					waiting[e.f] = item{due, since}
				}
			},
			"drop": func(t *rapid.T) {
				if e := first(); e != nil {
					q.drop(e)
					delete(ready, e.f)
				}
			},
			"hasten": func(t *rapid.T) {
				f := rapid.SampledFrom(files).Draw(t, "file")
				q.hasten(map[*File]struct{}{f: {}}, now)
				if it, ok := waiting[f]; ok && now.Before(it.due) {
					waiting[f] = item{now, it.since}
				}
			},
			"": func(t *rapid.T) {
				got := fmt.Sprint(len(q.of), q.waiting.Len(), q.ready.Len())
				if want := fmt.Sprint(len(waiting)+len(ready)+len(going), len(waiting), len(ready)); got != want {
					t.Fatalf("has %s, want %s", got, want)
				}
			},
		})
	})
}

func TestPause(t *testing.T) {
	for fails, want := range map[int]time.Duration{0: time.Second, 1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second,
		7: time.Minute, 1000: time.Minute} {
		if got := pause(fails); got != want {
			t.Errorf("after %d failures %v, want %v", fails, got, want)
		}
	}
}
