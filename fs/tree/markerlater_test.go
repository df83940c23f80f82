package tree

import (
	"testing"
	"time"
)

// A listing of a directory whose marker is still to be put does not make it one without a marker.
func TestListingBeforeTheMarkerIsPut(t *testing.T) {
	for _, walked := range []bool{true, false} {
		r, l := newLaterRig(t, Options{Bucket: bkt, TTL: time.Hour, Full: true})
		for _, key := range []string{"p/a/1", "p/b/1", "p/c/1", "p/e/1"} {
			r.object(key, "x")
		}
		r.names("p")
		r.clock.add(10 * time.Minute)
		dir := "p/d"
		if walked {
			r.mkdir(dir)
			r.store("p/d/f", "x")
			r.names("p/a")
			r.names("p/b")
		} else { // one that is a directory by what is in it
			dir = "p/e"
			r.chmod(dir, 0o750)
			r.names(dir)
		}
		l.all()
		r.clock.add(51 * time.Minute)
		r.names("p")
		if e := r.lookup(dir); e.Mode != typeDir|0o750 {
			t.Errorf("walked %v: mode %o", walked, e.Mode)
		}
	}
}
