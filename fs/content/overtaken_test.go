package content

import (
	"context"
	"crypto/md5"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// While a kept state is on its way to the store another one is kept. Neither is lost: the later one stays in the journal
// until the store has it, also when the process is killed between the two.
func TestKeptWhileAnEarlierStateIsSent(t *testing.T) {
	type change struct {
		size int // of the first state
		do   func(r *rig, f *File, want []byte) []byte
	}
	overwrite := func(n int) func(*rig, *File, []byte) []byte {
		return func(_ *rig, f *File, _ []byte) []byte {
			must(0, f.Truncate(bg, 0))
			p := pattern(9, n)
			write(f, 0, p)
			return p
		}
	}
	edit := func(_ *rig, f *File, want []byte) []byte {
		write(f, 100, []byte("edit"))
		return append(append(append([]byte(nil), want[:100]...), "edit"...), want[104:]...)
	}
	appended := func(_ *rig, f *File, want []byte) []byte {
		write(f, int64(len(want)), []byte("more"))
		return append(append([]byte(nil), want...), "more"...)
	}
	cut := func(_ *rig, f *File, want []byte) []byte {
		must(0, f.Truncate(bg, 150))
		return want[:150]
	}
	touched := func(then func(*rig, *File, []byte) []byte) func(*rig, *File, []byte) []byte {
		return func(r *rig, f *File, want []byte) []byte {
			want = then(r, f, want)
			r.setHeaders(map[string]string{"mode": "600"})
			f.Touch()
			return want
		}
	}
	for what, c := range map[string]change{
		"overwritten":             {300, overwrite(500)},
		"overwritten by less":     {300, overwrite(100)},
		"large over small":        {300, overwrite(300 * kib)},
		"small over large":        {300 * kib, overwrite(10)},
		"edited":                  {300, edit},
		"edited large":            {300 * kib, edit},
		"appended":                {300, appended},
		"appended to large":       {300 * kib, appended},
		"cut":                     {300 * kib, cut},
		"overwritten and touched": {300, touched(overwrite(500))},
		"edited and touched":      {300 * kib, touched(edit)},
		"touched":                 {300, touched(func(_ *rig, _ *File, want []byte) []byte { return want })},
	} {
		for _, killed := range []bool{false, true} {
			name := what
			if killed {
				name += ", killed"
			}
			t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { keptWhileSent(t, c.size, c.do, killed) }) })
		}
	}
}

func keptWhileSent(t *testing.T, size int, change func(*rig, *File, []byte) []byte, killed bool) {
	dir := t.TempDir()
	r := newRig(dir, inBackground)
	r.mu.now = time.Time{}
	r.files.Start(bg)
	slow := r.fault.Add(s3fault.Rule{Delay: 300 * time.Millisecond})
	want := pattern(1, size)
	f := r.create("k")
	write(f, 0, want)
	wantFlush(t, f)
	time.Sleep(200 * time.Millisecond) // the first state is on its way
	want = change(r, f, want)
	wantFlush(t, f)
	f.Close(nil)
	for range 40 { // somewhere in here the first is stored
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if err := f.check(); err != nil {
			t.Fatal(err)
		}
		if p := r.files.Progress(); p.Stored == 1 {
			break
		}
	}
	if u := r.files.Unsaved(); len(u) != 1 || !u[0].Kept || u[0].Next.IsZero() {
		t.Errorf("when the first state is stored: %+v", u)
	}
	wantRead(t, f, want)
	if killed {
		next, _ := r.crash(t, dir, inBackground)
		slow.Remove()
		r.stop()
		if n, failed := next.files.Recover(bg); n != 1 || len(failed) > 0 {
			t.Errorf("recovered %d, %v", n, failed)
		}
		r = next
	}
	time.Sleep(time.Minute)
	r.wantStored(t, "k", want)
	if keys := conflictKeys(r); len(keys) > 0 {
		t.Errorf("conflicts: %v", keys)
	}
	if s := r.journal.Stats(); s.Records != 0 {
		t.Errorf("journal: %+v", s)
	}
	if n := r.remembered(); n != 0 {
		t.Errorf("%d files are remembered", n)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// A file whose upload hangs is removed at once; the upload is aborted as soon as the store answers again.
func TestDetachWhileTheStoreHangs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		f := r.create("k")
		write(f, 0, pattern(3, 100*kib))
		st := f.currentStream()
		if st == nil {
			t.Fatal("no stream")
		}
		if err := st.Wait(bg, 0); err != nil {
			t.Fatal(err)
		}
		r.fault.Add(s3fault.Rule{Call: "AbortUpload", Delay: 5 * time.Second})
		start := time.Now()
		d := must(r.files.Detach(bg, obj("k")))
		d.Done()
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
		wantRead(t, f, pattern(3, 100*kib))
		f.Close(nil)
		wantCalls(t, "afterwards", r.calls(func() { time.Sleep(time.Minute) }), map[string]int64{"AbortUpload": 1})
		if ups, keys := r.mem.PendingUploads("b"), r.mem.Keys("b"); len(ups)+len(keys) > 0 {
			t.Errorf("in the store: %v, %v", ups, keys)
		}
	})
}

