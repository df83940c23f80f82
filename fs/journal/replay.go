package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrDamaged: a record of an earlier run, or its spool, could not be read. Both were moved to the directory "damaged".
var ErrDamaged = errors.New("damaged journal record")

// ErrNewer: a record was written by a later version of the program. It and its spool are left as they are.
var ErrNewer = errors.New("journal record of a newer version")

// Recovered is what an earlier run kept: bytes that the store does not have.
type Recovered struct {
	Pending
	j  *Journal
	id string
}

// Open opens the kept bytes. Discard on the spool does what Drop does.
func (r Recovered) Open() (*Spool, error) { return r.j.openSpool(r.id) }

// Drop forgets the kept bytes, because they are stored now: the record goes first, then the spool. It may be called
// again, and while the spool is open.
func (r Recovered) Drop() error { return r.j.drop(r.id) }

// Name is the spool's path, for messages.
func (r Recovered) Name() string { return filepath.Join(r.j.spools(), r.id) }

// Pendings are what earlier runs kept, as Open found it, oldest first. The error tells of records that could not be read
// (ErrDamaged, ErrNewer, or the disk's error, joined); the list holds all others and is good beside an error too.
func (j *Journal) Pendings() ([]Recovered, error) {
	return append([]Recovered(nil), j.recovered...), errors.Join(j.reports...)
}

// replay reads the records and removes the spools that belong to none.
func (j *Journal) replay() error {
	entries, err := os.ReadDir(j.records())
	if err != nil {
		return err
	}
	belongs := make(map[string]bool) // spools that must stay where they are
	for _, e := range entries {
		id := e.Name()
		if strings.HasSuffix(id, tempSuffix) {
			if err := removeFile(filepath.Join(j.records(), id)); err != nil {
				return err
			}
			continue
		}
		stays, err := j.readRecord(id)
		if err != nil {
			return err
		}
		belongs[id] = stays
	}
	slices.SortStableFunc(j.recovered, func(a, b Recovered) int { return a.Time.Compare(b.Time) })
	return j.removeOrphans(belongs)
}

// readRecord takes one record into recovered or reports; its error is for a disk that does not let a damaged one be moved.
func (j *Journal) readRecord(id string) (stays bool, err error) {
	p, err := j.load(id)
	switch {
	case err == nil:
		j.recovered = append(j.recovered, Recovered{Pending: p, j: j, id: id})
		return true, nil
	case !errors.Is(err, ErrDamaged): // newer, or unreadable today: another day may be better
		j.reports = append(j.reports, fmt.Errorf("journal record %s: %w", filepath.Join(j.records(), id), err))
		return true, nil
	}
	if moveErr := j.setAside(id); moveErr != nil {
		return true, errors.Join(err, moveErr)
	}
	j.reports = append(j.reports, fmt.Errorf("%w; moved to %s", err, filepath.Join(j.damaged(), id)))
	return false, nil
}

// load reads a record and checks that its spool holds what it says.
func (j *Journal) load(id string) (Pending, error) {
	b, err := os.ReadFile(filepath.Join(j.records(), id))
	if err != nil {
		return Pending{}, err
	}
	p, err := decode(b)
	if errors.Is(err, ErrNewer) {
		return Pending{}, err
	}
	if err != nil {
		return Pending{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	fi, err := os.Lstat(filepath.Join(j.spools(), id))
	if errors.Is(err, os.ErrNotExist) {
		return Pending{}, fmt.Errorf("%w: %s/%s without its spool", ErrDamaged, p.Bucket, p.Key)
	}
	if err != nil {
		return Pending{}, err
	}
	if !fi.Mode().IsRegular() || fi.Size() < p.dirtyEnd() {
		return Pending{}, fmt.Errorf("%w: the spool of %s/%s is %v of %d bytes, dirty bytes end at %d", ErrDamaged,
			p.Bucket, p.Key, fi.Mode(), fi.Size(), p.dirtyEnd())
	}
	return p, nil
}

// setAside moves a record and its spool to damaged/: the spool first, for a record without it is found again by the
// next Open, while a spool without a record would be removed.
func (j *Journal) setAside(id string) error {
	err := os.Rename(filepath.Join(j.spools(), id), filepath.Join(j.damaged(), id+".spool"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := syncDir(j.damaged()); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(j.records(), id), filepath.Join(j.damaged(), id)); err != nil {
		return err
	}
	return errors.Join(syncDir(j.damaged()), syncDir(j.records()))
}

func (j *Journal) removeOrphans(belongs map[string]bool) error {
	entries, err := os.ReadDir(j.spools())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if belongs[e.Name()] {
			continue
		}
		if err := removeFile(filepath.Join(j.spools(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}
