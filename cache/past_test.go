package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
)

func TestStore(t *testing.T) {
	const k = testBlock
	for _, c := range []struct {
		name    string
		warm    [][2]int64
		off, n  int64
		fetches string
		missing int64
	}{
		{"all", nil, 0, 100 * k, "0+32768 32768+32768 65536+32768 98304+1029", 0},
		{"a part", nil, 10 * k, 5 * k, "10240+5120", 92*k + 5},
		{"what is missing", [][2]int64{{0, 10 * k}, {20 * k, 5 * k}}, 0, 30 * k, "10240+10240 25600+5120", 67*k + 5},
		{"nothing", [][2]int64{{0, 10 * k}}, 0, 10 * k, "", 87*k + 5},
		{"past the end", nil, 200 * k, 5, "", 97*k + 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openTest(t, t.TempDir(), func(o *DiskOptions) { o.QueueBytes = 1 }) // four blocks
			s := &store{}
			b := over(t, d, 64, s)
			v := object("o", 97*k+5)
			for _, w := range c.warm {
				if err := b.Store(background, v, w[0], w[1]); err != nil {
					t.Fatal(err)
				}
			}
			s.fetched()
			if err := b.Store(background, v, c.off, c.n); err != nil {
				t.Fatal(err)
			}
			wantFetched(t, s, c.fetches)
			if got := d.Missing(v); got != c.missing {
				t.Errorf("%d missing, want %d", got, c.missing)
			}
			if got := d.Stats().WrittenBytes; got != v.Size-c.missing {
				t.Errorf("%d bytes written, %d are there", got, v.Size-c.missing)
			}
			if st := b.Stats(); st.Bytes != 0 {
				t.Errorf("left in memory: %+v", st)
			}
		})
	}
}

func TestStoreShares(t *testing.T) {
	bubbleDisk(t, 200, func(t *testing.T, d *Disk, b *Blocks, s *store, taps *valves) {
		v := object("o", 10*testBlock)
		reader := viewing(b, background, v, 0, 10*testBlock)
		synctest.Wait()
		var stored error
		done := false
		go func() { stored, done = b.Store(background, v, 0, v.Size), true }()
		synctest.Wait()
		if taps.len() != 1 || done {
			t.Fatalf("%d fetches, done %v", taps.len(), done)
		}
		close(taps.at(0).open)
		reader.want(t, true, nil)
		if !done || stored != nil || d.Missing(v) != 0 {
			t.Errorf("done %v, %v, %d missing", done, stored, d.Missing(v))
		}
	})
}

func TestStoreErrors(t *testing.T) {
	broken := &failure{"broken"}
	s := &store{answer: func(context.Context, call) (io.ReadCloser, error) { return nil, broken }}
	d := openTest(t, t.TempDir())
	b := over(t, d, 200, s)
	v := object("o", 10*testBlock)
	if err := b.Store(background, v, 0, v.Size); err != error(broken) {
		t.Errorf("%v", err)
	}
	if err := b.Store(background, v, -1, 5); err == nil {
		t.Error("no error for a negative offset")
	}
	ctx, cancel := context.WithCancel(background)
	cancel()
	if err := b.Store(ctx, v, 0, v.Size); err != context.Canceled {
		t.Errorf("%v", err)
	}
	s.answer = nil
	closeDisk(t, d)
	if err := b.Store(background, v, 0, v.Size); !errors.Is(err, errDiskClosed) {
		t.Errorf("%v", err)
	}
}

func TestStoreWithoutADisk(t *testing.T) {
	s := &store{}
	b := newTest(t, 64, s)
	v := object("o", 40*testBlock)
	if err := b.Store(background, v, 0, v.Size); err != nil {
		t.Fatal(err)
	}
	read(t, b, v, 0, int(v.Size))
	wantFetched(t, s, "0+32768 32768+8192")
}

