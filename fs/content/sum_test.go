package content

import (
	"bytes"
	"testing"
)

// What a file will be in the store is worked out from bytes that come in few requests, not in one for each piece that is hashed.
func TestTheSumOfAnEditedFileCostsFewRequests(t *testing.T) {
	limits := testLimits
	limits.SinglePut, limits.MaxPut = 2*mib, 2*mib
	r := &rig{mem: newStore(), limits: limits}
	r.start(t.TempDir(), inBackground)
	text := pattern(1, mib+300*kib)
	r.put("k", text)
	f := r.open("k")
	want := over(f, bytes.Clone(text), 100, []byte("edit"))
	wantFlush(t, f)
	got := r.calls(func() { wantSync(t, f) })
	if got["Put"] != 1 || got["Get"] > 4 {
		t.Errorf("calls %v", got)
	}
	r.wantStored(t, "k", want)
	f.Close(nil)
	check(r.stop())
}
