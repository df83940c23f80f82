package content

import "testing"

// The bytes between many small changes are fetched in one piece, not one by one.
func TestSourceAhead(t *testing.T) {
	r := rigFor(t, func(o *Options) { o.Readahead = -1 })
	want := pattern(1, 200*kib)
	r.put("k", want)
	f := r.open("k")
	defer f.Close(nil)
	for off := int64(8 * kib); off < 100*kib; off += 16 * kib {
		write(f, off, []byte("x"))
		want[off] = 'x'
	}
	c := content{r.present(f), bg, r.blocks}
	got := r.calls(func() {
		c.Ahead(8*kib+1, 90*kib)
		p := make([]byte, 90*kib)
		if _, err := c.ReadAt(p, 8*kib+1); err != nil {
			t.Fatal(err)
		}
	})
	wantCalls(t, "a part with many changes", got, map[string]int64{"Get": 1})
	if c.Ahead(150*kib, 0); r.mem.Calls()["Get"] != 1 {
		t.Error("fetched for nothing")
	}
	wantSync(t, f)
	r.wantStored(t, "k", want)
}