// Whoever takes a name away while the store carries out the PUT of its file waits for the answer: the PUT would come after
// the deletion otherwise.
func TestInterruptLeavesARequestItsAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(context.Context, s3fault.Call) error {
			time.Sleep(time.Second) // whether the client waits or not
			return nil
		}})
		f := r.create("k")
		write(f, 0, []byte("x"))
		wantFlush(t, f)
		f.Close(nil)
		time.Sleep(500 * time.Millisecond)
		r.files.Interrupt(obj("k"))
		d := must(r.files.Detach(bg, obj("k")))
		if r.wantStored(t, "k", []byte("x")); d.Uncertain() || r.files.Uncertain(obj("k")) {
			t.Error("the PUT was answered")
		}
		r.mem.Remove("b", "k")
		d.Done()
		time.Sleep(time.Minute)
		if r.exists("k") || r.remembered() != 0 || r.journal.Stats().Records != 0 {
			t.Error("the file is still there")
		}
	})
}

// What a file that is replaced by a rename has stored meanwhile, or may have stored, is no other writer's version.
func TestCrashAfterRenameOverWhatIsBeingStored(t *testing.T) {
	for _, answered := range []bool{true, false} {
		t.Run(fmt.Sprintf("answered %v", answered), func(t *testing.T) {
			dir := t.TempDir()
			r := newRig(dir, func(o *Options) { o.Behind = true })
			rule := s3fault.Rule{Call: "Put", Times: 1}
			if !answered {
				rule.After = s3client.Temporary
			}
			r.fault.Add(rule)
			for _, key := range []string{"k", "tmp"} {
				f := r.create(key)
				write(f, 0, []byte(key))
				wantFlush(t, f)
				f.Close(nil)
			}
			target, _ := r.files.Get(obj("k"))
			d := func() *Detaching { // as the face does, whose look at the target was before it was stored
				if err := target.storeBehind(bg); (err == nil) != answered {
					t.Fatal(err)
				}
				if answered {
					target = must(r.files.Open(obj("k"), r.base(must1(r.mem.Object("b", "k"))), Write))
				}
				return must(r.files.Detach(bg, obj("k")))
			}()
			if _, moved, err := r.files.Move(bg, obj("tmp"), obj("k"), nil); moved != MovedPending || err != nil {
				t.Fatal(moved, err)
			}
			d.Done()
			next, _ := r.crash(t, dir)
			if n, failed := next.files.Recover(bg); n != 1 || len(failed) > 0 {
				t.Errorf("recovered %d, %v", n, failed)
			}
			next.wantStored(t, "k", []byte("tmp"))
			if keys := conflictKeys(next); len(keys) > 0 {
				t.Errorf("conflicts: %v", keys)
			}
			if err := next.stop(); err != nil {
				t.Error(err)
			}
			if answered {
				target.Close(nil)
			}
			r.stop()
		})
	}
}

// A file is renamed over an open clone of itself, which is not stored yet.
func TestMoveOverAClone(t *testing.T) {
	for _, behind := range []bool{false, true} {
		r := rigFor(t, func(o *Options) { o.Behind = behind })
		want := pattern(1, 60*kib)
		r.put("src", want)
		src, dst := r.open("src"), r.create("dst")
		if n, err := dst.CloneRange(bg, src, 0, 0, 60*kib); n != 60*kib || err != nil {
			t.Fatal(n, err)
		}
		d := must(r.files.Detach(bg, obj("dst")))
		if _, moved, err := r.files.Move(bg, obj("src"), obj("dst"), nil); moved != NotMoved || err != nil {
			t.Fatal(moved, err)
		}
		r.put("dst", want) // as tree does
		r.mem.Remove("b", "src")
		r.files.Moved(obj("src"), obj("dst"), must1(r.mem.Object("b", "dst")))
		d.Done()
		wantRead(t, dst, want)
		wantRead(t, src, want)
		dst.Close(nil)
		src.Close(nil)
	}
}

