package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// Attributes that another client changes between a look and a rename stay in the object, unless it has no time of its own.
func TestRenameOfWhatSomebodyElseHasChmodded(t *testing.T) {
	for mtime, mode := range map[string]string{"50": "33152", "": "33188"} {
		r := newRig(t, Options{Bucket: bkt, Full: true})
		with := func(mode string) []string {
			if mtime == "" {
				return []string{"mode", mode}
			}
			return []string{"mode", mode, "mtime", mtime}
		}
		r.object("a", "A", with("33188")...)
		r.lookup("a")
		r.clock.add(time.Minute)
		r.lookup("a")
		r.object("a", "A", with("33152")...)
		r.ok(r.tree.Rename(r.ctx, "a", "b", false, nil))
		r.meta("b", "mode", mode)
	}
}

func TestRenameFile(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.object("a", "A", "mode", "33152", "uid", "4", "color", "red", "mtime", "50")
	r.object("b", "BB")
	r.object("d/x", "x")
	r.lookup("a")
	r.lookup("b")
	r.clock.add(time.Hour)
	before := r.lookup("a")
	var calls []string
	moved := func(fb, fk, tb, tk string, o s3client.Object) {
		calls = append(calls, fmt.Sprintf("%s/%s>%s/%s %d", fb, fk, tb, tk, o.Size))
	}
	r.fails(r.tree.Rename(r.ctx, "a", "b", true, moved), ErrExists)
	r.fails(r.tree.Rename(r.ctx, "a", "d", false, moved), ErrIsDir)
	r.fails(r.tree.Rename(r.ctx, "d", "a", false, moved), ErrNotDir)
	r.fails(r.tree.Rename(r.ctx, "d", "d/e", false, moved), ErrInvalid)
	r.fails(r.tree.Rename(r.ctx, "nix", "e", false, moved), ErrNotFound)
	r.fails(r.tree.Rename(r.ctx, "a", strings.Repeat("e", 256), false, moved), ErrNameTooLong)
	r.ok(r.tree.Rename(r.ctx, "a", "a", false, moved))
	r.last = r.mem.Counts()
	r.ok(r.tree.Rename(r.ctx, "a", "b", false, moved))
	r.cost("C1 D1")
	r.missing("a")
	after := r.lookup("b")
	r.cost("")
	if after.Mode != before.Mode || after.UID != 4 || !after.Mtime.Equal(before.Mtime) || after.Size != 1 || !after.Full {
		t.Errorf("%+v", after)
	}
	if !slices.Equal(calls, []string{"bucket/a>bucket/b 1"}) {
		t.Error(calls)
	}
	if o, _ := r.mem.Object(bkt, "b"); o.Headers.Meta["color"] != "red" || o.Headers.Meta["mtime"] != "50" {
		t.Errorf("%+v", o.Headers)
	}
	// without a stored mtime the copy must not look newer
	r.object("p", "P")
	r.clock.add(time.Hour)
	before = r.lookup("p")
	r.clock.add(time.Hour)
	r.ok(r.tree.Rename(r.ctx, "p", "q", false, nil))
	r.tree.Refresh("")
	r.clock.add(time.Hour)
	if e := r.lookup("q"); !e.Mtime.Equal(before.Mtime) || e.Mode != before.Mode {
		t.Errorf("%v, was %v", e.Mtime, before.Mtime)
	}
	// not stored yet: content's
	_, err := r.tree.Create("new", Attr{Mode: 0o640})
	r.ok(err)
	r.fails(r.tree.Rename(r.ctx, "new", "newer", false, nil), ErrBusy)
	done := r.tree.Moving("new", "newer")
	h := r.headersOf(bkt, "newer", false)
	if h.Meta["mode"] != "33184" {
		t.Errorf("%+v", h)
	}
	o, err := r.mem.Put(r.ctx, s3client.PutRequest{Bucket: bkt, Key: "newer", Headers: h, Body: strings.NewReader("x"), Size: 1})
	r.ok(err)
	o.Headers = &h
	r.tree.Stored(bkt, "newer", o)
	r.tree.Renamed("new", "newer", o)
	done()
	r.missing("new")
	if e := r.lookup("newer"); e.Mode != 0o100640 || e.Pending || e.Size != 1 || e.ETag != o.ETag {
		t.Errorf("%+v", e)
	}
}

