package content

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/fs/journal"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// The store is away for an hour: nothing is lost, nobody waits, few requests ask whether it is back, and then everything
// is stored at once.
func TestBehindAnHourWithoutStore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		away := r.fault.Add(s3fault.Rule{Before: s3client.Temporary})
		var want []string
		for i := range 40 {
			key := string(rune('A' + i))
			want = append(want, key)
			f := r.create(key)
			write(f, 0, []byte(key))
			wantFlush(t, f)
			f.Close(nil)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		p := r.files.Progress()
		if p.Pending != 40 || p.PendingBytes != 40 || p.Oldest.IsZero() {
			t.Errorf("progress: %+v", p)
		}
		if n := away.Struck(); n < 50 || n > 300 { // about one a minute, and each file once
			t.Errorf("%d requests while the store was away", n)
		}
		start := time.Now()
		g := r.create("late") // closing does not wait for a store that is known to be away
		write(g, 0, []byte("late"))
		wantFlush(t, g)
		g.Close(nil)
		if d := time.Since(start); d != 0 {
			t.Errorf("close took %v", d)
		}
		away.Remove()
		time.Sleep(2 * time.Minute)
		for _, key := range want {
			r.wantStored(t, key, []byte(key))
		}
		r.wantStored(t, "late", []byte("late"))
		if r.remembered() != 0 {
			t.Error("files are remembered")
		}
		if r.mu.stored[0] != obj("A") && len(r.mu.stored) != 41 {
			t.Errorf("stored in the order %v", r.mu.stored)
		}
	})
}

// Any commit that succeeds says that the store is back.
func TestBehindRetriedWhenTheStoreIsBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		away := r.fault.Add(s3fault.Rule{Before: s3client.Temporary})
		f := r.create("k")
		write(f, 0, []byte("bytes"))
		wantFlush(t, f)
		f.Close(nil)
		time.Sleep(time.Hour)
		u := r.files.Unsaved()
		if len(u) != 1 || !u[0].Kept || u[0].Tries < 60 || u[0].Tries > 80 || !u[0].Next.After(time.Now()) {
			t.Errorf("unsaved: %+v", u)
		}
		away.Remove()
		g := r.create("g")
		wantSync(t, g)
		synctest.Wait()
		r.wantStored(t, "k", []byte("bytes"))
		g.Close(nil)
	})
}

// What the store refuses is tried again, and does not hold the others up.
func TestBehindRefused(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		no := r.fault.Add(s3fault.Rule{Key: "no", Before: s3client.Denied})
		for _, key := range []string{"no", "yes"} {
			f := r.create(key)
			write(f, 0, []byte(key))
			wantFlush(t, f)
			f.Close(nil)
		}
		time.Sleep(time.Second)
		r.wantStored(t, "yes", []byte("yes"))
		if p := r.files.Progress(); p.Pending != 1 || p.Failed != 1 {
			t.Errorf("progress: %+v", p)
		}
		time.Sleep(10 * time.Minute)
		if n := no.Struck(); n < 10 || n > 20 {
			t.Errorf("%d tries in ten minutes", n)
		}
		f := must(r.files.Open(obj("no"), nil, Read))
		wantRead(t, f, []byte("no"))
		f.Close(nil)
		no.Remove()
		time.Sleep(time.Minute)
		r.wantStored(t, "no", []byte("no"))
	})
}

// A file that stays open and is written all the time is stored as its last Flush left it, within MaxLag.
// A file whose commit cannot begin, since a copy of its former version cannot be stored, waits longer each time, too.
func TestBehindAfterACopyThatIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.put("src", pattern(1, 100*kib))
		f := r.clone(t, "src", "copy", mib)
		defer f.Close(nil)
		var tries atomic.Int64
		r.fault.Add(s3fault.Rule{Key: "copy", Hook: func(context.Context, s3fault.Call) error {
			tries.Add(1)
			return s3client.Denied
		}})
		src := r.open("src")
		write(src, 0, []byte("changed"))
		wantFlush(t, src)
		src.Close(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := tries.Load(); n < 60 || n > 400 {
			t.Errorf("%d requests in an hour", n)
		}
		r.fault.Clear()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		r.wantStored(t, "copy", pattern(1, 100*kib))
		if p, _ := r.mem.Bytes("b", "src"); !bytes.HasPrefix(p, []byte("changed")) {
			t.Error("the file itself is not stored")
		}
	})
}

