package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pailfs/fs/upload"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// nothingStays gives all away that the store has.
func nothingStays(o *Options) { o.Retain = -1 }

// stream writes a file from its beginning in small pieces, and waits for what is on its way now and then.
func stream(t *testing.T, f *File, p []byte) {
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
	if !f.isPunched() {
		t.Fatal("nothing was given away")
	}
	if err := f.check(); err != nil {
		t.Fatal(err)
	}
}

const streamSize = 200*kib + 77

func TestAStreamLeavesTheDisk(t *testing.T) {
	r := rigFor(t, nothingStays)
	f := r.create("k")
	p := pattern(1, streamSize)
	calls := r.calls(func() { stream(t, f, p) })
	f.mu.Lock()
	gone, local := f.goneLocked(), f.mu.layout.local
	f.mu.Unlock()
	first := r.up.Limits()
	if _, off, n := first.PartAt(0); gone[0].Off != off+n {
		t.Errorf("given away from %d on, the first part ends at %d", gone[0].Off, off+n)
	}
	if here := local.bytes() - gone.bytes(); here > 40*kib {
		t.Errorf("%d bytes are here", here)
	}
	r.calls(func() { wantSync(t, f) })
	r.wantStored(t, "k", p)
	if n := r.mem.Counts().BytesOut; n != streamSize {
		t.Errorf("%d bytes sent: %v", n, calls)
	}
	wantRead(t, f, p)
	f.Close(nil)
}

func TestTheNewestStays(t *testing.T) {
	r := rigFor(t, func(o *Options) { o.Retain = 40 * kib })
	f := r.create("k")
	p := pattern(1, streamSize)
	stream(t, f, p)
	got := make([]byte, 30*kib)
	if _, err := f.mu.spool.ReadAt(got, streamSize-int64(len(got))); err != nil || string(got) != string(p[streamSize-len(got):]) {
		t.Errorf("the newest bytes are not here: %v", err)
	}
	wantSync(t, f)
	r.wantStored(t, "k", p)
	f.Close(nil)
}

// Whatever needs bytes that are not here commits before, and is right.
func TestChangesOfAPunchedFile(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		change func(f *File, p []byte) []byte
		early  bool // the change commits
	}{
		"read": {func(f *File, p []byte) []byte {
			got, err := read(f, nil, 50*kib, 20*kib)
			if err != nil || string(got) != string(p[50*kib:70*kib]) {
				panic(fmt.Sprint("read: ", err))
			}
			return p
		}, true},
		"read of what is here": {func(f *File, p []byte) []byte {
			got, err := read(f, nil, 100, 5*kib)
			if err != nil || string(got) != string(p[100:100+5*kib]) {
				panic(fmt.Sprint("read: ", err))
			}
			return p
		}, false},
		"header":                             {func(f *File, p []byte) []byte { return over(f, p, 5, pattern(9, 100)) }, false},
		"append":                             {func(f *File, p []byte) []byte { return over(f, p, len(p), pattern(9, 30*kib)) }, false},
		"part of a part":                     {func(f *File, p []byte) []byte { return over(f, p, 60*kib, pattern(9, 100)) }, true},
		"a whole part":                       {func(f *File, p []byte) []byte { return over(f, p, 8*kib, pattern(9, 8*kib)) }, false},
		"a whole part and a bit of the next": {func(f *File, p []byte) []byte { return over(f, p, 8*kib, pattern(9, 9*kib)) }, true},
		"cut in the middle": {func(f *File, p []byte) []byte {
			check(f.Truncate(ctx, 77*kib))
			return p[:77*kib]
		}, true},
		"cut to the first part": {func(f *File, p []byte) []byte {
			check(f.Truncate(ctx, 7*kib))
			return p[:7*kib]
		}, false},
		"cut to nothing, written again": {func(f *File, p []byte) []byte {
			check(f.Truncate(ctx, 0))
			return over(f, nil, 0, pattern(7, 90*kib))
		}, false},
		"longer": {func(f *File, p []byte) []byte {
			check(f.Truncate(ctx, 300*kib))
			return append(p, make([]byte, 300*kib-len(p))...)
		}, false},
		"hole": {func(f *File, p []byte) []byte {
			check(f.Allocate(ctx, 50*kib, 30*kib, true, true, false))
			clear(p[50*kib : 80*kib])
			return p
		}, true},
		"allocate": {func(f *File, p []byte) []byte {
			check(f.Allocate(ctx, 50*kib, 30*kib, true, false, false))
			return p
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := rigFor(t, nothingStays)
			f := r.create("k")
			p := pattern(1, streamSize)
			stream(t, f, p)
			calls := r.calls(func() { p = c.change(f, p) })
			if early := calls["CompleteUpload"] == 1; early != c.early {
				t.Errorf("committed early: %v; %v", early, calls)
			}
			wantSync(t, f)
			r.wantStored(t, "k", p)
			wantRead(t, f, p)
			if left := r.mem.PendingUploads("b"); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
			f.Close(nil)
		})
	}
}

