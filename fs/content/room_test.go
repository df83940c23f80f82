package content

import (
	"context"
	"slices"
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

func over(f *File, p []byte, off int, q []byte) []byte {
	write(f, int64(off), q)
	if n := off + len(q); n > len(p) {
		p = append(p, make([]byte, n-len(p))...)
	}
	copy(p[off:], q)
	return p
}

// bytesHere is what the spool has of a file.
func bytesHere(f *File) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.layout.local.bytes()
}

// On a full disk everything goes that the store has, of other files too; what is on its way is waited for; and when there is
// nothing to give and nothing to wait for that is the end of it.
func TestRoomOnAFullDisk(t *testing.T) {
	ctx := context.Background()
	r := rigFor(t)
	other, f := r.create("other"), r.create("k")
	if r.files.makeRoom(ctx, f, 0) {
		t.Error("room was made of nothing")
	}
	p := pattern(1, streamSize)
	write(other, 0, p)
	check(other.currentStream().Wait(ctx, 0))
	if other.isPunched() {
		t.Fatal("the newest bytes were given away")
	}
	if !r.files.makeRoom(ctx, f, 0) || !other.isPunched() {
		t.Error("what the store has was not given away")
	}
	if before := r.files.streams.releasedSoFar(); r.files.makeRoom(ctx, f, before) {
		t.Error("room was made of nothing")
	}
	open := make(chan struct{})
	r.fault.Add(s3fault.Rule{Call: "UploadPart", Hook: func(ctx context.Context, _ s3fault.Call) error {
		<-open
		return nil
	}})
	write(f, 0, p)
	made := make(chan bool)
	go func() { made <- r.files.makeRoom(ctx, f, r.files.streams.releasedSoFar()) }()
	close(open)
	if !<-made || !f.isPunched() {
		t.Error("what was on its way was not waited for")
	}
	for _, f := range []*File{f, other} {
		wantSync(t, f)
		wantRead(t, f, p)
		f.Close(nil)
	}
}

// What was committed and stayed is given away too, while more is written behind it and while it is read.
func TestRoomOfWhatIsStored(t *testing.T) {
	ctx := context.Background()
	r := rigFor(t)
	f := r.create("k")
	p := pattern(1, streamSize)
	write(f, 0, p)
	wantSync(t, f)
	p = over(f, p, len(p), pattern(2, 10*kib))
	p = over(f, p, 100*kib, pattern(3, 5*kib))
	calls := r.calls(func() {
		if !r.files.makeRoom(ctx, f, 0) {
			t.Error("no room was made")
		}
	})
	wantCalls(t, "making room", calls, nil)
	if here := bytesHere(f); here > 16*kib || f.isPunched() {
		t.Errorf("%d bytes are here", here)
	}
	if err := f.check(); err != nil {
		t.Fatal(err)
	}
	wantRead(t, f, p)
	p = over(f, p, 50*kib, pattern(4, 100))
	wantSync(t, f)
	r.wantStored(t, "k", p)
	wantRead(t, f, p)
	f.Close(nil)
}

// A file that goes on behind a commit is committed again when that is what makes room; one that was changed elsewhere is not.
func TestRoomBehindACommit(t *testing.T) {
	ctx := context.Background()
	r := rigFor(t)
	f := r.create("k")
	p := pattern(1, streamSize)
	write(f, 0, p)
	wantSync(t, f)
	r.files.makeRoom(ctx, f, 0)
	p = over(f, p, len(p), pattern(2, 100*kib))
	if !r.files.makeRoom(ctx, f, r.files.streams.releasedSoFar()) {
		t.Error("no room was made")
	}
	r.wantStored(t, "k", p)
	if here := bytesHere(f); here != 0 {
		t.Errorf("%d bytes are here", here)
	}
	before := p
	p = over(f, slices.Clone(p), 5, pattern(3, 100))
	p = over(f, p, len(p), pattern(4, 1000))
	if r.files.makeRoom(ctx, f, r.files.streams.releasedSoFar()) {
		t.Error("room was made of an edit")
	}
	r.wantStored(t, "k", before)
	wantSync(t, f)
	r.wantStored(t, "k", p)
	wantRead(t, f, p)
	f.Close(nil)
}

// A file that is stored for a change of it, to make room or to have its bytes, is not being renamed at that moment: its name is held,
// by whoever changes it, or else asked for.
func TestTheNameIsHeldWhereAChangeStoresTheFile(t *testing.T) {
	for what, change := range map[string]func(ctx context.Context, r *rig, f *File){
		"room": func(ctx context.Context, r *rig, f *File) {
			wantSync(t, f)
			r.files.makeRoom(ctx, f, 0)
			write(f, streamSize, pattern(2, 100*kib))
			if !r.files.makeRoom(ctx, f, r.files.streams.releasedSoFar()) {
				t.Error("no room was made")
			}
		},
		"bytes": func(ctx context.Context, r *rig, f *File) {
			check(f.currentStream().Wait(bg, 0))
			if !r.files.makeRoom(ctx, f, 0) || !f.isPunched() {
				t.Fatal("all bytes are here")
			}
			if _, err := f.WriteAt(ctx, []byte("edit"), 100*kib); err != nil {
				t.Error(err)
			}
		},
	} {
		for _, named := range []bool{false, true} {
			asked := 0
			r := rigFor(t, func(o *Options) {
				o.Hold = func(context.Context, ID) (func(), error) {
					asked++
					return func() {}, nil
				}
			})
			f, ctx := r.create("k"), bg
			if named {
				ctx = Named(ctx)
			}
			write(f, 0, pattern(1, streamSize))
			change(ctx, r, f)
			if (asked > 0) == named {
				t.Errorf("%s, its name held: %v: asked for the name %d times", what, named, asked)
			}
			wantSync(t, f)
			f.Close(nil)
		}
	}
}

// What cannot be sent is no reason to wait for ever, and is tried once more.
func TestNoRoomWhileTheStoreIsAway(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	r.fault.Add(s3fault.Rule{Call: "UploadPart", Before: s3client.Temporary})
	write(f, 0, pattern(1, streamSize))
	if r.files.makeRoom(context.Background(), f, 0) {
		t.Error("room was made")
	}
	r.fault.Clear()
	if !r.files.makeRoom(context.Background(), f, 0) {
		t.Error("no room was made when the store was back")
	}
	wantSync(t, f)
	f.Close(nil)
}
