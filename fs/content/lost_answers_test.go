package content

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pailfs/cache"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// goOn is the rig itself, or a new run after a kill with what the first one left stored.
func (r *rig) goOn(t *testing.T, dir string, killed bool) *rig {
	t.Helper()
	if !killed {
		check(r.files.SyncAll(bg, nil))
		return r
	}
	next, _ := r.crash(t, dir, inBackground)
	t.Cleanup(func() { _ = r.stop() })
	if _, failed := next.files.Recover(bg); len(failed) > 0 {
		t.Errorf("recovered: %v", failed)
	}
	return next
}

// A rename of a changed file whose old object is gone while nobody was told: its bytes are those under the new name.
func TestARenameWhoseDeletionHasNoAnswer(t *testing.T) {
	for _, killed := range []bool{false, true} {
		for _, deleted := range []bool{false, true} {
			t.Run(fmt.Sprintf("killed=%v deleted=%v", killed, deleted), func(t *testing.T) {
				dir := t.TempDir()
				r := newRig(dir, inBackground)
				r.put("k", pattern(1, 60*kib))
				f := r.open("k")
				p := over(f, pattern(1, 60*kib), 100, []byte("edit"))
				wantFlush(t, f)
				rule := s3fault.Rule{Call: "Delete", Key: "k", Times: 1, After: s3client.Temporary}
				if !deleted {
					rule.Before = s3client.Temporary
				}
				r.fault.Add(rule)
				if _, moved, err := r.files.Move(bg, obj("k"), obj("m"), nil); err == nil || moved != NotMoved {
					t.Fatal(moved, err)
				}
				check(f.check())
				if r.exists("k") == deleted {
					t.Fatalf("keys %v", r.mem.Keys("b"))
				}
				wantRead(t, f, p)
				f.Close(nil)
				r = r.goOn(t, dir, killed)
				r.wantStored(t, "k", p)
				r.wantStored(t, "m", p)
				if s := r.journal.Stats(); s.Records != 0 {
					t.Errorf("journal: %+v", s)
				}
				check(r.stop())
			})
		}
	}
}

// The other name's object is not changed before the file has its own again.
func TestWhatARenameLeftIsStoredBeforeItsSourceGoes(t *testing.T) {
	r := rigFor(t, inBackground)
	r.put("k", pattern(1, 60*kib))
	f := r.open("k")
	p := over(f, pattern(1, 60*kib), 100, []byte("edit"))
	r.fault.Add(s3fault.Rule{Call: "Delete", Key: "k", Times: 1, After: s3client.Temporary})
	if _, _, err := r.files.Move(bg, obj("k"), obj("m"), nil); err == nil {
		t.Fatal("no error")
	}
	f.Close(nil)
	d := must(r.files.Detach(bg, obj("m")))
	r.wantStored(t, "k", p)
	d.Undo()
}

// An object that has got new attributes while nobody was told: a file that was changed since stands on it all the same, and
// does not miss bytes of the version before.
func TestAttributesWithoutAnAnswerUnderAChange(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprint("killed=", killed), func(t *testing.T) {
			dir := t.TempDir()
			r := newRig(dir, inBackground)
			p := pattern(1, 60*kib)
			f := r.create("k")
			write(f, 0, p)
			wantSync(t, f)
			f.Close(nil)
			r.files.drop(f, func() {})
			was := must1(r.mem.Object("b", "k"))

			f = r.open("k")
			r.setHeaders(map[string]string{"mode": "600", "mtime": fmt.Sprint(time.Now().Unix())})
			f.Touch()
			r.fault.Add(s3fault.Rule{Call: "Copy", Times: 1, After: s3client.Temporary})
			if err := f.Sync(bg); err == nil {
				t.Fatal("no error")
			}
			if now := must1(r.mem.Object("b", "k")); now.ETag == was.ETag {
				t.Fatal("the copy has the ETag of its source: this test proves nothing")
			}
			r.setHeaders(map[string]string{"mode": "644", "mtime": "1"})
			p = over(f, p, 100, []byte("edit"))
			wantFlush(t, f)
			f.Close(nil)
			r = r.goOn(t, dir, killed)
			r.wantStored(t, "k", p)
			if keys := conflictKeys(r); len(keys) > 0 {
				t.Errorf("conflicts with ourselves: %v", keys)
			}
			check(r.stop())
		})
	}
}

