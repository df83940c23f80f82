package late

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pailfs/s3client"
)

// Journal keeps notes that outlive the process; *journal.Journal.
type Journal interface {
	AddNote(kind string, data []byte) (seq uint64, err error)
	ReplaceNote(seq uint64, data []byte) error
	DropNote(seq uint64) error
	Sync() error
}

// NoteKind is the kind of this package's notes in the journal.
const NoteKind = "late"

// noteVersion is the format of a note: 2 for one with a deletion in doubt, which format 1 does not have. What is newer is left
// alone.
const noteVersion = 2

// register has a note in the journal for each name in doubt.
type register struct {
	journal Journal // nil: there is none
	store   string
	mu      struct {
		sync.Mutex // held across the journal's write, so that a note's last writer has seen the latest
		notes      map[name]uint64
	}
}

// note is what the journal has of a name. Keys and values may be any bytes.
type note struct {
	Version int        `json:"v"`
	Store   string     `json:"store"`
	Bucket  string     `json:"bucket"`
	Key     []byte     `json:"key"`
	Deleted bool       `json:"deleted,omitempty"`
	Made    []madeNote `json:"made"`
	Going   time.Time  `json:"going,omitzero"`
}

type madeNote struct {
	Until time.Time         `json:"until"`
	Size  int64             `json:"size"`
	ETag  string            `json:"etag,omitempty"`
	Meta  map[string][]byte `json:"meta,omitempty"`
	Known bool              `json:"known,omitempty"` // the meta
}

// keep brings the journal's notes of some names up to date.
func (s *Store) keep(names ...name) error {
	r := &s.kept
	if r.journal == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, n := range names {
		errs = append(errs, r.keepLocked(n, s.noteOf(n)))
	}
	return errors.Join(errs...)
}

func (r *register) keepLocked(n name, is *note) error {
	seq, there := r.mu.notes[n]
	if is == nil {
		if !there {
			return nil
		}
		delete(r.mu.notes, n)
		return r.journal.DropNote(seq)
	}
	data, err := json.Marshal(is)
	if err != nil {
		return err
	}
	if there {
		return r.journal.ReplaceNote(seq, data)
	}
	if seq, err = r.journal.AddNote(NoteKind, data); err == nil {
		r.mu.notes[n] = seq
	}
	return err
}

func (r *register) sync() error {
	if r.journal == nil {
		return nil
	}
	return r.journal.Sync()
}

// noteOf is what a later run should know of a name; nil where there is nothing that it does not find out by itself.
func (s *Store) noteOf(n name) *note {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.mu.places[n]
	if p == nil {
		return nil
	}
	g := p.going
	if g.expected {
		g = going{}
	}
	if !p.deleted && g.until.IsZero() && !slices.ContainsFunc(p.made, func(r request) bool { return !r.expected }) {
		return nil
	}
	is := &note{Version: 1, Store: s.kept.store, Bucket: n.bucket, Key: []byte(n.key), Deleted: p.deleted, Going: g.until}
	if !g.until.IsZero() {
		is.Version = noteVersion
	}
	for _, r := range p.made {
		m := madeNote{Until: r.until, Size: r.size, ETag: r.etag, Known: r.meta != nil}
		if len(r.meta) > 0 {
			m.Meta = make(map[string][]byte, len(r.meta))
		}
		for k, v := range r.meta {
			m.Meta[k] = []byte(v)
		}
		is.Made = append(is.Made, m)
	}
	return is
}

// Earlier takes over a note of an earlier run, before anything else is called. A name that it had deleted is looked at, however
// long ago that was: what landed when nobody was there is still there. An error says that the note cannot be read; it stays.
func (s *Store) Earlier(seq uint64, data []byte) error {
	var is note
	err := json.Unmarshal(data, &is)
	n := name{is.Bucket, string(is.Key)}
	if err == nil && (is.Version < 1 || is.Version > noteVersion || len(is.Made) == 0 && is.Going.IsZero() ||
		(is.Bucket == "" || len(is.Key) == 0) && n != anyName) {
		err = fmt.Errorf("format %d; this pailfs reads up to %d", is.Version, noteVersion)
	}
	if err != nil {
		return fmt.Errorf("note %d of a request without an answer: %w", seq, err)
	}
	if is.Store != s.kept.store {
		return nil // for whoever mounts that one
	}
	s.kept.mu.Lock()
	s.kept.mu.notes[n] = seq
	s.kept.mu.Unlock()
	if !s.takeOver(n, &is) {
		return s.keep(n)
	}
	return nil
}

// takeOver makes a place of a note; false when nothing can come to the name any more.
func (s *Store) takeOver(n name, is *note) bool {
	p := &place{deleted: is.Deleted, earlier: is.Deleted, going: going{until: is.Going}}
	for _, m := range is.Made {
		r := request{until: m.Until, size: m.Size, etag: m.ETag}
		if m.Known {
			r.meta = make(map[string]string, len(m.Meta))
		}
		for k, v := range m.Meta {
			r.meta[k] = string(v)
		}
		p.made = append(p.made, r)
	}
	if !p.deleted && !time.Now().Before(p.ends()) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.places[n] = p
	if !p.going.until.IsZero() {
		s.mu.going++
	}
	if p.deleted {
		s.watchLocked(n, p)
	} else {
		s.forgetLaterLocked()
	}
	return true
}

// Expect says that a process that was killed may have been making an object, of this size and with these headers: its request
// may be on its way still.
func (s *Store) Expect(bucket, key string, size int64, h s3client.Headers) {
	r := request{until: time.Now().Add(window), size: size, meta: h.Meta, expected: true}
	if r.meta == nil {
		r.meta = map[string]string{}
	}
	s.add(name{bucket, key}, r)
}
