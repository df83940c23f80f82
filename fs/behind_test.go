package fs

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/fs/content"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

func TestCloseWaitsForTheStoreOrForTheJournal(t *testing.T) {
	for _, behind := range []bool{false, true} {
		r := newRig(t, behind, never)
		f := r.create("f")
		r.write(f, 0, "text")
		var status fuse.Status
		calls := r.calls(func() { status = r.close(f) })
		r.ok("close", status)
		got, stored := r.stored("f")
		if stored == behind || stored && got != "text" || calls["Put"] == 1 == behind {
			t.Errorf("behind %v: stored %v %q with %v", behind, stored, got, calls)
		}
		if e := r.lookup("f"); e.Size != 4 {
			t.Errorf("behind %v: size %d", behind, e.Size)
		}
	}
}

func TestTheStoreGetsAFileInTheBackground(t *testing.T) {
	r := newRig(t, true, time.Millisecond)
	stored := make(chan struct{})
	r.fault.Add(s3fault.Rule{Call: "Put", Hook: func(context.Context, s3fault.Call) error { close(stored); return nil }})
	r.file("f", "text")
	<-stored
}

func TestANewFileThatIsDeletedCostsNoRequest(t *testing.T) {
	r := newRig(t, true, never)
	r.missing("f")
	calls := r.calls(func() {
		r.file("f", "text")
		r.unlink("f")
		r.drain()
	})
	if len(calls) != 0 {
		t.Errorf("%v", calls)
	}
}

func TestARenameOfAnUnsavedFileCostsOnePut(t *testing.T) {
	r := newRig(t, true, never)
	r.file("target", "old")
	r.drain()
	r.missing("tmp")
	calls := r.calls(func() {
		r.file("tmp", "new")
		r.rename("tmp", "target")
		r.drain()
	})
	if got, _ := r.stored("target"); got != "new" || calls["Put"] != 1 || calls["Copy"]+calls["Delete"]+calls["DeleteMany"] != 0 {
		t.Errorf("%q with %v", got, calls)
	}
	if _, there := r.stored("tmp"); there {
		t.Error("the old name is stored")
	}
	if e := r.lookup("target"); e.Size != 3 {
		t.Errorf("size %d", e.Size)
	}
}

func TestAFileRenamedOverAnUnsavedOneStaysTheOnlyOne(t *testing.T) {
	r := newRig(t, true, never)
	r.file("a", "aaa")
	r.file("b", "b")
	r.rename("a", "b")
	calls := r.calls(r.drain)
	if got, _ := r.stored("b"); got != "aaa" || calls["Put"] != 1 {
		t.Errorf("%q with %v", got, calls)
	}
}

func TestAnUnlinkOfAStoredFileIsCarriedOutByFsyncOfTheDirectory(t *testing.T) {
	r := newRig(t, true, never)
	r.file("f", "text")
	r.drain()
	r.unlink("f")
	if _, there := r.stored("f"); !there {
		t.Fatal("deleted at once")
	}
	r.missing("f")
	var dir fuse.OpenOut
	r.ok("opendir", r.raw.OpenDir(nil, &fuse.OpenIn{InHeader: header(1)}, &dir))
	r.ok("fsyncdir", r.raw.FsyncDir(nil, &fuse.FsyncIn{InHeader: header(1), Fh: dir.Fh}))
	r.raw.ReleaseDir(&fuse.ReleaseIn{InHeader: header(1), Fh: dir.Fh})
	if _, there := r.stored("f"); there {
		t.Error("not deleted")
	}
}

