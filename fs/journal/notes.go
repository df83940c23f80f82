package journal

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
)

// Note is a small entry of another room. Seq is its name, greater than those of all notes before.
type Note struct {
	Seq  uint64
	Kind string
	Data []byte
}

// AddNote appends a note. It outlives the process at once and a power cut after the next Sync, at most a second later.
func (j *Journal) AddNote(kind string, data []byte) (seq uint64, err error) {
	seq, err = j.log.addNote(kind, data)
	if err != nil {
		return 0, fmt.Errorf("add a note to the journal: %w", err)
	}
	return seq, nil
}

func (l *ledger) addNote(kind string, data []byte) (seq uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq = l.mu.seq + 1
	_, err = l.addLocked(entry{kind: kindNote, seq: seq, noteKind: kind, data: data})
	return seq, err
}

// ReplaceNote gives a note other data, as AddNote does. A note that is not there is os.ErrNotExist.
func (j *Journal) ReplaceNote(seq uint64, data []byte) error {
	if err := j.log.replaceNote(seq, data); err != nil {
		return fmt.Errorf("replace note %d in the journal: %w", seq, err)
	}
	return nil
}

func (l *ledger) replaceNote(seq uint64, data []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.mu.notes[seq]
	if n == nil {
		return os.ErrNotExist
	}
	_, err := l.addLocked(entry{kind: kindNote, seq: seq, noteKind: n.kind, data: data})
	return err
}

// DropNote forgets a note. It may be called again.
func (j *Journal) DropNote(seq uint64) error {
	if err := j.log.dropNote(seq); err != nil {
		return fmt.Errorf("drop note %d of the journal: %w", seq, err)
	}
	return nil
}

func (l *ledger) dropNote(seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.notes[seq] == nil {
		return nil
	}
	_, err := l.addLocked(entry{kind: kindNoteDrop, seq: seq})
	return err
}

// Notes are the notes of a kind that earlier runs left, as Open found them, oldest first.
func (j *Journal) Notes(kind string) []Note {
	var out []Note
	for _, n := range j.earlier {
		if n.Kind == kind {
			n.Data = bytes.Clone(n.Data)
			out = append(out, n)
		}
	}
	return out
}

// takeNotes reads what notes there are.
func (j *Journal) takeNotes() {
	l := j.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for seq, n := range l.mu.notes {
		e, err := n.read()
		if err != nil {
			j.reports = append(j.reports, fmt.Errorf("journal note %d: %w", seq, err))
			continue
		}
		j.earlier = append(j.earlier, Note{seq, e.noteKind, e.data})
	}
	slices.SortFunc(j.earlier, func(a, b Note) int { return cmp.Compare(a.Seq, b.Seq) })
}

// Stats are a journal's numbers.
type Stats struct {
	Records, Notes int
	LogBytes       int64  // of the log on the disk, without what is only allocated
	SpoolBytes     int64  // of open spools in files, or in memory that was lent for them
	MemoryBytes    int64  // of spools in memory
	LentBytes      int64  // of lent memory, a part of SpoolBytes
	Syncs          uint64 // fdatasyncs of the log
	Entries        uint64 // appended to the log
}

// Stats are the numbers now.
func (j *Journal) Stats() Stats {
	st := j.log.stats()
	j.mu.Lock()
	st.MemoryBytes, st.LentBytes = j.mu.memory, j.mu.lent
	open := make([]*Spool, 0, len(j.mu.open))
	for s := range j.mu.open {
		open = append(open, s)
	}
	j.mu.Unlock()
	for _, s := range open {
		st.SpoolBytes += s.fileBytes()
	}
	return st
}

func (l *ledger) stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, _ := l.bytesLocked()
	return Stats{Records: len(l.mu.records), Notes: len(l.mu.notes), LogBytes: all, Syncs: l.mu.syncs, Entries: l.mu.entries}
}
