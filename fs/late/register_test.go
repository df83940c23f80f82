package late

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// notes are a journal's, as a process leaves them when it is killed.
type notes struct {
	mu struct {
		sync.Mutex
		all    map[uint64][]byte
		seq    uint64
		synced int
		full   error
	}
}

func (j *notes) AddNote(kind string, data []byte) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.full != nil || kind != NoteKind {
		return 0, errors.Join(j.mu.full, errors.New(kind))
	}
	j.mu.seq++
	j.mu.all[j.mu.seq] = slices.Clone(data)
	return j.mu.seq, nil
}

func (j *notes) ReplaceNote(seq uint64, data []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, there := j.mu.all[seq]; !there || j.mu.full != nil {
		return errors.Join(j.mu.full, os.ErrNotExist)
	}
	j.mu.all[seq] = slices.Clone(data)
	return nil
}

func (j *notes) DropNote(seq uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.mu.all, seq)
	return j.mu.full
}

func (j *notes) Sync() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.synced++
	return j.mu.full
}

// fails makes the disk full, or with nil not.
func (j *notes) fails(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.full = err
}

func (j *notes) left() (all map[uint64][]byte, seq uint64, synced int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.mu.all), j.mu.seq, j.mu.synced
}

func journalOf(all map[uint64][]byte, seq uint64) *notes {
	j := &notes{}
	j.mu.all, j.mu.seq = all, seq
	return j
}

// process is one that can be killed.
type process struct {
	*rig
	notes *notes
}

// processes runs a test with a first process; kill ends it and gives the next one.
func processes(t *testing.T, f func(t *testing.T, p *process, kill func() *process)) {
	synctest.Test(t, func(t *testing.T) {
		mem := s3mem.New(s3mem.WithBuckets("b"), s3mem.WithMinPart(1))
		var p *process
		start := func(j *notes) *process {
			fault := s3fault.New(mem)
			p = &process{&rig{t: t, mem: mem, fault: fault, store: New(Options{Store: fault, Journal: j, StoreID: "s"})}, j}
			all, _, _ := j.left()
			for _, seq := range slices.Sorted(maps.Keys(all)) {
				p.ok(p.store.Earlier(seq, all[seq]))
			}
			return p
		}
		kill := func() *process {
			old := p
			all, seq, _ := p.notes.left()
			old.fault.Add(s3fault.Rule{Before: s3client.Denied})
			old.store.Close(t.Context()) // its goroutines end; what it says counts no more
			return start(journalOf(all, seq))
		}
		f(t, start(journalOf(make(map[uint64][]byte), 0)), kill)
		p.fault.Clear()
		p.ok(p.store.Close(t.Context()))
	})
}

// What a killed process had deleted stays gone when one of its requests is carried out later, and what it had in doubt is deleted
// by the next one for good, also when that one is killed.
func TestADeletionHoldsOverAKill(t *testing.T) {
	for what, do := range map[string]func(p *process, kill func() *process) *process{
		"deleted, killed, landed": func(p *process, kill func() *process) *process {
			p.late(put("k", "one", "1"), 30*time.Second)
			p.ok(p.store.Delete(p.t.Context(), "b", "k"))
			return kill()
		},
		"deleted, killed, landed when nobody was there": func(p *process, kill func() *process) *process {
			p.late(put("k", "one", "1"), 30*time.Second)
			p.ok(p.store.Delete(p.t.Context(), "b", "k"))
			next := kill
			p.fault.Add(s3fault.Rule{Before: s3client.Denied})
			p.store.Close(p.t.Context())
			time.Sleep(time.Hour)
			return next()
		},
		"killed, deleted by the next, landed": func(p *process, kill func() *process) *process {
			p.late(put("k", "one", "1"), 30*time.Second)
			p = kill()
			p.ok(p.store.Delete(p.t.Context(), "b", "k"))
			return p
		},
		"killed, deleted by the next, killed, landed": func(p *process, kill func() *process) *process {
			p.late(put("k", "one", "1"), 30*time.Second)
			p = kill()
			p.ok(p.store.Delete(p.t.Context(), "b", "k"))
			return kill()
		},
		"killed, found in the journal, deleted, killed, landed": func(p *process, kill func() *process) *process {
			req := put("k", "one", "1")
			time.AfterFunc(30*time.Second, func() { p.mem.Put(context.Background(), req) })
			p = kill()
			p.store.Expect("b", "k", 3, req.Headers)
			p.ok(p.store.Delete(p.t.Context(), "b", "k"))
			return kill()
		},
	} {
		t.Run(what, func(t *testing.T) {
			processes(t, func(t *testing.T, p *process, kill func() *process) {
				p = do(p, kill)
				time.Sleep(2 * time.Minute)
				if p.has("k") {
					t.Error("the deleted object is back")
				}
				if all, _, _ := p.notes.left(); len(all) > 0 {
					t.Errorf("the journal still has %q", slices.Collect(maps.Values(all)))
				}
			})
		})
	}
}

