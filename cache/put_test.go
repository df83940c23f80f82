package cache

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
)

// broken reads well up to a place.
type broken struct {
	b    []byte
	good int
}

func (r broken) ReadAt(p []byte, off int64) (int, error) {
	if int(off)+len(p) > r.good {
		return 0, errors.New("broken")
	}
	return copy(p, r.b[off:]), nil
}

func TestWhatIsPutIsNotFetched(t *testing.T) {
	const k = testBlock
	for _, c := range []struct {
		name    string
		size    int64
		warm    bool // a block of it is there
		good    int  // bytes that can be read; 0: all
		fetches int  // of a read of all afterwards
	}{
		{"one byte", 1, false, 0, 0},
		{"one block", k, false, 0, 0},
		{"some", 5*k + 3, false, 0, 0},
		{"many groups", 20*k + 1, false, 0, 0},
		{"some of it is there", 5 * k, true, 0, 1},
		{"it cannot be read", 5 * k, false, 10, 1},
		{"more than there is room for", 40 * k, false, 0, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &store{}
			b := newTest(t, 64, s)
			v := object("o", c.size)
			if c.warm {
				read(t, b, v, 0, 1)
			}
			all := contents(v, 0, c.size)
			if c.good == 0 {
				b.Put(v, bytes.NewReader(all))
			} else {
				b.Put(v, broken{all, c.good})
			}
			b.check(t)
			before := len(s.calls())
			read(t, b, v, 0, int(c.size))
			if n := len(s.calls()) - before; n != c.fetches {
				t.Errorf("%d fetches, want %d", n, c.fetches)
			}
			b.Put(v, bytes.NewReader(all)) // it is there
			read(t, b, v, 0, int(c.size))
			if n := len(s.calls()) - before; n != c.fetches {
				t.Errorf("%d fetches in the end, want %d", n, c.fetches)
			}
		})
	}
}

// Who reads while it is put gets what is put.
func TestReadWhileItIsPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		b := newTest(t, 64, s)
		v := object("o", 9*testBlock)
		began, goOn := make(chan struct{}), make(chan struct{})
		go b.Put(v, waiting{bytes.NewReader(contents(v, 0, v.Size)), began, goOn})
		<-began
		reader := viewing(b, background, v, 0, int(v.Size))
		synctest.Wait()
		close(goOn)
		reader.want(t, true, nil)
		if n := len(s.calls()); n != 0 {
			t.Errorf("%d fetches", n)
		}
	})
}

// waiting says when it is read first, and waits then.
type waiting struct {
	*bytes.Reader
	began, goOn chan struct{}
}

func (w waiting) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		close(w.began)
	}
	<-w.goOn
	return w.Reader.ReadAt(p, off)
}
