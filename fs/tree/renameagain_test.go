package tree

import (
	"context"
	"errors"
	"fmt"
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
		StageCopy:   "from/changed from/new to/changed to/deleted to/moved to/same",
		StageDelete: "from/changed from/deleted from/moved from/new to/changed to/same",
	} {
		var j intents
		r := newRig(t, Options{Bucket: bkt, Intents: &j})
		for _, name := range []string{"changed", "deleted", "moved", "same"} {
			r.object("from/"+name, "old")
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
		if below("d/") != 1 || below("e/") != n+2 || moved != n {
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
