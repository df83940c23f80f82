package tree

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

func TestCreateStoreUnlink(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	_, err := r.tree.Mkdir(r.ctx, "d", Attr{Mode: 0o750, UID: 5, GID: 6})
	r.ok(err)
	r.cost("L1 P1")
	if o, ok := r.mem.Object(bkt, "d/"); !ok || o.Size != 0 || o.Headers.ContentType != dirContentType || o.Headers.Meta["mode"] != "16872" {
		t.Errorf("%+v", o)
	}
	r.missing("d/f")
	_, err = r.tree.Create("d/f", Attr{Mode: 0o600, UID: 1, GID: 2})
	r.ok(err)
	r.cost("") // the new directory is known to be empty
	if e := r.lookup("d/f"); !e.Pending || e.Mode != 0o100600 {
		t.Errorf("%+v", e)
	}
	if _, err := r.tree.Create("d/f", Attr{}); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	r.list("d", "f")
	r.fails(r.tree.Rmdir(r.ctx, "d"), ErrNotEmpty)
	r.cost("")
	r.clock.add(time.Hour) // a pending file outlives everything
	r.lookup("d/f")
	r.list("d", "f")
	r.cost("L1")
	r.upload("d/f", "hello")
	if e := r.lookup("d/f"); e.Pending || e.Size != 5 || e.ETag == "" || e.UID != 1 {
		t.Errorf("%+v", e)
	}
	r.cost("P1")
	r.clock.add(2 * time.Second)
	if e := r.lookup("d/f"); e.Mode != 0o100600 || !e.Full {
		t.Errorf("%+v", e)
	}
	r.cost("L1")
	r.ok(r.tree.Unlink(r.ctx, "d/f"))
	r.missing("d/f")
	r.cost("D1")
	r.list("d", "")
	r.ok(r.tree.Rmdir(r.ctx, "d"))
	r.missing("d")
	if keys := r.mem.Keys(bkt); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
	// never stored: no request
	r.missing("p")
	r.cost("L4 D1")
	_, err = r.tree.Create("p", Attr{})
	r.ok(err)
	r.ok(r.tree.Unlink(r.ctx, "p"))
	r.missing("p")
	_, err = r.tree.Create("p", Attr{})
	r.ok(err)
	r.tree.Discard("p")
	r.missing("p")
	r.cost("")
	if s := r.tree.Stats(); s.Pending != 0 {
		t.Errorf("%+v", s)
	}
}

func TestImplicitDirectoryStays(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt})
	r.object("d/a", "1")
	r.object("d/b", "1")
	r.list("d", "a b")
	r.ok(r.tree.Unlink(r.ctx, "d/a"))
	r.cost("L1 D1")
	r.ok(r.tree.Unlink(r.ctx, "d/b"))
	if keys := r.mem.Keys(bkt); !slices.Equal(keys, []string{"d/"}) {
		t.Errorf("left: %q", keys)
	}
	r.clock.add(time.Hour)
	if e := r.lookup("d"); !e.IsDir() {
		t.Error("the directory is gone")
	}
	r.list("d", "")
	// both at once
	r.object("e/a", "1")
	r.object("e/b", "1")
	r.list("e", "a b")
	var wg sync.WaitGroup
	for _, n := range []string{"e/a", "e/b"} {
		wg.Go(func() {
			if err := r.tree.Unlink(r.ctx, n); err != nil {
				r.Error(err)
			}
		})
	}
	wg.Wait()
	if keys := r.mem.Keys(bkt); !slices.Equal(keys, []string{"d/", "e/"}) {
		t.Errorf("left: %q", keys)
	}
	// by renaming the last away
	r.object("g/a", "1")
	r.clock.add(time.Hour)
	r.list("g", "a")
	r.ok(r.tree.Rename(r.ctx, "g/a", "d/a", false, nil))
	if _, ok := r.mem.Object(bkt, "g/"); !ok {
		t.Error("no marker")
	}
}

