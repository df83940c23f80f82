package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// oldRecords are records in files, record/ID, as versions before the log kept them. They stay there until they are
// dropped, or kept again.
type oldRecords struct {
	dir string
	mu  struct {
		sync.Mutex
		ids map[string]bool // there is a file
	}
}

// tempSuffix marks an old record that was being written when the process died.
const tempSuffix = ".tmp"

func (o *oldRecords) has(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.ids[id]
}

func (o *oldRecords) set(id string, there bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if there {
		o.mu.ids[id] = true
	} else {
		delete(o.mu.ids, id)
	}
}

// remove removes a record and makes that durable.
func (o *oldRecords) remove(id string) error {
	if !o.has(id) {
		return nil
	}
	if err := removeFile(filepath.Join(o.dir, id)); err != nil {
		return err
	}
	if err := syncDir(o.dir); err != nil {
		return err
	}
	o.set(id, false)
	return nil
}

// replaced removes a record that the log has now, once it is durable there.
func (o *oldRecords) replaced(id string, durable func() error) error {
	if !o.has(id) {
		return nil
	}
	if err := durable(); err != nil {
		return err
	}
	return o.remove(id)
}

// loadOld reads the records in files. Where the log knows more of a spool, the log counts.
func (j *Journal) loadOld() error {
	entries, err := os.ReadDir(j.old.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		id := e.Name()
		if strings.HasSuffix(id, tempSuffix) {
			if err := removeFile(filepath.Join(j.old.dir, id)); err != nil {
				return err
			}
			continue
		}
		j.old.set(id, true)
		if _, ok := j.log.record(id); ok {
			continue
		}
		if err := j.loadOldRecord(id); err != nil {
			return err
		}
	}
	return nil
}

// loadOldRecord takes one into recovered or reports; its error is for a disk that does not let a damaged one be moved.
func (j *Journal) loadOldRecord(id string) error {
	p, err := j.readOld(id)
	switch {
	case err == nil:
		j.recovered = append(j.recovered, Recovered{Pending: p, j: j, id: id})
		return nil
	case !errors.Is(err, ErrDamaged): // newer, or unreadable today: another day may be better
		j.reports = append(j.reports, fmt.Errorf("journal record %s: %w", filepath.Join(j.old.dir, id), err))
		return nil
	}
	if moveErr := j.setAsideOld(id); moveErr != nil {
		return errors.Join(err, moveErr)
	}
	j.reports = append(j.reports, fmt.Errorf("%w; moved to %s", err, filepath.Join(j.damaged(), id)))
	return nil
}

func (j *Journal) readOld(id string) (Pending, error) {
	b, err := os.ReadFile(filepath.Join(j.old.dir, id))
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
	return p, j.checkFile(id, p)
}

func (j *Journal) setAsideOld(id string) error {
	err := os.Rename(j.spoolPath(id), filepath.Join(j.damaged(), id+".spool"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := syncDir(j.damaged()); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(j.old.dir, id), filepath.Join(j.damaged(), id)); err != nil {
		return err
	}
	j.old.set(id, false)
	return errors.Join(syncDir(j.damaged()), syncDir(j.old.dir))
}
