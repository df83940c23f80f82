package content

import "testing"

// What was just stored is read again without asking the store for its bytes, also when its File was forgotten.
func TestWhatWasStoredNeedNotBeFetched(t *testing.T) {
	for name, c := range map[string]struct {
		size int
		gets int64
	}{"small": {16 << 10, 0}, "one byte": {1, 0}, "as large as may be": {cachedBytes, 0}, "larger": {cachedBytes + 1, 1}} {
		t.Run(name, func(t *testing.T) {
			r := rigFor(t)
			want := pattern(7, c.size)
			f := r.create("k")
			write(f, 0, want)
			wantSync(t, f)
			f.Close(nil)
			calls := r.calls(func() {
				g := r.open("k")
				wantRead(t, g, want)
				g.Close(nil)
			})
			if calls["Get"] != c.gets {
				t.Errorf("%d GETs for %d bytes that were just stored: %v", calls["Get"], c.size, calls)
			}
		})
	}
}

// Only what is wholly here is known: of a file that was changed in places the rest is fetched.
func TestWhatWasNotHereIsFetched(t *testing.T) {
	r := rigFor(t)
	want := pattern(3, 20<<10)
	r.put("k", want)
	f := r.open("k")
	write(f, 100, []byte("changed"))
	copy(want[100:], "changed")
	if err := f.Truncate(bg, 19<<10); err != nil {
		t.Fatal(err)
	}
	wantSync(t, f)
	f.Close(nil)
	g := r.open("k")
	wantRead(t, g, want[:19<<10])
	g.Close(nil)
}
