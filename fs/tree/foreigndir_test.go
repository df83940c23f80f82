package tree

import (
	"testing"
	"time"

	"pailfs/s3client"
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
