package wired

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pailfs/fs/journal"
)

// orphanRig is a directory of journals with uploads that nobody ended.
type orphanRig struct {
	t *testing.T
	o orphanage
	// aborted are the uploads' ids; fail is the answer to each abort.
	aborted []string
	fail    error
}

func newOrphanRig(t *testing.T) *orphanRig {
	r := &orphanRig{t: t}
	r.o = orphanage{dir: t.TempDir(), own: "own", store: "kr1", log: slog.New(slog.DiscardHandler),
		now: func() time.Time { return time.Now().Add(25 * time.Hour) },
		abort: func(_ context.Context, bucket, key, id string) (int, error) {
			if r.fail != nil {
				return 0, r.fail
			}
			r.aborted = append(r.aborted, bucket+"/"+key+" "+id)
			return 1, nil
		}}
	return r
}

func (r *orphanRig) open(name string) *journal.Journal {
	r.t.Helper()
	j, err := journal.Open(filepath.Join(r.o.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

// left makes a journal as a process leaves it that died in the middle of an upload of each key.
func (r *orphanRig) left(name, store string, keys ...string) {
	r.t.Helper()
	j := r.open(name)
	u := newUploads(j, store)
	for _, key := range keys {
		token, err := u.Begins("b", key)
		if err == nil {
			err = u.Has(token, "id-"+key)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *orphanRig) notes(name string) int {
	r.t.Helper()
	j := r.open(name)
	defer j.Close()
	return len(j.Notes(uploadKind))
}

func TestOrphansOfOtherMountsAreAborted(t *testing.T) {
	r := newOrphanRig(t)
	r.left("own", "kr1", "mine")
	r.left("gone", "kr1", "a", "b")
	r.left("elsewhere", "kr2", "c")
	r.o.run(t.Context())
	if want := []string{"b/a id-a", "b/b id-b"}; !slices.Equal(r.aborted, want) {
		t.Errorf("aborted %q", r.aborted)
	}
	for name, want := range map[string]int{"own": 1, "gone": 0, "elsewhere": 1} {
		if n := r.notes(name); n != want {
			t.Errorf("%s: %d notes, not %d", name, n, want)
		}
	}
}

func TestWhatMayBeNeededIsNoOrphan(t *testing.T) {
	r := newOrphanRig(t)
	r.left("young", "kr1", "k")
	now := r.o.now
	r.o.now = time.Now
	r.o.run(t.Context())
	r.o.now = now

	used := r.open("used") // by a mount that lives
	defer used.Close()
	if _, err := newUploads(used, "kr1").Begins("b", "k"); err != nil {
		t.Fatal(err)
	}
	r.left("kept", "kr1", "file", "other")
	j := r.open("kept")
	s, err := j.NewSpool()
	if err == nil {
		err = j.Keep(s, journal.Pending{Bucket: "b", Key: "file", Time: time.Now()})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newUploads(j, "kr1").Begins("b", "without id"); err != nil {
		t.Fatal(err)
	}
	u := newUploads(j, "kr1")
	token, _ := u.Begins("b", "joining")
	_ = u.Has(token, "id")
	if err := errors.Join(u.Completes(token), j.Close()); err != nil {
		t.Fatal(err)
	}
	r.o.own = "young"
	r.o.run(t.Context())
	if want := []string{"b/other id-other"}; !slices.Equal(r.aborted, want) {
		t.Errorf("aborted %q", r.aborted)
	}
	if n := r.notes("kept"); n != 3 {
		t.Errorf("%d notes are left", n)
	}
}

func TestAnOrphanThatStaysIsTriedAgain(t *testing.T) {
	r := newOrphanRig(t)
	r.left("gone", "kr1", "a")
	r.fail = errors.New("away")
	r.o.run(t.Context())
	if n := r.notes("gone"); n != 1 {
		t.Fatalf("%d notes", n)
	}
	r.fail = nil
	r.o.run(t.Context())
	if n := r.notes("gone"); n != 0 || len(r.aborted) != 1 {
		t.Errorf("%d notes, aborted %q", n, r.aborted)
	}
}
