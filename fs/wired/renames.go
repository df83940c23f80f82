package wired

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"sync"
	"time"

	"pailfs/fs/tree"
	"pailfs/s3client"
)

// renameKind is the kind of the notes in the journal that tell of directories that are being renamed.
const renameKind = "rename"

// Renames keeps the renames of directories in the journal (tree.Intents), and has those completed that an earlier run did not
// end, or a call of this one. Safe for concurrent use.
type Renames struct {
	journal durableNotes
	log     *slog.Logger
	mu      struct {
		sync.Mutex
		earlier map[uint64]*Unfinished // by their notes: what is not completed yet
		fresh   []uint64               // those of this run that nobody is at yet
	}
	more chan struct{} // has something in it when there are such
}

type durableNotes interface {
	notes
	Sync() error
}

// Unfinished is the rename of a directory that an earlier run had begun, or a call of this one could not end.
type Unfinished struct {
	tree.Intent
	Earlier bool
	Tries   int       // that failed
	Err     error     // of the last
	Next    time.Time // zero: none is planned
}

// renameNote is one in the journal. Keys may be any bytes.
type renameNote struct {
	Version    int       `json:"v"`
	FromBucket string    `json:"from_bucket"`
	From       []byte    `json:"from"`
	ToBucket   string    `json:"to_bucket"`
	To         []byte    `json:"to"`
	Stage      string    `json:"stage"`
	Begun      time.Time `json:"begun"`
	Failed     time.Time `json:"failed,omitzero"`
	KeepMarker bool      `json:"keep_marker,omitempty"`
}

const renameNoteVersion = 1

func newRenames(j durableNotes, log *slog.Logger) *Renames {
	n := &Renames{journal: j, log: log, more: make(chan struct{}, 1)}
	n.mu.earlier = make(map[uint64]*Unfinished)
	return n
}

func encodeRename(i tree.Intent) ([]byte, error) {
	return json.Marshal(renameNote{renameNoteVersion, i.FromBucket, []byte(i.From), i.ToBucket, []byte(i.To), i.Stage, i.Begun, i.Failed, i.KeepMarker})
}

func decodeRename(data []byte) (tree.Intent, error) {
	var n renameNote
	err := json.Unmarshal(data, &n)
	known := n.Stage == tree.StageCopy || n.Stage == tree.StageDelete || n.Stage == tree.StageUndo
	if err == nil && (n.Version != renameNoteVersion || !known || n.FromBucket == "" || n.ToBucket == "") {
		err = fmt.Errorf("format %d, stage %q", n.Version, n.Stage)
	}
	return tree.Intent{FromBucket: n.FromBucket, From: string(n.From), ToBucket: n.ToBucket, To: string(n.To), Stage: n.Stage,
		Begun: n.Begun, Failed: n.Failed, KeepMarker: n.KeepMarker}, err
}

// Begin is durable when it returns.
func (n *Renames) Begin(i tree.Intent) (uint64, error) {
	data, err := encodeRename(i)
	if err != nil {
		return 0, err
	}
	seq, err := n.journal.AddNote(renameKind, data)
	if err != nil {
		return 0, err
	}
	if err := n.journal.Sync(); err != nil {
		return 0, errors.Join(err, n.journal.DropNote(seq))
	}
	return seq, nil
}

func (n *Renames) Change(token uint64, i tree.Intent) error {
	data, err := encodeRename(i)
	if err != nil {
		return err
	}
	return n.journal.ReplaceNote(token, data)
}

func (n *Renames) End(token uint64) error {
	n.mu.Lock()
	delete(n.mu.earlier, token)
	n.mu.Unlock()
	return n.journal.DropNote(token)
}

// Leave has a rename of this run completed in the background.
func (n *Renames) Leave(token uint64, i tree.Intent) {
	n.mu.Lock()
	n.mu.earlier[token] = &Unfinished{Intent: i}
	n.mu.fresh = append(n.mu.fresh, token)
	n.mu.Unlock()
	select {
	case n.more <- struct{}{}:
	default:
	}
}

