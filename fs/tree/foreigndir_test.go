package tree

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// A file is removed here, and another host makes a directory of its name: it shows when the TTL is over, empty or not. Listings
// that lag never show a directory where there was a file.
func TestDirectoryInPlaceOfARemovedFile(t *testing.T) {
	for _, key := range []string{"f/", "f/x"} {
		for _, after := range []time.Duration{2 * time.Second, time.Minute, 2 * time.Minute} {
			r := newRig(t, Options{Bucket: bkt, Full: true, TTL: time.Second})
			if after == 2*time.Minute { // made here, so that two changes may be under way in the listings
				if _, err := r.tree.Symlink(r.ctx, "f", "x", Attr{}); err != nil {
					t.Fatal(err)
				}
			} else {
				r.mem.PutBytes(bkt, "f", []byte("x"), s3client.Headers{})
				r.clock.add(time.Minute)
			}
			if _, err := r.tree.Lookup(r.ctx, "f"); err != nil {
				t.Fatal(err)
			}
			if err := r.tree.Unlink(r.ctx, "f"); err != nil {
				t.Fatal(err)
			}
			r.mem.PutBytes(bkt, key, nil, s3client.Headers{})
			r.clock.add(after)
			if e, err := r.tree.Lookup(r.ctx, "f"); err != nil || !e.IsDir() {
				t.Errorf("%s, %v later: %+v, %v", key, after, e, err)
			}
		}
	}
}

// A file is made here, and another client stores keys below its name: the directory has the name, from the first listing on.
func TestDirectoryOverAFile(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true, TTL: time.Second})
	if _, err := r.tree.Symlink(r.ctx, "f", "x", Attr{}); err != nil {
		t.Fatal(err)
	}
	r.mem.PutBytes(bkt, "f/x", nil, s3client.Headers{})
	r.clock.add(2 * time.Second)
	if e, err := r.tree.Lookup(r.ctx, "f"); err != nil || !e.IsDir() {
		t.Errorf("%+v, %v", e, err)
	}
}

// A directory is removed here and made again by another host.
func TestDirectoryMadeAgain(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true, TTL: time.Second})
	if _, err := r.tree.Mkdir(r.ctx, "f", Attr{Mode: 0o700}); err != nil {
		t.Fatal(err)
	}
	if err := r.tree.Rmdir(r.ctx, "f"); err != nil {
		t.Fatal(err)
	}
	r.clock.add(5 * time.Second)
	r.mem.PutBytes(bkt, "f/", nil, s3client.Headers{ContentType: dirContentType})
	r.clock.add(time.Minute)
	if e, err := r.tree.Lookup(r.ctx, "f"); err != nil || !e.IsDir() {
		t.Errorf("%+v, %v", e, err)
	}
}

// What another host makes of the attributes of a directory that was made here shows as soon as the change made here is trusted no
// longer, however late the first listing comes that shows the directory.
func TestAttributesOfADirectoryMadeHere(t *testing.T) {
	for _, first := range []time.Duration{2 * time.Second, settle - time.Second, settle + time.Second} {
		r := newRig(t, Options{Bucket: bkt, Full: true, TTL: time.Second})
		if _, err := r.tree.Mkdir(r.ctx, "d", Attr{Mode: 0o700}); err != nil {
			t.Fatal(err)
		}
		r.clock.add(first)
		r.list("", "d/") // it agrees
		r.object("d/", "", "content-type", dirContentType, "mode", strconv.Itoa(syscall.S_IFDIR|0o711))
		r.clock.add(max(0, settle-first) + 2*time.Second)
		if e := r.lookup("d"); e.Mode != typeDir|0o711 {
			t.Errorf("first listed after %v: mode %o", first, e.Mode)
		}
	}
}

// A directory is made here by old knowledge that the name is absent, while another host has put something below it: that shows when
// the knowledge is old, not a lifetime after the directory was made. So it is where the name was a directory before.
func TestWhatOthersPutBelowADirectoryMadeHere(t *testing.T) {
	for _, how := range []string{"absent", "listed", "removed here"} {
		r := newRig(t, Options{Bucket: bkt, Full: true, TTL: time.Minute})
		switch how {
		case "absent":
			r.missing("d")
		case "listed":
			r.list("", "")
		default:
			_, err := r.tree.Mkdir(r.ctx, "d", Attr{})
			r.ok(err)
		}
		if how == "removed here" {
			r.list("d", "")
			r.ok(r.tree.Rmdir(r.ctx, "d"))
		}
		r.object("d/x", "x")
		r.clock.add(50 * time.Second)
		_, err := r.tree.Mkdir(r.ctx, "d", Attr{})
		r.ok(err)
		r.clock.add(11 * time.Second)
		r.lookup("d/x")
		r.list("d", "x")
	}
}

// Files that were made here and that another host has deleted leave the listings, one HEAD each, once what was made here is no
// longer trusted; those that are still there cost nothing.
func TestListingsAskAboutWhatOthersDeleted(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true, TTL: time.Second})
	r.list("", "") // so that nothing is listed meanwhile that bears them out
	for _, name := range []string{"a", "b", "c"} {
		if _, err := r.tree.Symlink(r.ctx, name, "x", Attr{}); err != nil {
			t.Fatal(err)
		}
	}
	r.clock.add(2 * time.Second)
	for _, key := range []string{"a", "b"} {
		if err := r.mem.Delete(r.ctx, bkt, key); err != nil {
			t.Fatal(err)
		}
	}
	r.clock.add(settle + time.Second)
	r.last = r.mem.Counts()
	r.list("", "c")
	r.cost("L1 H2")
	r.clock.add(2 * time.Second)
	r.list("", "c")
	r.cost("L1")
}

// Where the listing is what is wrong, the answer holds for as long as a change made at this moment would.
func TestListingsThatLagAreNotAskedAboutAgain(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true, TTL: time.Second}, s3mem.WithListingLag(time.Hour))
	for i := range 2 * proofs {
		if _, err := r.tree.Symlink(r.ctx, fmt.Sprintf("f%04d", i), "x", Attr{}); err != nil {
			t.Fatal(err)
		}
	}
	r.clock.add(settle + time.Second)
	r.last = r.mem.Counts()
	for i, want := range []string{"L1 H256", "L1 H256", "L1"} {
		if got := len(strings.Fields(r.names(""))); got != 2*proofs {
			t.Errorf("listing %d has %d names", i, got)
		}
		r.cost(want)
		r.clock.add(2 * time.Second)
	}
}

// A link that gets another target between its lookup and its reading is read anew.
func TestReadlinkOfALinkThatChanges(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true, TTL: time.Minute})
	link := strconv.Itoa(syscall.S_IFLNK | 0o777)
	r.object("l", "before", "mode", link)
	r.lookup("l")
	r.fault.Add(s3fault.Rule{Call: "Get", Times: 1, Hook: func(context.Context, s3fault.Call) error {
		r.object("l", "behind it", "mode", link)
		return nil
	}})
	if target, err := r.tree.Readlink(r.ctx, "l"); err != nil || target != "behind it" {
		t.Errorf("%q, %v", target, err)
	}
}
