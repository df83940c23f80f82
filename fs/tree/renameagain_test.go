package tree

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// intents is a journal in memory.
type intents struct {
	mu   sync.Mutex
	all  map[uint64]Intent
	left map[uint64]bool // those of this run
	next uint64
	log  []string
	full error
}

func (j *intents) Begin(i Intent) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.full != nil {
		return 0, j.full
	}
	if j.all == nil {
		j.all = make(map[uint64]Intent)
	}
	j.next++
	j.all[j.next] = i
	j.log = append(j.log, "begin "+i.Stage)
	return j.next, nil
}

func (j *intents) Change(token uint64, i Intent) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.all[token]; !ok {
		return errors.New("no such note")
	}
	j.all[token] = i
	j.log = append(j.log, i.Stage)
	return nil
}

func (j *intents) End(token uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.all[token]; !ok {
		return errors.New("no such note")
	}
	delete(j.all, token)
	j.log = append(j.log, "end")
	return nil
}

func (j *intents) Leave(token uint64, i Intent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.left == nil {
		j.left = make(map[uint64]bool)
	}
	j.all[token], j.left[token] = i, true
}

func (j *intents) IsLeft(token uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.all[token]
	return ok
}

func (j *intents) Left() map[uint64]Intent {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.all)
}

// only is the one intent that is left, or none.
func (j *intents) only(t *testing.T) (token uint64, in Intent, ok bool) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.all) > 1 {
		t.Fatalf("%d intents are left", len(j.all))
	}
	for token, in = range j.all {
		ok = true
	}
	return token, in, ok
}

func noMove(_, _, _, _ string, _ s3client.Object) {}

// again is a tree of the next run on the same store.
func (r *rig) nextRun(o Options) {
	r.fault.Clear()
	o.Store, o.Now = r.fault, r.clock.Now
	r.tree = New(o)
	r.Cleanup(r.tree.Close)
}

// dies makes every request fail from the nth of a call on: what a killed process does no more.
func (r *rig) dies(call string, nth int) (killed context.Context) {
	ctx, cancel := context.WithCancel(r.ctx)
	dead := func(context.Context, s3fault.Call) error { cancel(); return s3client.Canceled }
	r.fault.Add(s3fault.Rule{Call: call, Nth: nth, Hook: func(c context.Context, k s3fault.Call) error {
		r.fault.Add(s3fault.Rule{Hook: dead})
		return dead(c, k)
	}})
	return ctx
}

// A rename whose process dies at any point is completed by the next run: every object is under the new name, with its
// bytes, and none under the old.
func TestARenameThatWasKilledIsCompleted(t *testing.T) {
	const n = 30
	for _, call := range []string{"Copy", "Put", "DeleteMany", "List"} {
		for nth := 1; nth <= n; nth += 4 {
			var j intents
			r := newRig(t, Options{Bucket: bkt, Intents: &j})
			var want []string
			for i := range n {
				name := fmt.Sprintf("f%02d", i)
				if i%5 == 0 {
					name = fmt.Sprintf("sub%d/", i)
				}
				r.object("from/"+name, strings.TrimSuffix(name, "/")[:1])
				want = append(want, "to/"+name)
			}
			r.object("other", "x")
			r.mem.PutBytes(bkt, "from/", nil, s3client.Headers{ContentType: dirContentType})
			r.lookup("from")
			want = append(want, "to/", "other")
			slices.Sort(want)
			r.clock.add(time.Minute)
			ctx := r.dies(call, nth)
			err := r.tree.Rename(ctx, "from", "to", false, nil)
			if err == nil { // it has fewer of these calls
				break
			}
			r.nextRun(Options{Bucket: bkt, Intents: &j})
			token, in, ok := j.only(t)
			if !ok { // nothing had begun
				if call != "List" && nth > 1 {
					t.Errorf("%s %d: no intent", call, nth)
				}
				continue
			}
			if in.Stage == StageUndo { // as the process that lives does; a killed one says nothing
				in.Stage = StageCopy
			}
			moved := 0
			r.ok(r.tree.CompleteRename(r.ctx, token, in, func(_, _, _, _ string, _ s3client.Object) { moved++ }))
			if got := r.mem.Keys(bkt); !slices.Equal(got, want) {
				t.Errorf("%s %d, stage %s: %q", call, nth, in.Stage, got)
			}
			if _, _, ok := j.only(t); ok {
				t.Errorf("%s %d: the intent is left", call, nth)
			}
			r.missing("from")
			if got := len(r.tree.Renamings()); got != 0 {
				t.Errorf("%d renamings", got)
			}
		}
	}
}