// A file is synced while its commit in the background waits for its turn, and written again: that is nobody's state yet.
func TestBehindComesAfterASync(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		f := r.create("k")
		write(f, 0, []byte("synced"))
		wantFlush(t, f)
		must(0, f.take(bg, f.sending))
		time.Sleep(time.Second) // the background waits
		must(0, f.take(bg, f.turn))
		must(0, f.commitTurn(bg, f.commit))
		f.turn.give()
		write(f, 6, []byte(", not flushed"))
		f.sending.give()
		time.Sleep(time.Minute)
		r.wantStored(t, "k", []byte("synced"))
		wantSync(t, f)
		f.Close(nil)
	})
}

// What the next run finds under the name of a file is what an earlier state of it made, or what was to be deleted: it is
// replaced. Another host's version is not.
func TestRecoveryKnowsItsOwnVersions(t *testing.T) {
	first, second := pattern(1, 300), pattern(2, 500)
	for what, c := range map[string]struct {
		remote  []byte // what the store has after the crash
		replace string // ETag of Replaces; "-": not called
		theirs  bool
	}{
		"the earlier state":                 {first, "-", false},
		"another host's":                    {[]byte("theirs"), "-", true},
		"what was to be deleted":            {[]byte("old"), "old", false},
		"another one than was to be":        {[]byte("theirs"), "old", true},
		"whatever, when any was to be":      {[]byte("theirs"), "", false},
		"nothing, for it was deleted":       {nil, "old", false},
		"the state itself, without answers": {second, "-", false},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			r := newRig(dir, func(o *Options) { o.Behind = true })
			r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Before: s3client.Temporary})
			f := r.create("k")
			write(f, 0, first)
			wantFlush(t, f)
			if err := f.storeBehind(bg); err == nil {
				t.Fatal("stored")
			}
			write(f, 0, second)
			wantFlush(t, f)
			next, _ := r.crash(t, dir)
			if c.remote != nil {
				r.put("k", c.remote)
			}
			if _, err := next.files.Load(bg); err != nil {
				t.Fatal(err)
			}
			switch c.replace {
			case "-":
			case "":
				next.files.Replaces(obj("k"), "")
			default:
				next.files.Replaces(obj("k"), fmt.Sprintf("%x", md5.Sum([]byte(c.replace))))
			}
			if n, failed := next.files.Recover(bg); n != 1 || len(failed) > 0 {
				t.Errorf("recovered %d, %v", n, failed)
			}
			if keys := conflictKeys(next); c.theirs != (len(keys) == 1) {
				t.Fatalf("conflicts: %v", keys)
			} else if c.theirs {
				next.wantStored(t, "k", c.remote)
				next.wantStored(t, keys[0], second)
			} else {
				next.wantStored(t, "k", second)
			}
			if err := next.stop(); err != nil {
				t.Error(err)
			}
			f.Close(nil)
			r.stop()
		})
	}
}

// The state that a run left is written over in the next one before it is stored there; the store had carried out its PUT.
// Another host's version is kept all the same.
func TestRecoveredStateWrittenOverIsItsOwn(t *testing.T) {
	first, second := pattern(1, 300), pattern(2, 500)
	for _, theirs := range []bool{false, true} {
		for _, how := range []string{"flushed", "synced", "killed"} {
			t.Run(fmt.Sprintf("%s, theirs %v", how, theirs), func(t *testing.T) {
				behind := func(o *Options) { o.Behind = true }
				dir := t.TempDir()
				r := newRig(dir, behind)
				f := r.create("k")
				write(f, 0, first)
				wantFlush(t, f)
				next, nextDir := r.crash(t, dir, behind)
				remote := first
				if theirs {
					remote = []byte("theirs")
				}
				r.put("k", remote)
				if _, err := next.files.Load(bg); err != nil {
					t.Fatal(err)
				}
				g := must(next.files.Open(obj("k"), nil, Write))
				write(g, 0, second)
				last := next
				switch how {
				case "synced":
					if err := g.Sync(bg); (err != nil) != theirs {
						t.Errorf("synced: %v", err)
					}
				case "killed":
					wantFlush(t, g)
					last, _ = next.crash(t, nextDir, behind)
					fallthrough
				default:
					if how == "flushed" {
						wantFlush(t, g)
					}
					if n, failed := last.files.Recover(bg); n != 1 || len(failed) > 0 {
						t.Errorf("recovered %d, %v", n, failed)
					}
				}
				keys := conflictKeys(last)
				if theirs != (len(keys) == 1) {
					t.Fatalf("conflicts: %v", keys)
				}
				if theirs {
					last.wantStored(t, "k", remote)
					last.wantStored(t, keys[0], second)
				} else {
					last.wantStored(t, "k", second)
				}
				g.Close(nil)
				if last != next {
					if err := last.stop(); err != nil {
						t.Error(err)
					}
				}
				next.stop()
				f.Close(nil)
				r.stop()
			})
		}
	}
}