func TestDirect(t *testing.T) {
	d := openTest(t, t.TempDir())
	s := &store{}
	b := over(t, d, 200, s)
	v := object("o", 10*testBlock+7)
	read(t, b, v, 0, int(v.Size))
	d.drain(t)
	s.fetched()
	for _, c := range []struct {
		off     int64
		n, want int
		err     error
		fetches string
	}{
		{0, 10, 10, nil, "0+10"}, {5000, 3000, 3000, nil, "5000+3000"}, {v.Size - 5, 5, 5, nil, "10242+5"},
		{v.Size - 5, 6, 5, io.EOF, "10242+5"}, {v.Size, 1, 0, io.EOF, ""}, {v.Size, 0, 0, nil, ""}, {3, 0, 0, nil, ""},
	} {
		p := make([]byte, c.n)
		n, err := b.Direct(background, v, p, c.off)
		if n != c.want || err != c.err || !bytes.Equal(p[:n], contents(v, c.off, int64(n))) {
			t.Errorf("Direct(%d, %d) = %d, %v", c.off, c.n, n, err)
		}
		wantFetched(t, s, c.fetches)
	}
	other := object("other", 5000)
	if _, err := b.Direct(background, other, make([]byte, 5000), 0); err != nil {
		t.Fatal(err)
	}
	d.drain(t)
	if b.Contains(other, 0, 1) || d.Missing(other) != 5000 {
		t.Error("something was kept")
	}
	if _, err := b.Direct(background, v, nil, -1); err == nil {
		t.Error("no error for a negative offset")
	}
	s.answer = func(_ context.Context, c call) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(contents(c.v, c.off, c.n-1))), nil
	}
	if n, err := b.Direct(background, v, make([]byte, 10), 0); n != 9 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short body: %d, %v", n, err)
	}
}

func TestDirectEndsWithContextAndClose(t *testing.T) {
	bubble(t, 64, func(t *testing.T, b *Blocks, s *store, taps *valves) {
		v := object("o", 5000)
		errs := make(chan error, 2)
		ctx, cancel := context.WithCancel(background)
		for _, ctx := range []context.Context{ctx, background} {
			go func() {
				_, err := b.Direct(ctx, v, make([]byte, 10), 0)
				errs <- err
			}()
			synctest.Wait()
		}
		cancel()
		if err := <-errs; err != context.Canceled {
			t.Errorf("%v", err)
		}
		if err := b.Close(background); err != nil {
			t.Error(err)
		}
		if err := <-errs; err != ErrClosed {
			t.Errorf("%v", err)
		}
		if _, err := b.Direct(background, v, make([]byte, 10), 0); err != ErrClosed {
			t.Errorf("%v", err)
		}
	})
}

func TestTryView(t *testing.T) {
	const k = testBlock
	s := &store{}
	b := newTest(t, 64, s)
	v := object("o", 20*k+5)
	read(t, b, v, 2*k, 8*k)
	read(t, b, v, 20*k, 5)
	s.fetched()
	before := b.Stats()
	for _, c := range []struct {
		off  int64
		n    int
		want bool
	}{{2 * k, 8 * k, true}, {3*k + 7, 9, true}, {2*k - 1, 2, false}, {9 * k, k + 1, false}, {20 * k, 50, true}, {v.Size, 1, true}, {0, 0, true}, {-1, 5, false}} {
		view, ok := b.TryView(v, c.off, c.n)
		if ok != c.want || (view != nil) != ok {
			t.Fatalf("TryView(%d, %d): %v", c.off, c.n, ok)
		}
		if ok {
			same(t, view, v, c.off, c.n)
			view.Done()
		}
	}
	wantFetched(t, s, "")
	if st := b.Stats(); st.Hits != before.Hits+10 || st.Misses != before.Misses || st.HeldBytes != 0 {
		t.Errorf("%+v, before %+v", st, before)
	}
	for name, f := range map[string]func(){
		"hit": func() {
			if view, ok := b.TryView(v, 2*k, 2*k); ok {
				view.Done()
			}
		},
		"miss": func() { b.TryView(v, 12*k, 2*k) },
	} {
		want := map[string]float64{"hit": 1, "miss": 0}[name]
		if got := testing.AllocsPerRun(100, f); got > want {
			t.Errorf("%s: %v allocations, want %v", name, got, want)
		}
	}
}
