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
	Failed           time.Time // when StageUndo began; notes of earlier versions do not say it: then nothing is taken back
	KeepMarker       bool      // the new name was an empty directory before
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
	// Leave leaves a rename that could not be ended to who calls CompleteRename for those of earlier runs.
	Leave(token uint64, i Intent)
	// IsLeft says whether one that was left, by this run or an earlier one, has not ended yet.
	IsLeft(token uint64) bool
	// Left are those.
	Left() map[uint64]Intent
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

// end takes a rename off the list, and its note away when nothing of it is left to do. What is left of one of this run others do.
func (r *renaming) end(complete bool) {
	if r.noted && !complete && !r.earlier {
		defer r.t.o.Intents.Leave(r.token, r.intent)
	}
	if r.noted && complete {
		if err := r.t.o.Intents.End(r.token); err != nil {
			r.t.o.Log.Error("the note of a rename stays in the journal", "from", r.from, "to", r.to, "err", err)
		}
	}
	r.t.renamings.mu.Lock()
	defer r.t.renamings.mu.Unlock()
	delete(r.t.renamings.mu.all, r)
}

// dropUndo ends what was to take back failed renames of names that a rename touches: it could not tell what that makes from what
// they have left. So their copies stay. The caller has the names, so that nobody is at it.
func (t *Tree) dropUndo(from, to string) {
	if t.o.Intents == nil {
		return
	}
	touch := func(a, b string) bool { return a == b || under(a, b) || under(b, a) }
	for token, in := range t.o.Intents.Left() {
		was, into, ok := t.IntentPaths(in)
		if !ok || in.Stage != StageUndo || !touch(was, from) && !touch(was, to) && !touch(into, from) && !touch(into, to) {
			continue
		}
		t.o.Log.Warn("the copies of a rename that failed stay: one of their names is renamed", "from", was, "to", into)
		if err := t.o.Intents.End(token); err != nil {
			t.o.Log.Error("the note of a rename stays in the journal", "from", was, "to", into, "err", err)
		}
	}
}

// newKey is a source's key under the new name.
func (r *renaming) newKey(key string) string {
	return r.intent.To + strings.TrimPrefix(key, r.intent.From)
}