func TestRenameDir(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	keys := []string{"d/", "d/a", "d/b-", "d/b/c", "d/b/", "d//odd", "d/tab\tx"}
	for _, k := range keys {
		r.object(k, k, "mode", "16832")
	}
	r.object("dx", "stays")
	r.object("full/x", "x")
	_, err := r.tree.Mkdir(r.ctx, "empty", Attr{Mode: 0o711})
	r.ok(err)
	r.fails(r.tree.Rename(r.ctx, "d", "full", false, nil), ErrNotEmpty)
	var calls []string
	r.lookup("d")
	r.last = r.mem.Counts()
	r.ok(r.tree.Rename(r.ctx, "d", "empty", false, func(_, fk, _, tk string, _ s3client.Object) { calls = append(calls, fk+">"+tk) }))
	r.cost("L3 C7 M2 D1")
	var want []string
	for _, k := range keys {
		want = append(want, "empty"+k[1:])
		if b, _ := r.mem.Bytes(bkt, "empty"+k[1:]); string(b) != k {
			t.Errorf("%s is %q", k, b)
		}
	}
	want = append(want, "dx", "full/x")
	slices.Sort(want)
	if got := r.mem.Keys(bkt); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if len(calls) != len(keys) {
		t.Error(calls)
	}
	r.missing("d")
	r.missing("d/a")
	r.list("", "dx empty/ full/")
	r.list("empty", "a b/ b- tab\tx")
	r.list("empty/b", "c")
	// a new directory of the old name is empty
	_, err = r.tree.Mkdir(r.ctx, "d", Attr{})
	r.ok(err)
	r.list("d", "")
	// what is not stored is content's to store first
	r.missing("empty/new")
	_, err = r.tree.Create("empty/new", Attr{})
	r.ok(err)
	r.fails(r.tree.Rename(r.ctx, "empty", "e2", false, nil), ErrBusy)
	if len(r.mem.Keys(bkt)) != len(want)+1 {
		t.Errorf("%q", r.mem.Keys(bkt))
	}
	// keys that would become too long: nothing is touched
	deep := strings.Repeat("x", 200)
	r.object("k/"+strings.Repeat(deep+"/", 4)+deep, "x")
	r.clock.add(time.Hour)
	r.fails(r.tree.Rename(r.ctx, "k", deep, false, nil), ErrNameTooLong)
}

// A rename struck by faults at any point loses nothing.
func TestRenameFaults(t *testing.T) {
	for nth := 1; nth <= struck; nth += 3 {
		for _, kind := range []string{"before", "after", "delete", "deletes"} {
			testStruckRename(t, kind, nth)
		}
	}
}

// struck is how many files the directory has whose rename is struck.
const struck = 40

