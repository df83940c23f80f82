package content

import (
	"context"
	"errors"
	"testing"

	"pailfs/s3client/s3fault"
)

func TestStream(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	h := f.Handle(false)
	want := pattern(5, 200*kib+123)
	for off := 0; off < len(want); off += kib {
		write(f, int64(off), want[off:min(off+kib, len(want))])
	}
	st := f.currentStream()
	if st == nil {
		t.Fatal("no stream")
	}
	if err := st.Wait(bg, 0); err != nil {
		t.Fatal(err)
	}
	calls := r.mem.Calls()
	if calls["UploadPart"] < 20 || calls["Put"] != 0 {
		t.Errorf("while writing: %v", calls)
	}
	write(f, 0, []byte("header written last"))
	copy(want, "header written last")
	write(f, 100*kib, []byte("touched"))
	copy(want[100*kib:], "touched")
	got := r.calls(func() { wantSync(t, f) })
	if got["UploadPart"] > 3 || got["CompleteUpload"] != 1 { // the first, the touched, the last
		t.Errorf("at the commit: %v", got)
	}
	r.wantStored(t, "k", want)
	wantCalls(t, "reading", r.calls(func() { wantRead(t, f, want) }), nil)
	f.Close(h)
}

func TestStreamCutAndGoOn(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	defer f.Close(nil)
	want := pattern(6, 120*kib)
	write(f, 0, want)
	if f.currentStream() == nil {
		t.Fatal("no stream")
	}
	for _, size := range []int64{70 * kib, 10 * kib} {
		if err := f.Truncate(bg, size); err != nil {
			t.Fatal(err)
		}
		want = append(want[:size:size], pattern(7, 30*kib)...)
		write(f, size, want[size:])
	}
	if err := f.Truncate(bg, 3); err != nil {
		t.Fatal(err)
	}
	if f.currentStream() != nil {
		t.Error("a stream for three bytes")
	}
	// The upload that was given up while it was being initiated may be aborted only now.
	calls := r.calls(func() { wantSync(t, f) })
	delete(calls, "CreateUpload")
	delete(calls, "AbortUpload")
	wantCalls(t, "commit", calls, map[string]int64{"Put": 1})
	r.wantStored(t, "k", want[:3])
	if ups := r.mem.PendingUploads("b"); len(ups) > 0 {
		t.Errorf("left: %v", ups)
	}
}

// TestBackPressure holds the network: the writer waits, its context frees it, and a Sync is not in its way.
func TestBackPressure(t *testing.T) {
	r := rigFor(t, func(o *Options) { o.StreamBytes = 20 * kib })
	open := make(chan struct{})
	r.fault.Add(s3fault.Rule{Call: "UploadPart", Hook: func(ctx context.Context, _ s3fault.Call) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	f := r.create("k")
	defer f.Close(nil)
	ctx, cancel := context.WithCancel(bg)
	want := pattern(8, 100*kib)
	off := 0
	for ; off < len(want); off += 8 * kib {
		if st := f.currentStream(); st != nil && st.InFlight() >= 20*kib {
			break
		}
		write(f, int64(off), want[off:off+8*kib])
	}
	if off >= len(want) {
		t.Fatal("no back-pressure")
	}
	cancel()
	if _, err := f.WriteAt(ctx, want[off:], int64(off)); !errors.Is(err, context.Canceled) {
		t.Fatalf("a held writer: %v", err)
	}
	done := make(chan error, 2)
	go func() {
		_, err := f.WriteAt(bg, want[off:], int64(off))
		done <- err
	}()
	go func() { done <- f.Sync(bg) }()
	close(open)
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	wantSync(t, f)
	r.wantStored(t, "k", want)
}
