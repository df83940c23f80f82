package tree

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Stages of a directory's rename.
const (
	StageCopy   = "copy"   // objects are being copied; all are there under the old name
	StageDelete = "delete" // all copies are there; the old names are being deleted
	StageUndo   = "undo"   // a copy has failed: the copies are being deleted again
)

// Intent is a rename of a directory that is going on, as it outlives the process.
type Intent struct {
	FromBucket, From string // what the keys begin with, with a slash at the end
	ToBucket, To     string
	Stage            string
	Begun            time.Time
	KeepMarker       bool // the new name was an empty directory before
}

func (i *Intent) String() string {
	return fmt.Sprintf("%s/%s to %s/%s", i.FromBucket, i.From, i.ToBucket, i.To)
}

// Intents keeps the renames of directories that are going on. Begin is durable when it returns; Change has to survive the
// death of the process only.
type Intents interface {
	Begin(i Intent) (token uint64, err error)
	Change(token uint64, i Intent) error
	End(token uint64) error
}

// Renaming tells how far the rename of a directory is.
type Renaming struct {
	From, To string // paths
	Stage    string
	Since    time.Time
	Found    int64 // objects listed so far
	Copied   int64
	Deleted  int64 // old names
	Earlier  bool  // begun by an earlier run
}

// renaming is one that is going on.
type renaming struct {
	t        *Tree
	intent   Intent
	from, to string
	earlier  bool
	token    uint64
	asked    bool // for a note
	noted    bool

	found, copied, deleted atomic.Int64
	mu                     struct {
		sync.Mutex
		stage string
	}
}

// renamings are those that are going on.
type renamings struct {
	mostHeld, mostEver int // 0: the default
	mu                 struct {
		sync.Mutex
		all map[*renaming]struct{}
	}
}

func (r *renamings) held() int { return cmp.Or(r.mostHeld, maxHeld) }
func (r *renamings) most() int { return cmp.Or(r.mostEver, maxRename) }

// Renamings tells of the directories that are being renamed, oldest first.
func (t *Tree) Renamings() []Renaming {
	t.renamings.mu.Lock()
	defer t.renamings.mu.Unlock()
	var all []Renaming
	for r := range t.renamings.mu.all {
		all = append(all, Renaming{From: r.from, To: r.to, Stage: r.stage(), Since: r.intent.Begun, Found: r.found.Load(),
			Copied: r.copied.Load(), Deleted: r.deleted.Load(), Earlier: r.earlier})
	}
	slices.SortFunc(all, func(a, b Renaming) int { return a.Since.Compare(b.Since) })
	return all
}

// begin shows a rename; it is not noted yet.
func (t *Tree) beginRenaming(r *renaming) {
	r.t = t
	r.mu.stage = r.intent.Stage
	t.renamings.mu.Lock()
	defer t.renamings.mu.Unlock()
	if t.renamings.mu.all == nil {
		t.renamings.mu.all = make(map[*renaming]struct{})
	}
	t.renamings.mu.all[r] = struct{}{}
}

func (r *renaming) stage() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.stage
}

// note makes the rename outlive the process, before the first copy. Without a note it goes on: should the process die, objects
// are under both names, which costs less than a rename that a full local disk refuses.
func (r *renaming) note() {
	if r.asked || r.t.o.Intents == nil {
		return
	}
	r.asked = true
	var err error
	if r.token, err = r.t.o.Intents.Begin(r.intent); err != nil {
		r.t.o.Log.Warn("the rename of a directory is not noted; nobody completes it if this process dies", "from", r.from, "to", r.to, "err", err)
		return
	}
	r.noted = true
}

// enter begins a stage. A note that cannot be changed is one of an earlier stage, which completes as well, but for an undo.
func (r *renaming) enter(stage string) {
	r.mu.Lock()
	r.mu.stage = stage
	r.mu.Unlock()
	r.intent.Stage = stage
	if !r.noted {
		return
	}
	if err := r.t.o.Intents.Change(r.token, r.intent); err != nil {
		r.t.o.Log.Error("the journal does not have how far a rename is", "from", r.from, "to", r.to, "stage", stage, "err", err)
	}
}

// end takes a rename off the list, and its note away when nothing of it is left to do.
func (r *renaming) end(complete bool) {
	if r.noted && complete {
		if err := r.t.o.Intents.End(r.token); err != nil {
			r.t.o.Log.Error("the note of a rename stays in the journal", "from", r.from, "to", r.to, "err", err)
		}
	}
	r.t.renamings.mu.Lock()
	defer r.t.renamings.mu.Unlock()
	delete(r.t.renamings.mu.all, r)
}

// newKey is a source's key under the new name.
func (r *renaming) newKey(key string) string {
	return r.intent.To + strings.TrimPrefix(key, r.intent.From)
}