func TestFsyncStoresBytesAndAttributes(t *testing.T) {
	r := newRig(t, true, never)
	r.file("f", "text")
	f, status := r.open("f", syscall.O_RDWR)
	r.ok("open", status)
	defer r.close(f)
	r.ok("fsync", r.raw.Fsync(nil, &fuse.FsyncIn{InHeader: header(f.node), Fh: f.fh}))
	if got, _ := r.stored("f"); got != "text" {
		t.Fatalf("%q", got)
	}
	r.chmod(f.node, 0o600)
	calls := r.calls(func() { r.ok("fsync", r.raw.Fsync(nil, &fuse.FsyncIn{InHeader: header(f.node), Fh: f.fh})) })
	if calls["Copy"] != 1 {
		t.Errorf("fsync after chmod: %v", calls)
	}
}

func TestFlushStoresWhatLiesBelowAPath(t *testing.T) {
	r := newRig(t, true, never)
	for _, name := range []string{"a", "ab"} {
		r.file(name, name)
	}
	var last [2]int64
	if err := r.server.Flush(t.Context(), "a", func(done, total int64) { last = [2]int64{done, total} }); err != nil {
		t.Fatal(err)
	}
	if _, there := r.stored("a"); !there || last != [2]int64{1, 1} {
		t.Errorf("a is stored: %v; reported %v", there, last)
	}
	if _, there := r.stored("ab"); there {
		t.Error("ab is stored too")
	}
	if err := r.server.Flush(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := r.stored("ab"); got != "ab" {
		t.Errorf("ab is %q", got)
	}
}

func TestHoldKeepsAName(t *testing.T) {
	r := newRig(t, true, never)
	release, err := r.server.Hold(t.Context(), content.ID{Bucket: "b", Key: "dir/f"})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.server.face.names.own(ended, "dir"); err == nil {
		t.Error("the directory of a held name is owned")
	}
	release()
	own, err := r.server.face.names.own(t.Context(), "dir")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.server.Hold(ended, content.ID{Bucket: "b", Key: "dir/f"}); err == nil {
		t.Error("a name of an owned directory is held")
	}
	own()
	if release, err := r.server.Hold(ended, content.ID{Bucket: "elsewhere", Key: "f"}); err != nil {
		t.Errorf("an object that has no name here: %v", err)
	} else {
		release()
	}
}

func TestAFileBeingStoredHasItsSizeAndItsBytes(t *testing.T) {
	r := newRig(t, true, time.Nanosecond)
	for i := range 300 {
		name, text := fmt.Sprint("f", i), strings.Repeat("x", i+1)
		r.file(name, text)
		if e := r.lookup(name); e.Size != uint64(len(text)) {
			t.Fatalf("%s has %d bytes, not %d", name, e.Size, len(text))
		}
		f, status := r.open(name, syscall.O_RDONLY)
		r.ok("open "+name, status)
		if got := r.read(f, len(text)+1); got != text {
			t.Fatalf("%s has %d bytes to read, not %d", name, len(got), len(text))
		}
		r.close(f)
	}
}

func TestOpeningToReadTruncatesToo(t *testing.T) {
	r := newRig(t, false, never)
	r.file("f", "text")
	f, status := r.open("f", syscall.O_RDONLY|syscall.O_TRUNC)
	r.ok("open", status)
	r.ok("close", r.close(f))
	if got, there := r.stored("f"); !there || got != "" {
		t.Errorf("%q, %v", got, there)
	}
}

func TestTheStoreCopies(t *testing.T) {
	for _, behind := range []bool{false, true} {
		r := newRig(t, behind, never)
		text := strings.Repeat("0123456789abcdef", 1<<16)
		r.file("a", text)
		r.drain()
		src, status := r.open("a", syscall.O_RDONLY)
		r.ok("open", status)
		calls := r.calls(func() {
			dst := r.create("b")
			if n := r.copyRange(src, 0, dst, 0, len(text)); n != len(text) {
				t.Errorf("%d bytes were copied", n)
			}
			r.ok("close", r.close(dst))
			r.drain()
		})
		delete(calls, "List")
		delete(calls, "Head")
		if got, _ := r.stored("b"); got != text || !maps.Equal(calls, map[string]int64{"Copy": 1}) {
			t.Errorf("behind %v: %d bytes with %v", behind, len(got), calls)
		}
		// What is no copy from the beginning on is the kernel's to do.
		dst := r.create("c")
		if n := r.copyRange(src, 4096, dst, 4096, 100); n != -int(syscall.EOPNOTSUPP) {
			t.Errorf("a part of it: %d", n)
		}
		if n := r.copyRange(src, 0, dst, 4096, 100); n != -int(syscall.EOPNOTSUPP) {
			t.Errorf("to another place: %d", n)
		}
		if n := r.copyRange(dst, 0, dst, 0, 100); n != -int(syscall.EOPNOTSUPP) {
			t.Errorf("onto itself: %d", n)
		}
		r.write(dst, 0, strings.Repeat("unsaved", leastClone))
		other := r.create("d")
		if n := r.copyRange(dst, 0, other, 0, 7); n != -int(syscall.EOPNOTSUPP) {
			t.Errorf("what is not stored: %d", n)
		}
		r.file("small", text[:leastClone-1])
		r.drain()
		small, status := r.open("small", syscall.O_RDONLY)
		r.ok("open", status)
		if n := r.copyRange(small, 0, other, 0, leastClone-1); n != -int(syscall.EOPNOTSUPP) {
			t.Errorf("a small one: %d", n)
		}
		for _, f := range []open{src, dst, other, small} {
			r.ok("close", r.close(f))
		}
	}
}

func TestAFileRenamedOverOneThatMayBeStoredLeavesNothingWhenItGoes(t *testing.T) {
	r := newRig(t, true, never)
	r.file("f", "old")
	r.fault.Add(s3fault.Rule{Call: "Put", Key: "f", Times: 1, After: s3client.Temporary})
	f, status := r.open("f", syscall.O_RDWR)
	r.ok("open", status)
	if status := r.raw.Fsync(nil, &fuse.FsyncIn{InHeader: header(f.node), Fh: f.fh}); status == fuse.OK {
		t.Fatal("fsync: no error")
	}
	r.close(f)
	r.file("tmp", "newer")
	r.rename("tmp", "f")
	r.unlink("f")
	r.drain()
	if got, there := r.stored("f"); there {
		t.Errorf("%q is stored", got)
	}
}

// Nothing is stored under a name between the copy that gives its object new attributes and that copy's answer: the answer
// would say that the name is the older version.
func TestACloseWaitsForTheAttributesOfItsName(t *testing.T) {
	r := newRig(t, false, never)
	r.file("f", "one one one")
	copying, answer := make(chan struct{}), make(chan struct{})
	r.fault.Add(s3fault.Rule{Call: "Copy", Times: 1, Hook: func(context.Context, s3fault.Call) error {
		close(copying)
		<-answer
		return nil
	}})
	node := r.lookup("f").NodeId
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		r.chmod(node, 0o600)
	}()
	<-copying
	f, status := r.open("f", syscall.O_RDWR)
	r.ok("open", status)
	closed := make(chan fuse.Status, 1)
	go func() {
		r.write(f, 0, "two two two, longer")
		closed <- r.close(f)
	}()
	select {
	case status = <-closed:
		close(answer)
		<-changed
		t.Fatalf("stored before the copy's answer: %v", status)
	case <-time.After(50 * time.Millisecond): // as far as it gets
	}
	close(answer)
	<-changed
	r.ok("close", <-closed)
	if e := r.lookup("f"); e.Size != 19 || e.Mode&0o777 != 0o600 {
		t.Errorf("size %d, mode %o", e.Size, e.Mode)
	}
	f, status = r.open("f", syscall.O_RDWR)
	r.ok("open again", status)
	r.write(f, 19, "+")
	r.ok("close again", r.close(f))
	if got, _ := r.stored("f"); got != "two two two, longer+" {
		t.Errorf("stored %q", got)
	}
}
