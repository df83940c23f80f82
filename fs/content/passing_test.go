package content

import (
	"context"
	"errors"
	"os"
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

const (
	passAfter = 60 * kib // the first memory is that for the bytes from 64 KiB on
	lentUnit  = 64 * kib
)

// passing lets files pass through so many bytes of memory.
func passing(most int64) func(*Options) {
	return func(o *Options) {
		o.PassAfter = passAfter
		o.Journal.BorrowFrom(o.Blocks.Lend, most)
	}
}

// held is what the cache has lent.
func (r *rig) held() int64 { return r.blocks.Stats().HeldBytes }

// onDisk is how long the file of a file's spool is.
func onDisk(t *testing.T, f *File) int64 {
	t.Helper()
	f.mu.Lock()
	spool := f.mu.spool
	f.mu.Unlock()
	fi, err := os.Stat(spool.Name())
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size()
}

const longSize = 1200*kib + 77

// passes writes a long file whose parts are acknowledged one after the other.
func passes(t *testing.T, f *File, p []byte) {
	t.Helper()
	const piece = 4 * kib
	for off := 0; off < len(p); off += piece {
		write(f, int64(off), p[off:min(off+piece, len(p))])
		if st := f.currentStream(); st != nil {
			if err := st.Wait(context.Background(), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A long file goes through the memory that there is; its first bytes and the newest stay. Its end gives the memory back, and
// it is read as before, from what is here and from the store.
func TestALongFilePassesThroughMemory(t *testing.T) {
	r := rigFor(t, passing(4*lentUnit))
	f := r.create("k")
	p := pattern(1, longSize)
	passes(t, f, p)
	if n := onDisk(t, f); n != lentUnit {
		t.Errorf("%d bytes are in the file", n)
	}
	if most := r.held(); most == 0 || most > 4*lentUnit {
		t.Errorf("%d bytes are lent", most)
	}
	calls := r.calls(func() {
		for _, at := range []Range{{Off: 0, Len: passAfter}, {Off: longSize - 50*kib, Len: 50 * kib}} {
			got, err := read(f, nil, at.Off, int(at.Len))
			if err != nil || string(got) != string(p[at.Off:end(at)]) {
				t.Errorf("read at %d: %v", at.Off, err)
			}
		}
		p = over(f, p, passAfter/2, pattern(7, 3*kib))
		p = over(f, p, longSize-30*kib, pattern(8, 3*kib))
	})
	if calls["CompleteUpload"] != 0 || calls["GetObject"] != 0 {
		t.Errorf("what is here cost %v", calls)
	}
	wantSync(t, f)
	r.wantStored(t, "k", p)
	if n := r.held(); n != 0 {
		t.Errorf("%d bytes are lent after the end", n)
	}
	if f.isPunched() {
		t.Error("bytes are missed that are in the base")
	}
	wantRead(t, f, p)
	p = over(f, p, len(p), pattern(3, 200*kib))
	if n := r.held(); n != 0 {
		t.Errorf("%d bytes are lent to a file that is not streamed", n)
	}
	wantSync(t, f)
	r.wantStored(t, "k", p)
	f.Close(nil)
}

// Whatever needs bytes that were given away commits before, and is right.
func TestGoingBackInALongFile(t *testing.T) {
	ctx := context.Background()
	for name, change := range map[string]func(f *File, p []byte) []byte{
		"edit":      func(f *File, p []byte) []byte { return over(f, p, 200*kib+5, pattern(9, 100)) },
		"long edit": func(f *File, p []byte) []byte { return over(f, p, 100*kib+5, pattern(9, 700*kib)) },
		"cut": func(f *File, p []byte) []byte {
			check(f.Truncate(ctx, 333*kib))
			return p[:333*kib]
		},
		"cut and written": func(f *File, p []byte) []byte {
			check(f.Truncate(ctx, longSize-100*kib))
			return over(f, p[:longSize-100*kib], longSize-100*kib, pattern(3, 300*kib))
		},
		"anew": func(f *File, p []byte) []byte {
			check(f.Truncate(ctx, 0))
			return over(f, nil, 0, pattern(7, 500*kib))
		},
		"hole": func(f *File, p []byte) []byte {
			check(f.Allocate(ctx, 500*kib, 600*kib, true, true, false))
			clear(p[500*kib : 1100*kib])
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := rigFor(t, passing(2*lentUnit))
			f := r.create("k")
			p := pattern(1, longSize)
			passes(t, f, p)
			p = change(f, p)
			if err := f.check(); err != nil {
				t.Fatal(err)
			}
			wantSync(t, f)
			r.wantStored(t, "k", p)
			wantRead(t, f, p)
			f.Close(nil)
			if n := r.held(); n != 0 {
				t.Errorf("%d bytes are lent after the end", n)
			}
		})
	}
}

// In journal durability all of a file is in its file: close returns when that is on the disk.
func TestNothingPassesInJournalDurability(t *testing.T) {
	r := rigFor(t, passing(4*lentUnit), func(o *Options) { o.Behind = true })
	f := r.create("k")
	p := pattern(1, longSize)
	passes(t, f, p)
	if n := r.held(); n != 0 || onDisk(t, f) != longSize || f.isPunched() {
		t.Errorf("%d bytes are lent, %d in the file", n, onDisk(t, f))
	}
	if err := f.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if calls := r.mem.Calls(); calls["CompleteUpload"] != 0 {
		t.Errorf("close asked the store: %v", calls)
	}
	wantSync(t, f)
	r.wantStored(t, "k", p)
	f.Close(nil)
}

// What the store does not take is on the disk when close has said so, and is found by the next run; what it took before is in
// the upload that the record names.
func TestALongFileThatIsNotStoredIsKept(t *testing.T) {
	ctx := context.Background()
	for name, rule := range map[string]s3fault.Rule{
		"no part":       {Call: "UploadPart", Before: s3client.Temporary},
		"no completion": {Call: "CompleteUpload", Before: s3client.Temporary},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := newRig(dir, passing(4*lentUnit))
			r.fault.Add(rule)
			f := r.create("k")
			p := pattern(1, longSize)
			passes(t, f, p)
			if r.held() == 0 {
				t.Fatal("nothing is lent")
			}
			if err := f.Flush(ctx); !errors.Is(err, s3client.Temporary) {
				t.Fatalf("flush: %v", err)
			}
			if n := r.held(); n != 0 {
				t.Errorf("%d bytes are in memory alone", n)
			}
			f.Close(nil)
			_ = r.stop() // it says what is not stored
			r.start(dir, passing(4*lentUnit))
			defer func() { check(r.stop()) }()
			must(r.files.Load(ctx))
			if err := r.files.SyncAll(ctx, nil); err != nil {
				t.Fatal(err)
			}
			r.wantStored(t, "k", p)
		})
	}
}

// Parts on their way leave room in memory for what is written, but as many as requests have to overlap.
func TestHowMuchOfALongFileIsOnItsWay(t *testing.T) {
	r := rigFor(t, passing(1000*kib))
	f, other := r.create("k"), r.create("other")
	for _, f := range []*File{f, other} {
		write(f, 0, pattern(1, 20*kib))
	}
	st := f.currentStream()
	if n := f.mostPassing(st); n < 1<<40 {
		t.Errorf("%d bytes before anything passes", n)
	}
	f.mu.Lock()
	f.mu.front = passAfter
	f.mu.Unlock()
	for most, want := range map[int64]int64{1000 * kib: 500*kib - 16*kib, 30 * kib: 40 * kib} {
		r.journal.BorrowFrom(r.blocks.Lend, most)
		if n := f.mostPassing(st); n != want {
			t.Errorf("%d bytes of %d, want %d", n, most, want)
		}
	}
	f.mu.Lock()
	f.mu.front = 20 * kib
	f.mu.Unlock()
	for _, f := range []*File{f, other} {
		wantSync(t, f)
		f.Close(nil)
	}
}
