package mount

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

// A mount asks for the attributes of a version once, and the next mount at that place not again, but for what changed.
func TestAttributesAreRememberedAcrossMounts(t *testing.T) {
	s := start(t)
	w := &writing{t: t, s: s, bucket: s.Bucket(t)}
	for i := range 20 {
		s.Put(t, w.bucket, fmt.Sprintf("d/f%02d", i), []byte("x"), map[string]string{"mode": "33152", "uid": "7", "mtime": fmt.Sprint(1e9 + i)})
	}
	s.Put(t, w.bucket, "d/", nil, map[string]string{"mode": "16832", "uid": "7"})
	last := head(t, s, w.bucket, "d/").Modified
	eventually(t, "the objects are some seconds old", func() bool { return time.Since(last) > 3*time.Second })
	w.behind()
	home := testenv.CacheHome(t.TempDir())
	look := func() string {
		t.Helper()
		return sh(t, w.m.Dir, "ls -ln --time-style=+%s d | tail -n +2; stat -c '%a %u' d; ls -ld --time-style=+%s d/f00")
	}
	w.m = w.mount(inStore, home)
	look()
	if n := len(w.took().of(storeproxy.Head, storeproxy.Get)); n != 21 {
		t.Errorf("the first look asked for the attributes of %d objects, want 21", n)
	}
	sh(t, w.m.Dir, "echo here > d/made; chmod 600 d/made; touch -d @5 d/made; mkdir d/dir")
	first := look()
	w.m.Unmount()
	s.Put(t, w.bucket, "d/f07", []byte("x"), map[string]string{"mode": "33279", "uid": "9", "mtime": "1000000007"}) // the same bytes
	w.took()

	// Not of markers: the embedded server gives a directory another time when something is made in it.
	asks := func() (of requests) {
		for _, r := range w.took().of(storeproxy.Head, storeproxy.Get) {
			if !strings.HasSuffix(r.Key, "/") {
				of = append(of, r)
			}
		}
		return of
	}
	w.again(inStore, home)
	if _, err := os.Stat(w.path("d/f07")); err != nil {
		t.Fatal(err)
	}
	if asked := asks(); len(asked) != 1 {
		t.Errorf("after a change elsewhere: %v, want one", asked)
	}
	if got := sh(t, w.m.Dir, "stat -c '%a %u %Y' d/f07"); got != "777 9 1000000007" {
		t.Errorf("f07 is %s", got)
	}
	sh(t, w.m.Dir, "rm d/f07")
	again := look()
	if asked := asks(); len(asked) > 0 {
		t.Errorf("what an earlier mount knew was asked for: %v", asked)
	}
	w.m.Unmount()
	w.again(inStore, home)
	if got := look(); got != again {
		t.Errorf("a third mount shows\n%s\nwant\n%s", got, again)
	}
	if asked := asks(); len(asked) > 0 {
		t.Errorf("the third mount asked %v", asked)
	}
	if first == again {
		t.Error("nothing was looked at")
	}
}

// Whatever is in the place of the file, the mount works.
func TestNoPlaceForAttributesIsNoError(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	put(t, s, bucket, "f", []byte("x"))
	file := t.TempDir() + "/file"
	write(t, file, nil)
	m := mount(t, s, bucket, testenv.CacheHome(file))
	sameBytes(t, "f", read(t, m.Path("f")), []byte("x"))
}
