package fs

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/s3client"
)

// What the model of two mounts has found, one after the other.

// When the kernel still believes in the size of a version that another host has replaced, an open makes it look again: it would
// read the new version up to the old one's end, and append there.
func TestOpenOfAnotherSize(t *testing.T) {
	for _, flags := range []uint32{syscall.O_RDONLY, syscall.O_RDWR} {
		r := newRig(t, false, never)
		r.mem.PutBytes("b", "f", []byte("old"), s3client.Headers{})
		node := r.lookup("f").NodeId
		openIt := func() (open, fuse.Status) { // as the kernel does while it trusts what it was told
			var out fuse.OpenOut
			st := r.raw.Open(nil, &fuse.OpenIn{InHeader: header(node), Flags: flags}, &out)
			return open{node, out.Fh}, st
		}
		r.mem.PutBytes("b", "f", []byte("a longer one"), s3client.Headers{})
		r.tree.Refresh("")
		if _, st := openIt(); syscall.Errno(st) != syscall.ESTALE {
			t.Fatalf("open of a version of another size: %v", st)
		}
		if e := r.lookup("f"); e.NodeId != node || e.Size != 12 {
			t.Fatalf("then it is node %d of %d bytes", e.NodeId, e.Size)
		}
		r.mem.PutBytes("b", "f", []byte("as long once"), s3client.Headers{})
		r.tree.Refresh("")
		f, st := openIt()
		r.ok("open after a lookup", st)
		if got := r.read(f, 100); got != "as long once" {
			t.Errorf("reads as %q", got)
		}
		if flags == syscall.O_RDWR {
			r.write(f, 12, " more")
		}
		r.ok("close", r.close(f))
		f, st = openIt() // what the kernel has written it knows
		r.ok("open again", st)
		r.ok("close again", r.close(f))
	}
}

// A file that another host has removed since the kernel looked is ESTALE to open: the kernel looks again, and who wants to create
// it makes a new one. ENOENT would be the end of an open with O_CREAT.
func TestOpenOfARemovedFile(t *testing.T) {
	r := newRig(t, false, never)
	r.mem.PutBytes("b", "f", []byte("x"), s3client.Headers{})
	node := r.lookup("f").NodeId
	r.mem.Remove("b", "f")
	r.tree.Refresh("")
	for _, flags := range []uint32{syscall.O_RDONLY, syscall.O_WRONLY | syscall.O_TRUNC} {
		st := r.raw.Open(nil, &fuse.OpenIn{InHeader: header(node), Flags: flags}, &fuse.OpenOut{})
		if syscall.Errno(st) != syscall.ESTALE {
			t.Errorf("open with %x: %v", flags, st)
		}
	}
	r.missing("f")
	r.ok("close", r.close(r.create("f")))
}

// After a conflict the name is what the other one stored, at once and for good.
func TestConflictLeavesTheName(t *testing.T) {
	for _, how := range []string{"close", "background"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { conflict(t, how == "background") })
		})
	}
}

func conflict(t *testing.T, behind bool) {
	r := newRig(t, behind, never)
	r.mem.PutBytes("b", "f", []byte("stored"), s3client.Headers{})
	f, st := r.open("f", syscall.O_RDWR)
	r.ok("open", st)
	r.write(f, 0, "written here")
	r.mem.PutBytes("b", "f", []byte("of theirs"), s3client.Headers{})
	time.Sleep(2 * time.Minute) // what is stored is not what was seen lately
	st = r.close(f)
	if !behind && syscall.Errno(st) != syscall.ESTALE {
		t.Fatalf("close: %v", st)
	}
	if behind {
		r.ok("close", st)
		if err := r.server.Flush(context.Background(), "", nil); err == nil {
			t.Fatal("the flush knows of no conflict")
		}
	}
	if n := len(r.mem.Keys("b")); n != 2 {
		t.Errorf("the bucket has %q", r.mem.Keys("b"))
	}
	if e, err := r.tree.Lookup(context.Background(), "f"); err != nil || e.Size != 9 {
		t.Errorf("the name is %+v, %v", e, err)
	}
	if out := r.lookup("f"); out.Size != 9 {
		t.Errorf("the kernel is told of %d bytes", out.Size)
	}
}
