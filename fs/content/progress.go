package content

import "time"

// Unsaved is a File with changes that the store does not have.
type Unsaved struct {
	ID      ID
	Bytes   int64     // how many bytes are to be stored
	Since   time.Time // the oldest of the changes
	Err     error     // why the last commit failed; nil when none was tried yet
	Kept    bool      // the journal has it, as it was at the last Flush at least
	Tries   int       // failed commits on end
	Next    time.Time // of the next try in the background; zero when none is planned
	Earlier bool      // left by an earlier run
}

// Unsaved lists the files with changes that the store does not have, in no order.
func (s *Files) Unsaved() []Unsaved {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Unsaved
	for f := range s.mu.all {
		if u, ok := f.unsaved(); ok {
			out = append(out, u)
		}
	}
	return out
}

func (f *File) unsaved() (Unsaved, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := Unsaved{ID: f.mu.id, Since: f.mu.since, Err: f.mu.lastErr, Bytes: f.unsavedBytesLocked(), Kept: f.keptLocked() != nil,
		Tries: f.mu.fails, Earlier: f.mu.recovered}
	if due, ok := f.dueLocked(); ok {
		u.Next = due
	}
	return u, f.unsavedLocked()
}

// Progress is how far the store is behind.
type Progress struct {
	Pending      int // files with changes that the store does not have
	PendingBytes int64
	Oldest       time.Time // of these changes; zero when there are none
	Failed       int       // pending files whose last commit failed
	Recovered    uint64    // files of earlier runs that were stored by this one
	Stored       uint64    // commits that succeeded
}

// Progress sums up what Unsaved lists, and what was done so far.
func (s *Files) Progress() Progress {
	p := Progress{Recovered: s.recovered.Load(), Stored: s.stored.Load()}
	for _, u := range s.Unsaved() {
		p.Pending++
		p.PendingBytes += u.Bytes
		if u.Tries > 0 {
			p.Failed++
		}
		if p.Oldest.IsZero() || u.Since.Before(p.Oldest) {
			p.Oldest = u.Since
		}
	}
	return p
}

// Holds says whether a file with unsaved changes has the id. One whose name is about to go does not count: nothing of it
// will be stored under the id, unless the name stays after all.
func (s *Files) Holds(id ID) bool {
	f, ok := s.Get(id)
	if !ok {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unsavedLocked() && !f.mu.leaving
}