// testStruckRename renames a directory whose nth copy fails, before or after it was made, or whose deletion does.
func testStruckRename(t *testing.T, kind string, nth int) {
	r := newRig(t, Options{Bucket: bkt})
	for i := range struck {
		r.object(fmt.Sprintf("from/f%02d", i), fmt.Sprintf("f%02d", i))
	}
	rule := s3fault.Rule{Call: "Copy", Nth: nth}
	switch kind {
	case "before":
		rule.Before = s3client.Temporary
	case "after":
		rule.After = s3client.Temporary
	case "delete":
		rule = s3fault.Rule{Call: "DeleteMany", Before: s3client.Temporary}
	case "deletes":
		rule = s3fault.Rule{Call: "DeleteMany", After: s3client.Temporary}
	}
	r.fault.Add(rule)
	count := 0
	err := r.tree.Rename(r.ctx, "from", "to", false, func(_, _, _, _ string, _ s3client.Object) { count++ })
	r.fails(err, s3client.Temporary)
	if count != 0 {
		t.Error("moved was called")
	}
	from, to := r.struckLeft()
	switch {
	case kind == "delete" && (from != struck || to != struck), kind == "deletes" && (from != 0 || to != struck):
		t.Errorf("%s: %d and %d left", kind, from, to)
	case (kind == "before" || kind == "after") && (from != struck || to != 0):
		t.Errorf("%s %d: %d and %d left", kind, nth, from, to)
	}
	r.fault.Clear()
	r.clock.add(time.Hour)
	dir := "from"
	if kind == "deletes" {
		dir = "to"
	}
	if got := len(strings.Fields(r.names(dir))); got != struck {
		t.Errorf("%s: %d names in %s", kind, got, dir)
	}
}

// struckLeft counts what the store has in both directories. Each object holds its own name.
func (r *rig) struckLeft() (from, to int) {
	for _, k := range r.mem.Keys(bkt) {
		b, _ := r.mem.Bytes(bkt, k)
		dir, name := split(k)
		if string(b) != name {
			r.Errorf("%s is %q", k, b)
		}
		if dir == "from" {
			from++
		} else {
			to++
		}
	}
	return from, to
}

func TestRenameWhoseDeletionFails(t *testing.T) {
	// Both are there, and both are seen.
	r := newRig(t, Options{Bucket: bkt})
	r.object("a", "A")
	r.fault.Add(s3fault.Rule{Call: "Delete", Before: s3client.Temporary})
	r.fails(r.tree.Rename(r.ctx, "a", "b", false, nil), s3client.Temporary)
	r.list("", "a b")
	// Its answer is lost: the copy is all that there is.
	for _, rule := range []s3fault.Rule{{After: s3client.Temporary}, {Refused: s3client.Throttled}, {Refused: s3client.Denied}} {
		r = newRig(t, Options{Bucket: bkt})
		r.object("a", "A")
		rule.Call = "Delete"
		r.fault.Add(rule)
		r.fails(r.tree.Rename(r.ctx, "a", "b", false, nil), ErrCopied)
		r.list("", "b")
	}
	// It is refused: what was unsaved under the new name is still there, with attributes of its own.
	r = newRig(t, Options{Bucket: bkt, Full: true})
	r.object("a", "A", "mode", "33261")
	r.object("b", "B", "mode", "33152")
	r.lookup("b")
	r.tree.Written("b", r.clock.Now())
	r.fault.Add(s3fault.Rule{Call: "Delete", Before: s3client.Denied})
	if err := r.tree.Rename(r.ctx, "a", "b", false, nil); !errors.Is(err, s3client.Denied) || errors.Is(err, ErrCopied) {
		t.Error(err)
	}
	if e := r.lookup("b"); e.Mode != 0o100600 || r.tree.Stats().Changes != 1 {
		t.Errorf("%+v, %+v", e, r.tree.Stats())
	}
}

// Somebody writes the source while it is being renamed.
func TestRenameOfAChangedSource(t *testing.T) {
	// The copy is refused.
	r := newRig(t, Options{Bucket: bkt})
	r.object("a", "A")
	r.lookup("a")
	r.object("a", "newer")
	r.fails(r.tree.Rename(r.ctx, "a", "b", false, nil), s3client.Changed)
	r.ok(r.tree.Rename(r.ctx, "a", "b", false, nil))
	if b, _ := r.mem.Bytes(bkt, "b"); string(b) != "newer" {
		t.Errorf("%q", b)
	}
	// In a directory such a source is copied as it is now, and one that vanished is left out.
	r = newRig(t, Options{Bucket: bkt})
	for _, k := range []string{"d/a", "d/b", "d/c"} {
		r.object(k, "1")
	}
	r.fault.Add(s3fault.Rule{Call: "Copy", Nth: 1, Hook: func(context.Context, s3fault.Call) error {
		r.mem.Remove(bkt, "d/c")
		r.mem.PutBytes(bkt, "d/b", []byte("newer"), s3client.Headers{})
		return s3client.Changed
	}})
	err := r.tree.Rename(r.ctx, "d", "e", false, nil)
	r.ok(err)
	if b, _ := r.mem.Bytes(bkt, "e/a"); string(b) != "1" {
		t.Errorf("%q", r.mem.Keys(bkt))
	}
	r.clock.add(time.Hour)
	if got := r.mem.Keys(bkt); strings.Contains(strings.Join(got, " "), "d/") {
		t.Errorf("%q", got)
	}
}