// A commit that fails keeps the stream: the next one ends it, and sends nothing twice.
func TestCommitOfAPunchedFileFails(t *testing.T) {
	for _, behind := range []bool{false, true} {
		for _, rule := range []s3fault.Rule{
			{Call: "CompleteUpload", Times: 1, Before: s3client.Temporary},
			{Call: "CompleteUpload", Times: 1, After: s3client.Temporary},
			{Call: "UploadPart", Part: 1, Times: 1, Before: s3client.Temporary},
		} {
			t.Run(fmt.Sprint(behind, rule), func(t *testing.T) {
				r := rigFor(t, nothingStays, func(o *Options) { o.Behind = behind })
				f := r.create("k")
				p := pattern(1, streamSize)
				stream(t, f, p)
				r.fault.Add(rule)
				if err := f.Flush(context.Background()); err == nil {
					t.Fatal("no error")
				}
				if all := must(f.files.o.Journal.Pendings()); len(all) != 0 {
					t.Fatal("of an earlier run?")
				}
				wantSync(t, f)
				r.wantStored(t, "k", p)
				if n := r.mem.Counts().BytesOut; n > streamSize+20*kib { // the first part and the last
					t.Errorf("%d bytes sent", n)
				}
				wantRead(t, f, p)
				if n := r.journal.Stats().Records; n != 0 {
					t.Errorf("%d records are left", n)
				}
				f.Close(nil)
			})
		}
	}
}

// Appended after a failed close, then stored in the background: all of it.
func TestAppendAfterAFailedClose(t *testing.T) {
	r := rigFor(t, nothingStays)
	f := r.create("k")
	p := pattern(1, streamSize)
	stream(t, f, p)
	r.fault.Add(s3fault.Rule{Call: "CompleteUpload", Times: 1, Before: s3client.Temporary})
	if err := f.Flush(context.Background()); err == nil {
		t.Fatal("no error")
	}
	p = over(f, p, len(p), pattern(3, 70*kib))
	if err := f.storeBehind(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantSync(t, f)
	r.wantStored(t, "k", p)
	f.Close(nil)
}

// A part that a failed commit has sent, and that is written again afterwards, is sent again.
func TestLastPartIsWrittenAgainAfterAFailedCommit(t *testing.T) {
	for name, change := range map[string]func(f *File, p []byte) []byte{
		"written": func(f *File, p []byte) []byte { return over(f, p, len(p)-50, pattern(8, 50)) },
		"cut and longer": func(f *File, p []byte) []byte {
			check(f.Truncate(context.Background(), int64(len(p)-50)))
			check(f.Truncate(context.Background(), int64(len(p))))
			clear(p[len(p)-50:])
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := rigFor(t)
			f := r.create("k")
			p := pattern(1, 60*kib+77)
			write(f, 0, p)
			r.fault.Add(s3fault.Rule{Call: "CompleteUpload", Times: 1, Before: s3client.Temporary})
			if err := f.Sync(context.Background()); err == nil {
				t.Fatal("no error")
			}
			p = change(f, p)
			wantSync(t, f)
			r.wantStored(t, "k", p)
			f.Close(nil)
		})
	}
}

// An upload that the store has lost is an error for ever, and nothing short is stored; the file can be written anew.
func TestLostStream(t *testing.T) {
	r := rigFor(t, nothingStays)
	f := r.create("k")
	stream(t, f, pattern(1, streamSize))
	for _, u := range r.mem.PendingUploads("b") {
		if err := r.mem.AbortUpload(context.Background(), "b", u.Key, u.ID); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := f.Flush(context.Background()); !errors.Is(err, upload.ErrLost) {
			t.Fatalf("flush: %v", err)
		}
	}
	if _, err := f.WriteAt(context.Background(), []byte("x"), 5); !errors.Is(err, upload.ErrLost) {
		t.Errorf("write: %v", err)
	}
	if _, err := read(f, nil, 50*kib, 100); !errors.Is(err, upload.ErrLost) {
		t.Errorf("read: %v", err)
	}
	if _, there := r.mem.Object("b", "k"); there {
		t.Error("something was stored")
	}
	check(f.Truncate(context.Background(), 0))
	p := pattern(2, 70*kib)
	write(f, 0, p)
	wantSync(t, f)
	r.wantStored(t, "k", p)
	f.Close(nil)
}