func TestSpecialFiles(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	_, err := r.tree.Symlink(r.ctx, "l", "some/where", Attr{UID: 3})
	r.ok(err)
	_, err = r.tree.Mknod(r.ctx, "c", Attr{Mode: typeChar | 0o600}, 0x103)
	r.ok(err)
	_, err = r.tree.Mknod(r.ctx, "p", Attr{Mode: typeFifo | 0o600}, 0)
	r.ok(err)
	r.fails(func() error { _, err := r.tree.Symlink(r.ctx, "l", "x", Attr{}); return err }(), ErrExists)
	for range 2 {
		if e := r.lookup("l"); e.Mode != 0o120777 || e.Size != 10 || e.UID != 3 {
			t.Errorf("%+v", e)
		}
		if e := r.lookup("c"); e.Mode != typeChar|0o600 || e.Rdev != 0x103 {
			t.Errorf("%+v", e)
		}
		if target, err := r.tree.Readlink(r.ctx, "l"); err != nil || target != "some/where" {
			t.Error(target, err)
		}
		r.clock.add(time.Hour)
		r.tree.Refresh("")
	}
	if b, _ := r.mem.Bytes(bkt, "l"); string(b) != "some/where" {
		t.Errorf("%q", b)
	}
	r.object("g", "", "--symlink-target", "tgt")
	if e := r.lookup("g"); e.Mode != 0o120777 || e.Size != 3 {
		t.Errorf("%+v", e)
	}
	r.last = r.mem.Counts()
	if target, err := r.tree.Readlink(r.ctx, "g"); err != nil || target != "tgt" {
		t.Error(target, err)
	}
	r.cost("")
	r.ok(r.tree.Rename(r.ctx, "g", "h", false, nil))
	if target, err := r.tree.Readlink(r.ctx, "h"); err != nil || target != "tgt" {
		t.Error(target, err)
	}
	if _, err := r.tree.Readlink(r.ctx, "p"); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestReadOnlyAndNames(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, ReadOnly: true})
	r.object("f", "x")
	_, err := r.tree.Create("x", Attr{})
	r.fails(err, ErrReadOnly)
	_, err = r.tree.Mkdir(r.ctx, "x", Attr{})
	r.fails(err, ErrReadOnly)
	_, err = r.tree.Symlink(r.ctx, "x", "y", Attr{})
	r.fails(err, ErrReadOnly)
	_, err = r.tree.SetAttr(r.ctx, "f", Change{})
	r.fails(err, ErrReadOnly)
	r.fails(r.tree.Unlink(r.ctx, "f"), ErrReadOnly)
	r.fails(r.tree.Rmdir(r.ctx, "f"), ErrReadOnly)
	r.fails(r.tree.Rename(r.ctx, "f", "g", false, nil), ErrReadOnly)
	r = newRig(t, Options{Bucket: bkt})
	long := strings.Repeat("x", 256)
	_, err = r.tree.Create(long, Attr{})
	r.fails(err, ErrNameTooLong)
	_, err = r.tree.Lookup(r.ctx, long)
	r.fails(err, ErrNameTooLong)
	_, err = r.tree.Create("a\xff", Attr{})
	r.fails(err, ErrInvalid)
	_, err = r.tree.Lookup(r.ctx, "a\xff")
	r.fails(err, ErrNotFound)
	r.object("f", "x")
	r.fails(r.tree.Rmdir(r.ctx, "f"), ErrNotDir)
	_, err = r.tree.Mkdir(r.ctx, "f", Attr{})
	r.fails(err, ErrExists)
	r.object("d/x", "x")
	r.fails(r.tree.Unlink(r.ctx, "d"), ErrIsDir)
	r.fails(r.tree.Rmdir(r.ctx, "d"), ErrNotEmpty)
	r.fails(r.tree.Unlink(r.ctx, "nix"), ErrNotFound)
	r.fails(r.tree.Rmdir(r.ctx, ""), ErrBusy)
}

func TestAccount(t *testing.T) {
	r := newRig(t, Options{Full: true}, s3mem.WithBuckets("bucket+segments", "Bad_Name", "second"))
	r.object("d/f", "x")
	r.list("", "bucket/ second/")
	r.cost("L1")
	r.missing("nothing")
	r.missing("Bad_Name")
	r.missing("bucket+segments")
	if e := r.lookup("bucket"); !e.IsDir() || e.Bucket != bkt || e.Key != "" {
		t.Errorf("%+v", e)
	}
	r.cost("")
	if e := r.lookup("bucket/d/f"); e.Bucket != bkt || e.Key != "d/f" {
		t.Errorf("%+v", e)
	}
	_, err := r.tree.Create("file", Attr{})
	r.fails(err, ErrNotPermitted)
	_, err = r.tree.Mkdir(r.ctx, "No", Attr{})
	r.fails(err, ErrInvalid)
	_, err = r.tree.Mkdir(r.ctx, bkt, Attr{})
	r.fails(err, ErrExists)
	r.last = r.mem.Counts()
	_, err = r.tree.Mkdir(r.ctx, "third", Attr{})
	r.ok(err)
	r.cost("P1")
	r.list("", "bucket/ second/ third/")
	r.missing("third/x")
	_, err = r.tree.Create("third/x", Attr{})
	r.ok(err)
	r.cost("")
	r.fails(r.tree.Rmdir(r.ctx, "third"), ErrNotEmpty)
	r.ok(r.tree.Unlink(r.ctx, "third/x"))
	r.fails(r.tree.Rmdir(r.ctx, bkt), ErrNotEmpty)
	_, err = r.mem.CreateUpload(r.ctx, "third", "big", s3client.Headers{})
	r.ok(err)
	r.fails(r.tree.Rmdir(r.ctx, "third"), ErrBusy)
	r.ok(r.tree.Rmdir(r.ctx, "second"))
	r.missing("second")
	r.list("", "bucket/ third/")
	r.fails(r.tree.Rename(r.ctx, "third", "fourth", false, nil), ErrCross)
	r.fails(r.tree.Rename(r.ctx, "bucket/d/f", "fourth", false, nil), ErrCross)
	r.ok(r.tree.Rename(r.ctx, "bucket/d/f", "third/g", false, nil))
	if b, ok := r.mem.Bytes("third", "g"); !ok || string(b) != "x" {
		t.Error("not moved across buckets")
	}
	// a bucket that vanished is a missing directory
	if _, err := r.tree.Lookup(r.ctx, "nosuch/x"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	// where the list of buckets may not be read
	r = newRig(t, Options{Full: true})
	r.fault.Add(s3fault.Rule{Call: "Buckets", Before: s3client.Denied})
	r.lookup(bkt)
	r.missing("other")
	zero := uint32(0o700)
	_, err = r.tree.SetAttr(r.ctx, bkt, Change{Mode: &zero})
	r.fails(err, ErrNotPermitted)
}

func TestPrefix(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Prefix: "p/q/"})
	r.object("p/q/a", "1")
	r.object("p/other", "1")
	r.list("", "a")
	r.lookup("a")
	_, err := r.tree.Mkdir(r.ctx, "d", Attr{Mode: 0o755})
	r.ok(err)
	if _, ok := r.mem.Object(bkt, "p/q/d/"); !ok {
		t.Error("the marker is elsewhere")
	}
	r.list("", "a d/")
	if p, ok := r.tree.PathOf(bkt, "p/q/d/x"); !ok || p != "d/x" {
		t.Error(p, ok)
	}
}