// A failed rename whose copies cannot be deleted is taken back by the next run.
func TestARenameThatFailedIsTakenBack(t *testing.T) {
	var j intents
	r := newRig(t, Options{Bucket: bkt, Intents: &j})
	for i := range 20 {
		r.object(fmt.Sprintf("from/f%02d", i), "x")
	}
	r.object("from/d/", "")
	_, err := r.tree.Mkdir(r.ctx, "to", Attr{})
	r.ok(err)
	ctx := r.dies("Copy", 12)
	if err := r.tree.Rename(ctx, "from", "to", false, nil); err == nil {
		t.Fatal("renamed")
	}
	before := len(r.mem.Keys(bkt))
	if before <= 22 {
		t.Fatalf("%d keys", before)
	}
	r.nextRun(Options{Bucket: bkt, Intents: &j})
	r.object("to/foreign", "somebody else's")
	r.object("to/f03", "somebody else's")
	token, in, ok := j.only(t)
	if !ok || in.Stage != StageUndo || !in.KeepMarker {
		t.Fatalf("%v %+v", ok, in)
	}
	r.ok(r.tree.CompleteRename(r.ctx, token, in, noMove))
	left := slices.DeleteFunc(r.mem.Keys(bkt), func(k string) bool { return strings.HasPrefix(k, "from/") })
	if !slices.Equal(left, []string{"to/", "to/f03", "to/foreign"}) || len(r.mem.Keys(bkt)) != 24 {
		t.Errorf("%q", r.mem.Keys(bkt))
	}
	if _, _, ok := j.only(t); ok {
		t.Error("the intent is left")
	}
}

// What somebody has changed since is left where it is.
func TestACompletedRenameKeepsWhatCameSince(t *testing.T) {
	for stage, want := range map[string]string{
		StageCopy:   "from/ from/changed from/new to/ to/changed to/deleted to/moved to/same to/sub/",
		StageDelete: "from/ from/changed from/deleted from/moved from/new to/ to/changed to/same to/sub/",
	} {
		var j intents
		r := newRig(t, Options{Bucket: bkt, Intents: &j})
		for _, name := range []string{"changed", "deleted", "moved", "same"} {
			r.object("from/"+name, "old")
		}
		for _, marker := range []string{"from/", "to/", "from/sub/", "to/sub/"} { // what stays, stays in its directory
			r.object(marker, "")
		}
		r.object("to/changed", "newer, another's")
		r.object("to/same", "old")
		in := Intent{FromBucket: bkt, From: "from/", ToBucket: bkt, To: "to/", Stage: stage, Begun: r.clock.Now()}
		r.clock.add(time.Minute)
		r.object("from/new", "after the rename began")
		token, _ := j.Begin(in)
		r.ok(r.tree.CompleteRename(r.ctx, token, in, noMove))
		if got := strings.Join(r.mem.Keys(bkt), " "); got != want {
			t.Errorf("%s: %s", stage, got)
		}
	}
	r := newRig(t, Options{Bucket: bkt, Prefix: "p"})
	for _, in := range []Intent{{FromBucket: "x", From: "a/", ToBucket: bkt, To: "b/"}, {FromBucket: bkt, From: "p/a/", ToBucket: bkt, To: "q/b/"},
		{FromBucket: bkt, From: "p/a/", ToBucket: bkt, To: "p/a/b/"}, {}} {
		r.fails(r.tree.CompleteRename(r.ctx, 1, in, noMove), ErrInvalid)
	}
}

// What is taken back was made while the rename went on, and not by anybody else: neither before nor since, nor by this mount.
func TestOnlyTheCopiesOfAFailedRenameAreTakenBack(t *testing.T) {
	var j intents
	r := newRig(t, Options{Bucket: bkt, Intents: &j})
	for _, name := range []string{"before", "copy", "since", "made", "unsaved"} {
		r.object("from/"+name, "same")
	}
	r.object("to/before", "same")
	r.clock.add(time.Minute)
	in := Intent{FromBucket: bkt, From: "from/", ToBucket: bkt, To: "to/", Stage: StageUndo, Begun: r.clock.Now(), Failed: r.clock.Now().Add(time.Minute)}
	r.clock.add(time.Minute)
	r.object("to/copy", "same")
	_, err := r.tree.Create("to/made", Attr{})
	r.ok(err)
	r.tree.Stored(bkt, "to/made", r.object("to/made", "same"))
	r.object("to/unsaved", "same")
	r.lookup("to/unsaved")
	r.tree.Written("to/unsaved", r.clock.Now())
	r.clock.add(10 * time.Second)
	r.object("to/since", "same")
	token, _ := j.Begin(in)
	r.ok(r.tree.CompleteRename(r.ctx, token, in, noMove))
	left := slices.DeleteFunc(r.mem.Keys(bkt), func(k string) bool { return strings.HasPrefix(k, "from/") })
	if got := strings.Join(left, " "); got != "to/before to/made to/since to/unsaved" || len(r.mem.Keys(bkt)) != 9 {
		t.Errorf("%s", got)
	}
}

