package wired

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

// Uploads keeps account of multipart uploads in the journal (upload.Register), so that none is forgotten when the process
// is killed. Safe for concurrent use.
type Uploads struct {
	journal notes
	store   string // the uploads' (orphans.go)
	mu      struct {
		sync.Mutex
		open map[uint64]uploadNote
	}
}

// notes are a journal's.
type notes interface {
	AddNote(kind string, data []byte) (seq uint64, err error)
	ReplaceNote(seq uint64, data []byte) error
	DropNote(seq uint64) error
	Notes(kind string) []journal.Note
}

// uploadNote is one of them. Keys may be any bytes.
type uploadNote struct {
	Version    int       `json:"v"`
	Store      string    `json:"store,omitempty"` // "" of an older pailfs: not known
	Bucket     string    `json:"bucket"`
	Key        []byte    `json:"key"`
	ID         string    `json:"id,omitempty"`
	Begun      time.Time `json:"begun"`
	Completing bool      `json:"completing,omitempty"`
}

const uploadNoteVersion = 1

func newUploads(j notes, store string) *Uploads {
	u := &Uploads{journal: j, store: store}
	u.mu.open = make(map[uint64]uploadNote)
	return u
}

// earlier are the uploads that earlier runs did not end. A note that cannot be read stays.
func (u *Uploads) earlier(log *slog.Logger) []upload.Left {
	u.mu.Lock()
	defer u.mu.Unlock()
	var left []upload.Left
	for _, n := range u.journal.Notes(uploadKind) {
		note, err := decodeUpload(n.Data)
		if err != nil {
			log.Error("a note of an earlier run's upload cannot be read", "err", err)
			continue
		}
		u.mu.open[n.Seq] = note
		left = append(left, note.left(n.Seq))
	}
	return left
}

func decodeUpload(data []byte) (note uploadNote, err error) {
	err = json.Unmarshal(data, &note)
	if err == nil && (note.Version < 1 || note.Version > uploadNoteVersion || note.Bucket == "" || len(note.Key) == 0) {
		err = fmt.Errorf("format %d", note.Version)
	}
	return note, err
}

func (n *uploadNote) left(seq uint64) upload.Left {
	return upload.Left{Token: seq, Bucket: n.Bucket, Key: string(n.Key), ID: n.ID, Begun: n.Begun, Completing: n.Completing}
}

func (u *Uploads) Begins(bucket, key string) (uint64, error) {
	note := uploadNote{Version: uploadNoteVersion, Store: u.store, Bucket: bucket, Key: []byte(key), Begun: time.Now()}
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

func (u *Uploads) Has(token uint64, id string) error {
	return u.amend(token, func(n *uploadNote) { n.ID = id })
}

func (u *Uploads) Completes(token uint64) error {
	return u.amend(token, func(n *uploadNote) { n.Completing = true })
}

// amend changes a note; one that could not be written when its upload began is none. Calls for one upload do not overlap.
func (u *Uploads) amend(token uint64, change func(*uploadNote)) error {
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

func (u *Uploads) Ends(token uint64) error {
	u.mu.Lock()
	_, ok := u.mu.open[token]
	delete(u.mu.open, token)
	u.mu.Unlock()
	if !ok {
		return nil
	}
	return u.journal.DropNote(token)
}

// Running are the uploads of a mount that have an id: it is at them, or is about to go on with them.
func (u *Uploads) Running() []upload.Left {
	u.mu.Lock()
	defer u.mu.Unlock()
	var list []upload.Left
	for seq, note := range u.mu.open {
		if note.ID != "" {
			list = append(list, note.left(seq))
		}
	}
	return list
}