// changeDuring changes an object behind the nth copy of a rename.
func (r *rig) changeDuring(nth int, takes time.Duration, change func()) {
	n := 0
	r.tree.o.Copy = func(ctx context.Context, src s3client.Object, bucket, key string, h *s3client.Headers) (s3client.Object, error) {
		o, err := r.tree.copyOnce(ctx, src, bucket, key, h)
		if n++; n == nth {
			r.clock.add(takes)
			change()
		}
		return o, err
	}
}

// What another host stores at the old name while a file is copied stays there. A copy that took less than a second is not
// worth a look.
func TestRenameKeepsWhatSomebodyStoredMeanwhile(t *testing.T) {
	for _, noReplace := range []bool{false, true} {
		r := newRig(t, Options{Bucket: bkt, Full: true})
		r.object("a", "old", "mtime", "1")
		r.lookup("a")
		r.changeDuring(1, time.Minute, func() { r.object("a", "newer, another host's", "mtime", "2") })
		err := r.tree.Rename(r.ctx, "a", "b", noReplace, nil)
		if !errors.Is(err, s3client.Changed) || errors.Is(err, ErrCopied) {
			t.Errorf("rename: %v", err)
		}
		r.list("", "a b")
		if e := r.lookup("a"); e.Size != 21 {
			t.Errorf("%+v", e)
		}
		if got, _ := r.mem.Bytes(bkt, "a"); string(got) != "newer, another host's" {
			t.Errorf("the old name has %q", got)
		}
	}
	for call, want := range map[string]string{"": "H1 C1 D1", "Head": "C1"} { // of what cannot be looked at nothing is deleted
		r := newRig(t, Options{Bucket: bkt, Full: true})
		r.object("a", "A", "mtime", "1")
		r.lookup("a")
		r.missing("b")
		r.changeDuring(1, 2*time.Second, func() {})
		if call != "" {
			r.fault.Add(s3fault.Rule{Call: call, Before: s3client.Temporary})
		}
		r.last = r.mem.Counts()
		if err := r.tree.Rename(r.ctx, "a", "b", false, nil); (err != nil) != (call != "") || errors.Is(err, ErrCopied) {
			t.Errorf("rename: %v", err)
		}
		r.cost(want)
	}
}