// A rename ends what was to take back a failed one of its names, and no other.
func TestARenameEndsTheUndoOfItsNames(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ends     bool
	}{
		{"from", "new", true}, {"from", "to", true}, {"from/c", "c", true}, {"x", "to/x", true}, {"up/x", "from/d/x", true},
		{"x", "y", false}, {"up", "tot", false}, {"x", "fro", false},
	} {
		var j intents
		r := newRig(t, Options{Bucket: bkt, Intents: &j})
		for _, k := range []string{"from/a", "from/b", "from/c", "from/d/e", "x", "up/x"} {
			r.object(k, k)
		}
		r.fault.Add(s3fault.Rule{Call: "Copy", Key: "to/c", Before: s3client.Denied})
		r.fault.Add(s3fault.Rule{Call: "DeleteMany", Before: s3client.Temporary})
		r.fails(r.tree.Rename(r.ctx, "from", "to", false, nil), s3client.Denied)
		r.fault.Clear()
		token, in, ok := j.only(t)
		if !ok || in.Stage != StageUndo || !j.left[token] || in.Failed.IsZero() {
			t.Fatalf("%v %+v", ok, in)
		}
		for _, k := range r.mem.Keys(bkt) { // somebody has cleared up
			if strings.HasPrefix(k, "to/") {
				r.mem.Remove(bkt, k)
			}
		}
		r.clock.add(time.Hour)
		r.ok(r.tree.Rename(r.ctx, c.from, c.to, false, nil))
		if j.IsLeft(token) == c.ends {
			t.Errorf("%s to %s: left %v", c.from, c.to, j.IsLeft(token))
		}
		if c.ends { // who had waited for the names does nothing
			r.last = r.mem.Counts()
			r.ok(r.tree.CompleteRename(r.ctx, token, in, noMove))
			r.cost("")
		}
	}
}

// A file with unsaved bytes under either name keeps both as they are: what it was made from, and what it is to replace.
func TestACompletedRenameLeavesUnsavedFilesAlone(t *testing.T) {
	for _, stage := range []string{StageCopy, StageDelete} {
		var j intents
		r := newRig(t, Options{Bucket: bkt, Full: true, Intents: &j})
		for _, name := range []string{"copied", "edited", "new", "over"} {
			r.object("from/"+name, "old")
		}
		for _, name := range []string{"copied", "edited", "over"} {
			r.object("to/"+name, "old")
		}
		base, _ := r.mem.Object(bkt, "from/edited")
		r.tree.RecoveredFile(bkt, "from/edited", 9, r.clock.Now(), base, nil)
		r.tree.RecoveredFile(bkt, "to/new", 9, r.clock.Now(), s3client.Object{}, nil)
		base, _ = r.mem.Object(bkt, "to/over")
		r.tree.RecoveredFile(bkt, "to/over", 9, r.clock.Now(), base, nil)
		in := Intent{FromBucket: bkt, From: "from/", ToBucket: bkt, To: "to/", Stage: stage, Begun: r.clock.Now()}
		token, _ := j.Begin(in)
		r.ok(r.tree.CompleteRename(r.ctx, token, in, noMove))
		if got := strings.Join(r.mem.Keys(bkt), " "); got != "from/edited from/new from/over to/copied to/edited to/over" {
			t.Errorf("%s: %s", stage, got)
		}
		if e := r.lookup("to/new"); e.Size != 9 || !e.Pending {
			t.Errorf("%s: %+v", stage, e)
		}
	}
}