// What is stored again is not deleted by the next process, whoever has stored it, be it the very same.
func TestOverAKillOnlyWhatWasGivenUpIsDeleted(t *testing.T) {
	for what, do := range map[string]func(p *process){
		"by the process that was killed": func(p *process) {
			_, err := p.store.Put(context.Background(), put("k", "one", "1"))
			p.ok(err)
			if _, _, synced := p.notes.left(); synced == 0 {
				p.t.Error("the note that was taken back is not durable")
			}
		},
		"other bytes by another host":                func(p *process) { p.mem.Put(context.Background(), put("k", "two!", "1")) },
		"the same by another host, when it was late": func(p *process) { time.Sleep(time.Hour); p.mem.Put(context.Background(), put("k", "one", "1")) },
	} {
		t.Run(what, func(t *testing.T) {
			processes(t, func(t *testing.T, p *process, kill func() *process) {
				p.late(put("k", "one", "1"), 100*time.Hour)
				p.ok(p.store.Delete(t.Context(), "b", "k"))
				time.Sleep(time.Second)
				p.fault.Add(s3fault.Rule{Call: "Head", Before: s3client.Denied}) // the first process sees nothing any more
				do(p)
				p = kill()
				time.Sleep(time.Hour)
				if !p.has("k") {
					t.Error("it was deleted")
				}
				time.Sleep(100 * time.Hour)
			})
		})
	}
}

// A name whose deletion the journal cannot take back is not stored: the next process would delete what was acknowledged.
func TestADeletionThatCannotBeTakenBack(t *testing.T) {
	processes(t, func(t *testing.T, p *process, _ func() *process) {
		p.late(put("k", "one", "1"), 100*time.Hour)
		p.ok(p.store.Delete(t.Context(), "b", "k"))
		p.notes.fails(errors.New("disk full"))
		for range 2 {
			if _, err := p.store.Put(t.Context(), put("k", "one", "1")); err == nil {
				t.Error("stored")
			}
		}
		p.notes.fails(nil)
		_, err := p.store.Put(t.Context(), put("k", "one", "1"))
		p.ok(err)
		time.Sleep(time.Hour)
		if !p.has("k") {
			t.Error("it was deleted")
		}
	})
}

// Where the looks have no answer the next mount looks again.
func TestLooksWithoutAnAnswerAreLeftToTheNext(t *testing.T) {
	processes(t, func(t *testing.T, p *process, kill func() *process) {
		p.late(put("k", "one", "1"), 30*time.Second)
		p.ok(p.store.Delete(t.Context(), "b", "k"))
		p.fault.Add(s3fault.Rule{Call: "Head", Before: s3client.Temporary})
		time.Sleep(time.Hour)
		p = kill()
		time.Sleep(time.Minute)
		if all, _, _ := p.notes.left(); p.has("k") || len(all) > 0 {
			t.Errorf("it is there: %v, %d notes", p.has("k"), len(all))
		}
	})
}

// Notes of another store, or of a later format, stay as they are.
func TestNotesThatAreNotOurs(t *testing.T) {
	processes(t, func(t *testing.T, p *process, _ func() *process) {
		other := `{"v":1,"store":"another","bucket":"b","key":"aw==","deleted":true,"made":[{"until":"2000-01-01T00:00:10Z","size":1}]}`
		p.ok(p.store.Earlier(7, []byte(other)))
		later := `{"v":3,"store":"s","bucket":"b","key":"aw==","deleted":true,"made":[{"until":"2000-01-01T00:00:10Z","size":1}]}`
		if err := p.store.Earlier(8, []byte(later)); err == nil {
			t.Error("a later format was read")
		}
		if got := p.calls(func() { time.Sleep(time.Hour) }); len(got) > 0 {
			t.Errorf("calls %v", got)
		}
	})
}
