package cache

import "testing"

func TestConsumedGivesMemoryBack(t *testing.T) {
	const k = testBlock
	s := &store{}
	b := newTest(t, 64, s)
	v := object("o", 20*k+5)
	view, err := b.View(t.Context(), v, 2*k, k)
	if err != nil {
		t.Fatal(err)
	}
	before := string(view.Slices()[0])
	read(t, b, v, 0, 2*k)
	read(t, b, v, 3*k, 17*k+5)
	b.Consumed(v, k/2, 10*k) // whole blocks only: 1 to 9
	for i := range int64(21) {
		if want := i < 1 || i > 9; b.Contains(v, i*k, 1) != want {
			t.Errorf("block %d present: %v, want %v", i, !want, want)
		}
	}
	read(t, b, object("other", 60*k), 0, 30*k) // takes the memory that was given back
	if string(view.Slices()[0]) != before {
		t.Error("the bytes of a View changed when its block was given up")
	}
	view.Done()
	b.Consumed(v, 15*k, 10*k) // to the end: the short last block as well
	if b.Contains(v, 20*k, 5) {
		t.Error("the last block is still there")
	}
	read(t, b, v, 0, 20*k+5)
}