// A directory whose old names could not be deleted, or not all, is left to be completed: it does not stay half under each name.
func TestARenameWhoseDeletionsFailIsLeftToBeCompleted(t *testing.T) {
	for name, rules := range map[string][]s3fault.Rule{
		"all":  {{Call: "DeleteMany", Before: s3client.Temporary}},
		"one":  {{Call: "DeleteMany", Key: "d/b", Before: s3client.Denied}, {Call: "Delete", Key: "d/b", Before: s3client.Denied}},
		"list": {{Call: "List", Nth: 2, Before: s3client.Temporary}},
	} {
		var j intents
		r := newRig(t, Options{Bucket: bkt, Full: true, Intents: &j})
		for _, k := range []string{"d/a", "d/b", "d/c"} {
			r.object(k, k)
		}
		r.lookup("d")
		r.missing("e")
		for _, rule := range rules {
			r.fault.Add(rule)
		}
		if err := r.tree.Rename(r.ctx, "d", "e", false, nil); err == nil {
			t.Errorf("%s: renamed", name)
		}
		r.fault.Clear()
		token, in, ok := j.only(t)
		if !ok || in.Stage != StageDelete || !j.left[token] || len(r.tree.Renamings()) != 0 {
			t.Fatalf("%s: %v %+v", name, ok, in)
		}
		r.ok(r.tree.CompleteRename(r.ctx, token, in, noMove))
		if got := strings.Join(r.mem.Keys(bkt), " "); got != "e/a e/b e/c" {
			t.Errorf("%s: %s", name, got)
		}
		if _, _, ok := j.only(t); ok {
			t.Errorf("%s: the intent is left", name)
		}
		r.missing("d")
	}
}

// The intent is there before the first copy, and nowhere after the end.
func TestTheIntentComesFirst(t *testing.T) {
	var j intents
	r := newRig(t, Options{Bucket: bkt, Intents: &j})
	r.object("d/a", "1")
	r.object("d/b", "2")
	r.object("one/x", "2")
	r.fault.Add(s3fault.Rule{Call: "Copy", Hook: func(context.Context, s3fault.Call) error {
		if _, in, ok := j.only(t); !ok || in.Stage != StageCopy || in.From != "d/" || in.To != "e/" {
			t.Errorf("a copy without an intent: %+v", in)
		}
		if all := r.tree.Renamings(); len(all) != 1 || all[0].From != "d" || all[0].To != "e" || all[0].Found != 2 || all[0].Deleted != 0 {
			t.Errorf("%+v", all)
		}
		return nil
	}})
	r.ok(r.tree.Rename(r.ctx, "d", "e", false, nil))
	if got := strings.Join(j.log, ", "); got != "begin copy, delete, end" {
		t.Error(got)
	}
	r.fault.Clear()
	r.ok(r.tree.Rename(r.ctx, "one", "two", false, nil)) // a single object needs none
	if len(j.log) != 3 {
		t.Errorf("%q", j.log)
	}
	// a journal that takes no note keeps nobody from renaming
	j.full = errors.New("no space")
	r.ok(r.tree.Rename(r.ctx, "e", "f", false, nil))
	if got := strings.Join(r.mem.Keys(bkt), " "); got != "f/a f/b two/x" || len(j.log) != 3 {
		t.Errorf("%s, %q", got, j.log)
	}
}

// Directories larger than what is held in memory.
func TestRenameOfManyObjects(t *testing.T) {
	for _, fail := range []bool{false, true} {
		var j intents
		r := newRig(t, Options{Bucket: bkt, Intents: &j})
		r.tree.renamings.mostHeld = 10
		const n = 2500
		for i := range n {
			r.object(fmt.Sprintf("d/s%d/f%04d", i%3, i), "x")
		}
		r.object("d/s1/", "")
		r.object("d/", "")
		r.list("", "d/")
		moved := 0
		r.fault.Add(s3fault.Rule{Call: "Copy", Nth: 2300, Hook: func(context.Context, s3fault.Call) error {
			if fail {
				return s3client.Denied
			}
			r.object("d/s0/new", "came meanwhile")
			return nil
		}})
		r.last = r.mem.Counts()
		err := r.tree.Rename(r.ctx, "d", "e", false, func(_, _, _, _ string, _ s3client.Object) { moved++ })
		keys := r.mem.Keys(bkt)
		below := func(dir string) (n int) {
			for _, k := range keys {
				if strings.HasPrefix(k, dir) {
					n++
				}
			}
			return n
		}
		r.clock.add(time.Hour)
		if fail {
			r.fails(err, s3client.Denied)
			if below("d/") != n+2 || below("e/") != 0 || moved != 0 {
				t.Errorf("%d and %d left", below("d/"), below("e/"))
			}
			continue
		}
		r.ok(err)
		if below("d/") != 2 || below("e/") != n+2 || moved != n+1 { // d/s0/new stays, and d/ with it
			t.Errorf("%d and %d, %d moved", below("d/"), below("e/"), moved)
		}
		r.list("d", "s0/")
		r.list("e", "s0/ s1/ s2/")
		r.tree.renamings.mostEver = 2000
		r.fails(r.tree.Rename(r.ctx, "e", "f", false, nil), ErrCross)
		if keys = r.mem.Keys(bkt); below("e/") != n+2 || below("f/") != 0 {
			t.Errorf("%d and %d", below("e/"), below("f/"))
		}
	}
}