// IsLeft says whether a rename is to be completed still.
func (n *Renames) IsLeft(token uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.earlier[token] != nil
}

// Left are the renames that are to be completed still.
func (n *Renames) Left() map[uint64]tree.Intent {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make(map[uint64]tree.Intent, len(n.mu.earlier))
	for token, u := range n.mu.earlier {
		all[token] = u.Intent
	}
	return all
}

// serve completes what this run leaves, until ctx ends. What is refused, or not done by then, the next mount completes.
func (n *Renames) serve(ctx context.Context, do func(ctx context.Context, token uint64, in tree.Intent) error) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		select {
		case <-n.more:
		case <-ctx.Done():
			return
		}
		n.mu.Lock()
		tokens := n.mu.fresh
		n.mu.fresh = nil
		n.mu.Unlock()
		for _, token := range tokens {
			all.Go(func() {
				if err := n.completeOne(ctx, token, do); err != nil && ctx.Err() == nil {
					n.log.Error("a rename of a directory is not completed; the next mount tries again", "err", err)
				}
			})
		}
	}
}

// load finds what earlier runs did not end. A note that cannot be read stays.
func (n *Renames) load() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, note := range n.journal.Notes(renameKind) {
		in, err := decodeRename(note.Data)
		if err != nil {
			n.log.Error("a rename that an earlier run had begun cannot be read", "err", err)
			continue
		}
		n.mu.earlier[note.Seq] = &Unfinished{Intent: in, Earlier: true}
		n.log.Info("an earlier run has begun to rename a directory: completing it", "rename", in.String(), "stage", in.Stage)
	}
}

// complete completes what is left, oldest first, and goes on until all is done, refused, or ctx ends.
func (n *Renames) complete(ctx context.Context, do func(ctx context.Context, token uint64, in tree.Intent) error) (failed []error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, token := range n.left() {
		all.Go(func() {
			if err := n.completeOne(ctx, token, do); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	all.Wait()
	return failed
}

func (n *Renames) left() (tokens []uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for token := range n.mu.earlier {
		tokens = append(tokens, token)
	}
	sort.Slice(tokens, func(i, j int) bool { return tokens[i] < tokens[j] })
	return tokens
}

func (n *Renames) completeOne(ctx context.Context, token uint64, do func(ctx context.Context, token uint64, in tree.Intent) error) error {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		n.mu.Lock()
		r := n.mu.earlier[token]
		n.mu.Unlock()
		if r == nil {
			return nil
		}
		err := do(ctx, token, r.Intent)
		again := n.tried(token, err, pause)
		if err == nil {
			n.log.Info("the rename of a directory that was left has ended", "rename", r.Intent.String(), "earlier", r.Earlier)
			return nil
		}
		if !again || ctx.Err() != nil {
			return err
		}
		n.log.Warn("the rename of a directory is not completed yet", "rename", r.Intent.String(), "earlier", r.Earlier, "err", err,
			"again", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// tried notes what became of an attempt; false when another one would end the same.
func (n *Renames) tried(token uint64, err error, pause time.Duration) (again bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.mu.earlier[token]
	if r == nil || err == nil {
		delete(n.mu.earlier, token)
		return false
	}
	switch s3client.KindOf(err) {
	case s3client.Temporary, s3client.Throttled, s3client.Canceled, s3client.Unknown:
		again = true
	}
	r.Tries, r.Err, r.Next = r.Tries+1, err, time.Time{}
	if again {
		r.Next = time.Now().Add(pause)
	}
	return again
}

// Pending are those that are not completed yet, oldest first.
func (n *Renames) Pending() (list []Unfinished) {
	for _, token := range n.left() {
		n.mu.Lock()
		if r := n.mu.earlier[token]; r != nil {
			list = append(list, *r)
		}
		n.mu.Unlock()
	}
	return list
}