// Somebody else stored another version meanwhile: both are kept, that one under the other name.
func TestConflictOfAPunchedFile(t *testing.T) {
	r := rigFor(t, nothingStays)
	r.put("k", pattern(5, 100))
	f := r.open("k")
	check(f.Truncate(context.Background(), 0))
	p, other := pattern(1, streamSize), pattern(6, 5000)
	stream(t, f, p)
	r.put("k", other)
	r.later(2 * r.files.o.CheckAfter)
	if err := f.Sync(context.Background()); !errors.Is(err, ErrConflict) {
		t.Fatalf("sync: %v", err)
	}
	r.wantStored(t, "k", p)
	all := r.files.Conflicts()
	if len(all) != 1 || all[0].Kept != obj("k") || !strings.HasPrefix(all[0].ID.Key, "k.conflict-") {
		t.Fatalf("conflicts %v", all)
	}
	r.wantStored(t, all[0].ID.Key, other)
	wantRead(t, f, p)
	f.Close(nil)
}

// The name of an open file goes: what is here is read and written still, the rest is an error and never zeros.
func TestDetachOfAPunchedFile(t *testing.T) {
	r := rigFor(t, nothingStays)
	f := r.create("k")
	p := pattern(1, streamSize)
	stream(t, f, p)
	d := must(r.files.Detach(context.Background(), obj("k")))
	d.Undo()
	wantRead(t, f, p) // the upload is there still
	f.Close(nil)

	f = r.create("l")
	stream(t, f, p)
	must(r.files.Detach(context.Background(), obj("l"))).Done()
	if _, err := read(f, nil, 50*kib, 100); err == nil {
		t.Error("bytes that are gone are read")
	}
	got, err := read(f, nil, 0, 100)
	if err != nil || string(got) != string(p[:100]) {
		t.Errorf("read: %v", err)
	}
	write(f, 50*kib, []byte("new"))
	if got, err = read(f, nil, 50*kib, 3); err != nil || string(got) != "new" {
		t.Errorf("read %q, %v", got, err)
	}
	f.Close(nil)
	if err := r.up.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if left := r.mem.PendingUploads("b"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// A run that ends, or dies, with the store away leaves the upload to the next one, which completes it.
func TestPunchedFileOfAnEarlierRun(t *testing.T) {
	for _, dies := range []bool{false, true} {
		for _, again := range []bool{false, true} { // the next run cannot store it either
			t.Run(fmt.Sprint(dies, again), func(t *testing.T) {
				dir := t.TempDir()
				r := newRig(dir, nothingStays)
				f := r.create("k")
				p := pattern(1, streamSize)
				stream(t, f, p)
				away(r)
				if err := f.Flush(context.Background()); err == nil {
					t.Fatal("no error")
				}
				if !dies {
					f.Close(nil)
				}
				r, dir = r.next(t, dir, dies)
				if again {
					away(r)
					if _, failed := r.files.Recover(context.Background()); len(failed) != 1 {
						t.Fatalf("recover: %v", failed)
					}
					r, _ = r.next(t, dir, false)
				}
				sent := r.mem.Counts().BytesOut
				if n, failed := r.files.Recover(context.Background()); n != 1 || len(failed) > 0 {
					t.Fatalf("stored %d, %v", n, failed)
				}
				r.wantStored(t, "k", p)
				if n := r.mem.Counts().BytesOut - sent; n > 50*kib {
					t.Errorf("%d bytes sent", n)
				}
				if left := r.mem.PendingUploads("b"); len(left) != 0 {
					t.Errorf("left: %v", left)
				}
				if err := r.stop(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func away(r *rig) {
	for _, call := range []string{"Put", "Copy", "CompleteUpload", "UploadPart", "Head", "Parts"} {
		r.fault.Add(s3fault.Rule{Call: call, Before: s3client.Temporary})
	}
}

// next is the next run over the same store and journal.
func (r *rig) next(t *testing.T, dir string, dies bool) (*rig, string) {
	t.Helper()
	next := &rig{mem: r.mem}
	if dies {
		t.Cleanup(func() { _ = r.stop() })
		next, dir = r.crash(t, dir, nothingStays)
	} else {
		if err := r.stop(); err == nil {
			t.Fatal("close said that all is stored")
		}
		next.start(dir, nothingStays)
	}
	if _, err := next.files.Load(bg); err != nil {
		t.Fatal(err)
	}
	return next, dir
}

// Any sequence of changes, with everything given away at once, makes the object that a plain slice is.
func TestPunchedFilesAreRight(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := rigFor(t, nothingStays)
		f := r.create("k")
		var p []byte
		for range 25 {
			switch k := rnd.IntN(12); {
			case k < 7: // on
				q := pattern(byte(rnd.IntN(256)), 1+rnd.IntN(30*kib))
				p = over(f, p, len(p), q)
				if st := f.currentStream(); st != nil && rnd.IntN(2) == 0 {
					check(st.Wait(context.Background(), 0))
				}
			case k < 8:
				p = over(f, p, rnd.IntN(len(p)+1), pattern(byte(rnd.IntN(256)), 1+rnd.IntN(20*kib)))
			case k < 9:
				size := rnd.IntN(len(p) + 20*kib)
				check(f.Truncate(context.Background(), int64(size)))
				p = append(p, make([]byte, max(0, size-len(p)))...)[:size]
			case k < 10:
				off := rnd.IntN(len(p) + 1)
				n := min(rnd.IntN(40*kib), len(p)-off)
				got, err := read(f, nil, int64(off), n)
				if err != nil || string(got) != string(p[off:off+n]) {
					t.Fatalf("seed %d: read %d+%d: %v", seed, off, n, err)
				}
			case k < 11 && len(p) > 0:
				off := rnd.IntN(len(p))
				n := min(rnd.IntN(30*kib), len(p)-off)
				check(f.Allocate(context.Background(), int64(off), int64(max(1, n)), true, true, false))
				clear(p[off : off+max(1, n)])
			default:
				wantSync(t, f)
				r.wantStored(t, "k", p)
			}
			if err := f.check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		wantSync(t, f)
		r.wantStored(t, "k", p)
		wantRead(t, f, p)
		f.Close(nil)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// A part that was given away and cut off is no part of the file that the journal tells the next run of.
func TestPartsThatWereCutOffAreNotKept(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	r := newRig(dir, nothingStays)
	f := r.create("k")
	p := pattern(1, streamSize)
	stream(t, f, p)
	p = over(f, p, 8*kib, pattern(9, 16*kib)) // two whole parts
	check(f.Truncate(ctx, 24*kib))
	p = append(p[:24*kib], pattern(7, 40*kib)...)
	for off := 24 * kib; off < len(p); off += 4 * kib {
		write(f, int64(off), p[off:off+4*kib])
		check(f.currentStream().Wait(ctx, 0))
	}
	if !f.isPunched() {
		t.Fatal("nothing was given away")
	}
	check(f.Truncate(ctx, streamSize))
	p = append(p, make([]byte, streamSize-len(p))...)
	away(r)
	if err := f.Flush(ctx); err == nil {
		t.Fatal("no error")
	}
	r, _ = r.next(t, dir, true)
	if n, failed := r.files.Recover(ctx); n != 1 || len(failed) > 0 {
		t.Fatalf("stored %d, %v", n, failed)
	}
	r.wantStored(t, "k", p)
	check(r.stop())
}

// An earlier run had another part size: its parts are taken as they are.
func TestPunchedByARunWithOtherParts(t *testing.T) {
	for _, first := range []int64{4 * kib, 16 * kib, 256 * kib} {
		for _, single := range []int64{0, streamSize} { // what goes by one PUT may have grown as well
			t.Run(fmt.Sprint(first, single), func(t *testing.T) {
				dir := t.TempDir()
				r := newRig(dir, nothingStays)
				f := r.create("k")
				p := pattern(1, streamSize)
				stream(t, f, p)
				away(r)
				if err := f.Flush(context.Background()); err == nil {
					t.Fatal("it is stored although the store is away")
				}
				if !f.isPunched() {
					t.Fatal("it is not punched")
				}
				f.Close(nil)
				if err := r.stop(); err == nil {
					t.Fatal("everything is stored although the store is away")
				}
				next := &rig{mem: r.mem, limits: testLimits}
				next.limits.FirstPart, next.limits.SinglePut = first, max(single, next.limits.SinglePut)
				next.start(dir, nothingStays)
				if _, err := next.files.Load(bg); err != nil {
					t.Fatal(err)
				}
				if n, failed := next.files.Recover(context.Background()); n != 1 || failed != nil {
					t.Errorf("stored %d, failed %v", n, failed)
				}
				if got, _ := next.mem.Bytes("b", "k"); !bytes.Equal(got, p) {
					t.Errorf("the object has %d bytes, or others", len(got))
				}
				if err := next.stop(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