func TestStamp(t *testing.T) {
	h := func(kv ...string) *s3client.Headers {
		m := make(map[string]string)
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return &s3client.Headers{Meta: m}
	}
	one := stamp(7, h("mtime", "1", "mode", "2"))
	for _, other := range []string{stamp(8, h("mtime", "1", "mode", "2")), stamp(7, h("mtime", "2", "mode", "2")), stamp(7, h("mtime", "1")),
		stamp(7, h("mode", "2")), stamp(7, nil)} {
		if one == other {
			t.Errorf("one stamp of two objects: %q", one)
		}
	}
	if one != stamp(7, h("mode", "2", "mtime", "1")) || stamp(7, h("mode", "2")) != "" || stamp(7, nil) != "" {
		t.Errorf("%q %q %q", one, stamp(7, h("mode", "2")), stamp(7, nil))
	}
}

// What an earlier run was to replace may have got the attributes that it was to have before: it is the same version still.
func TestANewFileReplacesWhatGotNewAttributes(t *testing.T) {
	for _, made := range []bool{true, false} {
		dir := t.TempDir()
		r := newRig(dir, inBackground)
		was := r.put("k", pattern(1, 60*kib))
		p := pattern(2, 10*kib)
		f := r.create("k")
		write(f, 0, p)
		wantFlush(t, f)
		f.Close(nil)
		h := s3client.Headers{ContentType: "text/plain", Meta: map[string]string{"mode": "600"}}
		next, _ := r.crash(t, dir, inBackground)
		t.Cleanup(func() { _ = r.stop() })
		other := h
		if !made {
			other.Meta = map[string]string{"mode": "644"}
		}
		next.mem.PutBytes("b", "k", pattern(1, 59*kib), other) // as a copy has it: with another ETag
		must(next.files.Load(bg))
		next.files.Rewrites(obj("k"), was.ETag, h)
		next.files.Replaces(obj("k"), was.ETag)
		if _, failed := next.files.Recover(bg); len(failed) > 0 {
			t.Errorf("recovered: %v", failed)
		}
		if conflict := len(conflictKeys(next)) > 0; conflict == made {
			t.Errorf("made %v: keys %v", made, next.mem.Keys("b"))
		} else if made {
			next.wantStored(t, "k", p)
		}
		check(next.stop())
	}
}

// The version under a changed file has got new attributes, and nobody was told: it is the file's base still, and not what somebody
// else has stored.
func TestAChangeOverWhatGotNewAttributes(t *testing.T) {
	for _, asked := range []bool{true, false} {
		h := s3client.Headers{ContentType: "text/plain", Meta: map[string]string{"mode": "600"}}
		var etag string
		r := newRig(t.TempDir(), inBackground, func(o *Options) {
			o.Rewriting = func(ID) (string, s3client.Headers, bool) { return etag, h, asked }
		})
		p := pattern(1, 60*kib)
		f := r.create("k")
		write(f, 0, p)
		wantSync(t, f)
		f.Close(nil)
		etag = must1(r.mem.Object("b", "k")).ETag
		f = r.open("k")
		p = over(f, p, 100, []byte("edit"))
		r.mem.PutBytes("b", "k", pattern(1, 60*kib), h) // the copy
		if must1(r.mem.Object("b", "k")).ETag == etag {
			t.Fatal("the copy has the ETag of its source: this test proves nothing")
		}
		wantFlush(t, f)
		f.Close(nil)
		err := r.files.SyncAll(bg, nil)
		if asked {
			check(err)
			r.wantStored(t, "k", p)
		}
		if conflict := err != nil; conflict == asked {
			t.Errorf("asked %v: %v, keys %v", asked, err, r.mem.Keys("b"))
		}
		_ = r.stop() // what is lost is still unsaved, where nobody was asked
	}
}