// So does what comes, or is changed, below a directory; the other objects are under the new name alone.
func TestRenameDirKeepsWhatSomebodyStoredMeanwhile(t *testing.T) {
	for _, held := range []int{0, 2} {
		var log bytes.Buffer
		r := newRig(t, Options{Bucket: bkt, Full: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
		r.tree.renamings.mostHeld = held
		for _, k := range []string{"d/a", "d/b", "d/c", "d/sub/x"} {
			r.object(k, "old")
		}
		r.object("d/", "")
		r.object("d/sub/", "")
		r.lookup("d")
		moved := make(map[string]bool)
		var once sync.Once
		r.fault.Add(s3fault.Rule{Call: "Copy", Key: "e/sub/x", Hook: func(context.Context, s3fault.Call) error {
			for _, there := r.mem.Object(bkt, "e/b"); !there; _, there = r.mem.Object(bkt, "e/b") { // they are copied at the same time
				runtime.Gosched()
			}
			once.Do(func() {
				r.clock.add(time.Minute)
				r.object("d/b", "newer, another host's")
				r.object("d/new", "another host's")
			})
			return nil
		}})
		r.ok(r.tree.Rename(r.ctx, "d", "e", false, func(_, from, _, _ string, _ s3client.Object) { moved[from] = true }))
		if got := strings.Join(r.mem.Keys(bkt), " "); got != "d/ d/b d/new e/ e/a e/b e/c e/sub/ e/sub/x" {
			t.Errorf("held %d: %s", held, got)
		}
		if got, _ := r.mem.Bytes(bkt, "d/b"); string(got) != "newer, another host's" {
			t.Errorf("held %d: the old name has %q", held, got)
		}
		if len(moved) != 4 || moved["d/b"] {
			t.Errorf("held %d: moved %v", held, moved)
		}
		r.list("d", "b new")
		if !strings.Contains(log.String(), "stay under its old name") || !strings.Contains(log.String(), "objects=3") {
			t.Errorf("the log says %s", log.String())
		}
	}
}

// Nothing is moved.
func TestCanceledRename(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt})
	for i := range 100 {
		r.object(fmt.Sprintf("d/%02d", i), "1")
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	r.fault.Add(s3fault.Rule{Call: "Copy", Nth: 30, Hook: func(context.Context, s3fault.Call) error { cancel(); return nil }})
	if err := r.tree.Rename(ctx, "d", "e", false, nil); !errors.Is(err, context.Canceled) && !errors.Is(err, s3client.Canceled) {
		t.Error(err)
	}
	if n := len(r.mem.Keys(bkt)); n != 100 {
		t.Errorf("%d keys", n)
	}
}

// A target that another host deletes at that moment is none.
func TestRenameOverVanishedTarget(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.object("a", "A")
	r.object("b", "B")
	r.list("", "a b")
	r.mem.Remove(bkt, "b")
	r.last = r.mem.Counts()
	r.ok(r.tree.Rename(r.ctx, "a", "b", false, nil))
	r.cost("H2 C1 D1")
	r.missing("a")
	if e := r.lookup("b"); e.Size != 1 {
		t.Errorf("%+v", e)
	}
}

// A directory's rename that has copied and fails then is not to be made again by the kernel, which does that for ESTALE.
func TestARenameThatHasCopiedIsNotStale(t *testing.T) {
	for call, also := range map[string]string{"DeleteMany": "", "Delete": "DeleteMany", "Copy": "DeleteMany"} {
		t.Run(call, func(t *testing.T) {
			r := newRig(t, Options{Bucket: bkt, Full: true})
			r.object("sub/a", "1")
			r.object("sub/b", "1")
			for _, c := range []string{call, also} {
				if c == "Copy" { // of the second object: the first one's copy is to be taken back, and stays
					r.fault.Add(s3fault.Rule{Call: c, Key: "other/b", Hook: func(context.Context, s3fault.Call) error {
						for there := false; !there; _, there = r.mem.Object(bkt, "other/a") { // they are copied at the same time
							runtime.Gosched()
						}
						return &s3client.Error{Op: "Copy", Kind: s3client.Changed}
					}})
					r.fault.Add(s3fault.Rule{Call: "Delete", Before: s3client.Changed})
				} else if c != "" {
					r.fault.Add(s3fault.Rule{Call: c, Before: s3client.Changed})
				}
			}
			err := r.tree.Rename(r.ctx, "sub", "other", false, nil)
			if err == nil || errors.Is(err, s3client.Changed) || errors.Is(err, ErrNotFound) {
				t.Errorf("error %v", err)
			}
			if keys := r.mem.Keys(bkt); !slices.Contains(keys, "other/a") || !slices.Contains(keys, "sub/b") {
				t.Errorf("keys %q: this test proves nothing", keys)
			}
			r.fault.Clear()
		})
	}
}
