package late

import (
	"testing"
	"testing/synctest"
	"time"
)

// A name that was in doubt and that nobody deletes has no note any more when nothing can come to it, though no other request ever
// is in doubt: of this process, and of an earlier one.
func TestANoteOfWhatNobodyDeletesGoes(t *testing.T) {
	notes := func(p *process) int {
		synctest.Wait()
		all, _, _ := p.notes.left()
		return len(all)
	}
	places := func(p *process) int {
		p.store.mu.Lock()
		defer p.store.mu.Unlock()
		return len(p.store.mu.places)
	}
	processes(t, func(t *testing.T, p *process, kill func() *process) {
		p.late(put("k", "one", "1"), time.Second)
		time.Sleep(window / 2)
		p.late(put("other", "one", "1"), time.Second)
		if n := notes(p); n != 2 {
			t.Errorf("%d notes of two requests without an answer", n)
		}
		time.Sleep(window / 2)
		if n := notes(p); n != 1 {
			t.Errorf("%d notes when nothing can come to the first name", n)
		}
		time.Sleep(window / 2)
		if n := notes(p); n != 0 || places(p) != 0 {
			t.Errorf("%d notes, %d places when nothing can come any more", n, places(p))
		}
		if !p.has("k") || !p.has("other") {
			t.Error("what nobody had deleted is gone")
		}
		p.late(put("k", "two", "2"), time.Second) // the one that waits has gone: there is another
		p.late(put("other", "two", "2"), time.Second)
		p = kill()
		p.store.Expect("k2", "b", 1, put("k2", "x", "1").Headers)
		if n := notes(p); n != 2 {
			t.Errorf("%d notes after a kill", n)
		}
		time.Sleep(window)
		if n := notes(p); n != 0 || places(p) != 0 {
			t.Errorf("%d notes, %d places of the killed process", n, places(p))
		}
	})
}

// Whoever stores a name again that was deleted in doubt has its note gone too.
func TestANoteOfWhatIsStoredAgainGoes(t *testing.T) {
	processes(t, func(t *testing.T, p *process, _ func() *process) {
		p.late(put("k", "one", "1"), time.Second)
		p.ok(p.store.Delete(t.Context(), "b", "k"))
		_, err := p.store.Put(t.Context(), put("k", "two", "2"))
		p.ok(err)
		time.Sleep(window)
		synctest.Wait()
		if all, _, _ := p.notes.left(); len(all) != 0 || !p.has("k") {
			t.Errorf("%d notes; it is there: %v", len(all), p.has("k"))
		}
	})
}