// What a rename of an earlier run has left under the old name goes, also when the renamed file goes first.
func TestTheOldNameGoesBeforeTheFile(t *testing.T) {
	for what, goes := range map[string]func(r *rig) error{
		"stored":  func(r *rig) error { _, failed := r.files.Recover(bg); return errors.Join(failed...) },
		"deleted": func(r *rig) error { must(r.files.Detach(bg, obj("m"))).Done(); return nil },
		"renamed": func(r *rig) error { _, _, err := r.files.Move(bg, obj("m"), obj("n"), nil); return err },
		"read": func(r *rig) error {
			reader := r.open("k")
			defer reader.Close(nil)
			_, failed := r.files.Recover(bg)
			return errors.Join(failed...)
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			r := newRig(dir, inBackground)
			r.put("k", pattern(1, 60*kib))
			f := r.open("k")
			write(f, 100, []byte("edit"))
			wantFlush(t, f)
			var next *rig
			r.fault.Add(s3fault.Rule{Call: "Delete", Key: "k", Times: 1, Hook: func(context.Context, s3fault.Call) error {
				next, _ = r.crash(t, dir, inBackground)
				return s3client.Denied
			}})
			if _, _, err := r.files.Move(bg, obj("k"), obj("m"), nil); err == nil {
				t.Fatal("no error")
			}
			f.Close(nil)
			t.Cleanup(func() { _ = r.stop() })
			must(next.files.Load(bg))
			if !next.exists("k") || !next.exists("m") {
				t.Fatal(next.mem.Keys("b"))
			}
			check(goes(next))
			if next.exists("k") {
				t.Errorf("keys: %v", next.mem.Keys("b"))
			}
			check(next.stop())
		})
	}
}

// What recovery has found to be stored already is deleted, whatever version others know, while its attributes still wait.
func TestAnObjectThatRecoveryTookOverIsDeletedAsWhateverIsThere(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir, inBackground)
	f := r.create("k")
	p := pattern(1, 60*kib)
	write(f, 0, p)
	wantFlush(t, f)
	f.Close(nil)
	r.put("k", p) // by the upload that the kill has cut off
	next, _ := r.crash(t, dir, inBackground)
	_ = r.stop()
	for _, call := range []string{"Copy", "Put", "CreateUpload"} {
		next.fault.Add(s3fault.Rule{Call: call, Key: "k", Times: 1, Before: s3client.Denied})
	}
	if _, failed := next.files.Recover(bg); len(failed) == 0 {
		t.Fatal("its attributes are stored: this test proves nothing")
	}
	next.wantStored(t, "k", p)
	if !next.files.Uncertain(obj("k")) {
		t.Error("a deletion would name the version before")
	}
	check(next.files.SyncAll(bg, nil))
	if next.files.Uncertain(obj("k")) {
		t.Error("stored, and others are told")
	}
	check(next.stop())
}

// A small change whose PUT was carried out without an answer, when the cache has dropped the version under it meanwhile: what the store
// has is the file's own all the same.
func TestAPutWithoutAnAnswerWhoseBaseIsNotCached(t *testing.T) {
	for _, start := range []func(*Options){nil, inBackground} {
		t.Run(fmt.Sprintf("background=%v", start != nil), func(t *testing.T) {
			var change []func(*Options)
			if start != nil {
				change = append(change, start)
			}
			r := newRig(t.TempDir(), change...)
			r.put("k", pattern(1, 15*kib))
			filler := cache.Version{Bucket: "b", Key: "filler", ETag: r.put("filler", make([]byte, 70*mib)).ETag, Size: 70 * mib}
			f := r.open("k")
			p := over(f, pattern(1, 15*kib), 100, []byte("edit"))
			r.mu.Lock()
			r.mu.betweenPut = func() {
				for off := int64(0); off < filler.Size; off += mib {
					must(r.blocks.ReadAt(context.Background(), filler, make([]byte, mib), off))
				}
			}
			r.mu.Unlock()
			lost := r.fault.Add(s3fault.Rule{Call: "Put", Key: "k", Times: 1, After: s3client.Temporary})
			_ = f.Sync(context.Background()) // it may have found out what became of the PUT
			if lost.Struck() != 1 {
				t.Error("no answer was lost")
			}
			p = over(f, p, 10*kib, []byte("again"))
			check(f.Sync(context.Background()))
			f.Close(nil)
			r.wantStored(t, "k", p)
			if keys := r.mem.Keys("b"); len(keys) != 2 {
				t.Errorf("keys %v", keys)
			}
			check(r.stop())
		})
	}
}
