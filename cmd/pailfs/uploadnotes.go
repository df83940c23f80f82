package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"pailfs/fs/journal"
	"pailfs/fs/upload"
)

// uploadKind is the kind of the notes in the journal that tell of multipart uploads.
const uploadKind = "upload"

// uploadNotes keeps account of multipart uploads in the journal (upload.Register), so that none is forgotten when the process
// is killed. Safe for concurrent use.
type uploadNotes struct {
	journal uploadJournal
	mu      struct {
		sync.Mutex
		open map[uint64]uploadNote
	}
}

type uploadJournal interface {
	AddNote(kind string, data []byte) (seq uint64, err error)
	ReplaceNote(seq uint64, data []byte) error
	DropNote(seq uint64) error
	Notes(kind string) []journal.Note
}

// uploadNote is one of them. Keys may be any bytes.
type uploadNote struct {
	Version    int       `json:"v"`
	Bucket     string    `json:"bucket"`
	Key        []byte    `json:"key"`
	ID         string    `json:"id,omitempty"`
	Begun      time.Time `json:"begun"`
	Completing bool      `json:"completing,omitempty"`
}

const uploadNoteVersion = 1

func newUploadNotes(j uploadJournal) *uploadNotes {
	u := &uploadNotes{journal: j}
	u.mu.open = make(map[uint64]uploadNote)
	return u
}

// earlier are the uploads that earlier runs did not end. A note that cannot be read stays.
func (u *uploadNotes) earlier(log *slog.Logger) []upload.Left {
	u.mu.Lock()
	defer u.mu.Unlock()
	var left []upload.Left
	for _, n := range u.journal.Notes(uploadKind) {
		var note uploadNote
		err := json.Unmarshal(n.Data, &note)
		if err == nil && (note.Version < 1 || note.Version > uploadNoteVersion || note.Bucket == "" || len(note.Key) == 0) {
			err = fmt.Errorf("format %d", note.Version)
		}
		if err != nil {
			log.Error("a note of an earlier run's upload cannot be read", "err", err)
			continue
		}
		u.mu.open[n.Seq] = note
		left = append(left, upload.Left{Token: n.Seq, Bucket: note.Bucket, Key: string(note.Key), ID: note.ID, Begun: note.Begun,
			Completing: note.Completing})
	}
	return left
}

func (u *uploadNotes) Begins(bucket, key string) (uint64, error) {
	note := uploadNote{Version: uploadNoteVersion, Bucket: bucket, Key: []byte(key), Begun: time.Now()}
	data, err := json.Marshal(note)
	if err != nil {
		return 0, err
	}
	seq, err := u.journal.AddNote(uploadKind, data)
	if err != nil {
		return 0, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mu.open[seq] = note
	return seq, nil
}

func (u *uploadNotes) Has(token uint64, id string) error {
	return u.amend(token, func(n *uploadNote) { n.ID = id })
}

func (u *uploadNotes) Completes(token uint64) error {
	return u.amend(token, func(n *uploadNote) { n.Completing = true })
}

// amend changes a note; one that could not be written when its upload began is none. Calls for one upload do not overlap.
func (u *uploadNotes) amend(token uint64, change func(*uploadNote)) error {
	u.mu.Lock()
	note, ok := u.mu.open[token]
	if ok {
		change(&note)
		u.mu.open[token] = note
	}
	u.mu.Unlock()
	if !ok {
		return nil
	}
	data, err := json.Marshal(note)
	if err != nil {
		return err
	}
	return u.journal.ReplaceNote(token, data)
}

func (u *uploadNotes) Ends(token uint64) error {
	u.mu.Lock()
	_, ok := u.mu.open[token]
	delete(u.mu.open, token)
	u.mu.Unlock()
	if !ok {
		return nil
	}
	return u.journal.DropNote(token)
}
