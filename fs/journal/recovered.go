package journal

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Recovered is what an earlier run kept: bytes that the store does not have.
type Recovered struct {
	Pending
	j  *Journal
	id string
}

// Open opens the kept bytes. Discard on the spool does what Drop does.
func (r Recovered) Open() (*Spool, error) {
	s, err := r.j.openSpool(r.id)
	if err == nil {
		s.setReleased(func([]Range) []Range { return r.elsewhere() })
	}
	return s, err
}

// Drop forgets the kept bytes, because they are stored now. It is appended, not waited for. It may be called again, and
// while the spool is open; small bytes that were not read yet are gone for the spool, too.
func (r Recovered) Drop() error { return r.j.drop(r.id) }

// Name is what messages call it: the path of the spool's file, which small ones do not have.
func (r Recovered) Name() string { return r.j.spoolPath(r.id) }

// Gone says whether it was dropped, here or by Discard of its spool.
func (r Recovered) Gone() bool { return !r.j.has(r.id) }

// Pendings are what earlier runs kept, as Open found it, oldest first. The error tells of what could not be read
// (ErrDamaged, ErrNewer, or the disk's error, joined); the list holds all others and is good beside an error too.
func (j *Journal) Pendings() ([]Recovered, error) {
	return append([]Recovered(nil), j.recovered...), errors.Join(j.reports...)
}

// Unreadable are the errors that Pendings tells of, one for each part.
func (j *Journal) Unreadable() []error { return slices.Clone(j.reports) }

// takeRecords makes Recovered of what is alive in the log.
func (j *Journal) takeRecords() {
	for _, id := range j.log.ids() {
		p, err := j.checkRecord(id)
		if err == nil {
			j.recovered = append(j.recovered, Recovered{Pending: p, j: j, id: id})
			continue
		}
		if !errors.Is(err, ErrDamaged) { // unreadable today: another day may be better
			j.reports = append(j.reports, fmt.Errorf("journal record %s: %w", id, err))
			continue
		}
		if moveErr := j.setAside(id, p); moveErr != nil {
			j.reports = append(j.reports, fmt.Errorf("%w; cannot be moved away: %w", err, moveErr))
			continue
		}
		j.reports = append(j.reports, fmt.Errorf("%w; moved to %s", err, filepath.Join(j.damaged(), id)))
	}
	slices.SortStableFunc(j.recovered, func(a, b Recovered) int { return a.Time.Compare(b.Time) })
}

// ids are the spools with a record in the log, in its order.
func (l *ledger) ids() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Keys(l.mu.records), func(a, b string) int {
		return cmp.Compare(l.mu.records[a].keep.pos(), l.mu.records[b].keep.pos())
	})
}

// checkRecord reads a record and looks whether its file is there.
func (j *Journal) checkRecord(id string) (Pending, error) {
	e, err := j.log.readKeep(id)
	if err != nil {
		return Pending{}, err
	}
	p, err := decodePending(e.record)
	if errors.Is(err, ErrNewer) {
		return Pending{}, err
	}
	if err != nil {
		return Pending{}, fmt.Errorf("%w: record of spool %s: %w", ErrDamaged, id, err)
	}
	if e.inline {
		return p, nil
	}
	if e.checks == nil { // it was being changed, and may have been cut
		return p, j.checkFile(id, Pending{Bucket: p.Bucket, Key: p.Key})
	}
	if err := j.checkFile(id, p); err != nil {
		return p, err
	}
	return p, cutTo(j.spoolPath(id), e.size)
}

// cutTo cuts off what was written behind the bytes that were kept, of which the checks know nothing.
func cutTo(path string, kept int64) error {
	fi, err := os.Lstat(path)
	if err != nil || fi.Size() <= kept {
		return err
	}
	return os.Truncate(path, kept)
}

// checkFile says whether the spool of a record holds what it says.
func (j *Journal) checkFile(id string, p Pending) error {
	fi, err := os.Lstat(j.spoolPath(id))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s/%s without its spool", ErrDamaged, p.Bucket, p.Key)
	}
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() || fi.Size() < p.dirtyEnd() {
		return fmt.Errorf("%w: the spool of %s/%s is %v of %d bytes, dirty bytes end at %d", ErrDamaged,
			p.Bucket, p.Key, fi.Mode(), fi.Size(), p.dirtyEnd())
	}
	return nil
}

// setAside moves a record and its spool to damaged/: the spool first, for a record without it is found again by the
// next Open, while a spool without a record would be removed.
func (j *Journal) setAside(id string, p Pending) error {
	err := os.Rename(j.spoolPath(id), filepath.Join(j.damaged(), id+".spool"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	b, err := encode(p)
	if err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(j.damaged(), id), b); err != nil {
		return err
	}
	if err := syncDir(j.damaged()); err != nil {
		return err
	}
	end, _, err := j.log.addTo(entry{kind: kindDrop, id: id})
	if err != nil {
		return err
	}
	return j.log.syncTo(end)
}

// removeOrphans removes the spools that no record speaks of.
func (j *Journal) removeOrphans() error {
	entries, err := os.ReadDir(j.spools())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if r, ok := j.log.record(e.Name()); ok && !r.inline || j.old.has(e.Name()) {
			continue
		}
		if err := removeFile(filepath.Join(j.spools(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}