// In store durability the error comes with the close; the file is kept, and stored when the store takes it.
func TestFailedFlushIsKeptAndRetried(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		no := r.fault.Add(s3fault.Rule{Call: "Put", Before: s3client.Denied})
		f := r.create("k")
		write(f, 0, []byte("bytes"))
		for range 2 {
			if err := f.Flush(bg); !errors.Is(err, s3client.Denied) {
				t.Fatalf("flush: %v", err)
			}
		}
		f.Close(nil)
		if s := r.journal.Stats(); s.Records != 1 {
			t.Errorf("journal: %+v", s)
		}
		ctx, cancel := context.WithCancel(bg)
		cancel()
		g := r.create("g")
		write(g, 0, []byte("g"))
		if err := g.Flush(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted flush: %v", err)
		}
		g.Close(nil)
		if s := r.journal.Stats(); s.Records != 2 {
			t.Errorf("an interrupted close is not kept: %+v", s)
		}
		time.Sleep(5 * time.Minute)
		no.Remove()
		time.Sleep(time.Minute)
		r.wantStored(t, "k", []byte("bytes"))
		r.wantStored(t, "g", []byte("g"))
		if s := r.journal.Stats(); s.Records != 0 || r.remembered() != 0 {
			t.Errorf("left: %+v", s)
		}
	}, func(o *Options) { o.Behind = false })
}

// A conflict found in the background: both versions are kept, and who has the file open is told.
func TestBehindConflict(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.put("k", []byte("old"))
		f := r.open("k")
		time.Sleep(time.Hour)
		if err := f.Truncate(bg, 0); err != nil {
			t.Fatal(err)
		}
		write(f, 0, []byte("mine"))
		wantFlush(t, f)
		r.put("k", []byte("theirs"))
		time.Sleep(time.Second)
		r.wantStored(t, "k", []byte("theirs"))
		keys := conflictKeys(r)
		if len(keys) != 1 {
			t.Fatalf("conflict copies: %v", keys)
		}
		r.wantStored(t, keys[0], []byte("mine"))
		if err := f.Flush(bg); !errors.Is(err, ErrConflict) {
			t.Errorf("flush: %v", err)
		}
		if s := r.journal.Stats(); s.Records != 0 {
			t.Errorf("journal: %+v", s)
		}
		f.Close(nil)
	}, func(o *Options) { o.CheckAfter = -1 })
}

// Damaged bytes are an error to readers and to the commit, and are never stored.
func TestDamagedSpool(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir, func(o *Options) { o.Behind = true })
	f := r.create("k")
	write(f, 0, pattern(1, 40*kib))
	wantFlush(t, f)
	e := must(os.ReadDir(dir + "/spool"))
	if len(e) != 1 {
		t.Fatalf("%d spools", len(e))
	}
	file := must(os.OpenFile(dir+"/spool/"+e[0].Name(), os.O_RDWR, 0))
	p := make([]byte, 1)
	must(file.ReadAt(p, 20*kib))
	p[0] ^= 4
	must(file.WriteAt(p, 20*kib))
	file.Close()
	if _, err := readAll(f); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("read: %v", err)
	}
	if err := f.Sync(bg); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("sync: %v", err)
	}
	if r.exists("k") {
		t.Error("damaged bytes were stored")
	}
	f.Close(nil)
	if err := r.stop(); err == nil {
		t.Error("closed as if everything were stored")
	}
}
