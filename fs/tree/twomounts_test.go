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
		for _, after := range []time.Duration{2 * time.Second, time.Minute} {
			r := newRig(t, Options{Bucket: bkt, Full: true, TTL: time.Second})
			r.mem.PutBytes(bkt, "f", []byte("x"), s3client.Headers{})
			r.clock.add(time.Minute)
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
