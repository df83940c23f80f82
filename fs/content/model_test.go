package content

import (
	"bytes"
	"context"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// TestModel does random things to one file and compares what it reads with a slice, and the store after each Sync.
func TestModel(t *testing.T) { testModel(t, modelMax) }

// TestModelOfLongFiles is the same with files that pass through memory. To read them stores them, so that it is done less.
func TestModelOfLongFiles(t *testing.T) {
	testModel(t, 400*kib, passing(100*kib), func(o *Options) { o.StreamBytes = 40 * kib })
}

func testModel(t *testing.T, most int, change ...func(*Options)) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		sub := must(os.MkdirTemp(dir, "j"))
		m := &model{t: t, max: most, r: newRig(sub, append(change, func(o *Options) { o.Readahead = 64 * kib })...)}
		if rapid.Bool().Draw(t, "exists") {
			m.want = pattern(1, rapid.IntRange(0, 60*kib).Draw(t, "size"))
			m.r.put("k", m.want)
			m.f = m.r.open("k")
		} else {
			m.f = m.r.create("k")
		}
		m.h = m.f.Handle(false)
		t.Repeat(map[string]func(*rapid.T){
			"read all": m.readAll,
			"write":    m.write, "append": m.append, "truncate": m.truncate, "allocate": m.allocate, "sync": m.sync,
			"reopen": m.reopen, "read": m.read, "fail": m.fail, "touch": m.touch, "move": m.move, "": m.check,
		})
		m.sync(t)
		m.f.Close(m.h)
		if err := m.r.stop(); err != nil {
			t.Fatal(err)
		}
		if ups := m.r.mem.PendingUploads("b"); len(ups) > 0 {
			t.Fatalf("uploads left: %v", ups)
		}
	})
}

type model struct {
	t    *rapid.T
	r    *rig
	f    *File
	h    *Handle
	want []byte
	seed byte
	max  int
}

const modelMax = 100 * kib

func (m *model) bytes(t *rapid.T) []byte {
	m.seed += 13
	sizes := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, m.max/3))
	return pattern(m.seed, sizes.Draw(t, "len"))
}

func (m *model) grow(size int) {
	if size > len(m.want) {
		m.want = append(m.want, make([]byte, size-len(m.want))...)
	}
}

func (m *model) write(t *rapid.T) {
	p := m.bytes(t)
	off := rapid.IntRange(0, min(m.max, len(m.want)+10*kib)).Draw(t, "off")
	write(m.f, int64(off), p)
	m.grow(off + len(p))
	copy(m.want[off:], p)
}

func (m *model) append(t *rapid.T) {
	if len(m.want) > m.max {
		t.Skip("long enough")
	}
	p := m.bytes(t)
	off, n, err := m.f.Append(context.Background(), p)
	if err != nil || n != len(p) || off != int64(len(m.want)) {
		t.Fatalf("append at %d of %d: %d, %v", off, len(m.want), n, err)
	}
	m.want = append(m.want, p...)
}

func (m *model) truncate(t *rapid.T) {
	size := rapid.OneOf(rapid.Just(0), rapid.IntRange(0, len(m.want)), rapid.IntRange(0, m.max)).Draw(t, "size")
	if err := m.f.Truncate(context.Background(), int64(size)); err != nil {
		t.Fatal(err)
	}
	m.grow(size)
	m.want = m.want[:size:size]
}

func (m *model) allocate(t *rapid.T) {
	off, n := rapid.IntRange(0, m.max).Draw(t, "off"), rapid.IntRange(1, 20*kib).Draw(t, "n")
	how := rapid.SampledFrom([]string{"", "keep", "punch", "zero", "zero keep"}).Draw(t, "how")
	keep, punch, zero := how == "keep" || how == "punch" || how == "zero keep", how == "punch", how == "zero" || how == "zero keep"
	if err := m.f.Allocate(context.Background(), int64(off), int64(n), keep, punch, zero); err != nil {
		t.Fatal(err)
	}
	if !keep {
		m.grow(off + n)
	}
	if to := min(off+n, len(m.want)); (punch || zero) && off < to {
		clear(m.want[off:to])
	}
}

func (m *model) sync(t *rapid.T) {
	if err := m.f.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got, ok := m.r.mem.Bytes("b", m.f.ID().Key); !ok || !bytes.Equal(got, m.want) {
		t.Fatalf("after a sync the store has %d bytes (%v), the model %d", len(got), ok, len(m.want))
	}
}

// fail makes a Sync fail and the data stay.
func (m *model) fail(t *rapid.T) {
	if !m.f.Stat().Dirty {
		t.Skip("clean")
	}
	m.r.fault.Clear()
	defer m.r.fault.Clear()
	failStores(m.r)
	if err := m.f.Sync(context.Background()); err == nil {
		t.Fatal("a sync without a store succeeded")
	}
}

// reopen closes the file, unsaved or not, and opens it again.
func (m *model) reopen(t *rapid.T) {
	key := m.f.ID().Key
	dirty := m.f.Stat().Dirty
	m.f.Close(m.h)
	if dirty {
		m.f = must(m.r.files.Open(obj(key), nil, Write))
	} else {
		m.f = m.r.open(key)
	}
	m.h = m.f.Handle(false)
}

func (m *model) touch(*rapid.T) { m.f.Touch() }

func (m *model) move(t *rapid.T) {
	from, to := m.f.ID(), obj("k")
	if from.Key == "k" {
		to = obj("moved")
	}
	_, moved, err := m.r.files.Move(context.Background(), from, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if moved == NotMoved {
		return
	}
	if _, there := m.r.mem.Object("b", from.Key); there {
		t.Fatal("the old name is still in the store")
	}
	if got, _ := m.r.mem.Bytes("b", to.Key); !bytes.Equal(got, m.want) {
		t.Fatalf("after a move the store has %d bytes, the model %d", len(got), len(m.want))
	}
}

func (m *model) read(t *rapid.T) {
	off, n := rapid.IntRange(0, m.max).Draw(t, "off"), rapid.IntRange(0, 20*kib).Draw(t, "n")
	got, err := read(m.f, m.h, int64(off), n)
	if err != nil {
		t.Fatal(err)
	}
	want := m.want[min(off, len(m.want)):min(off+n, len(m.want))]
	if !bytes.Equal(got, want) {
		t.Fatalf("read %d+%d: %d bytes differ from the model's %d", off, n, len(got), len(want))
	}
}

func (m *model) check(t *rapid.T) {
	if err := m.f.check(); err != nil {
		t.Fatal(err)
	}
	if size := m.f.Stat().Size; size != int64(len(m.want)) {
		t.Fatalf("size %d, want %d", size, len(m.want))
	}
	if m.max == modelMax {
		m.readAll(t)
	}
}

func (m *model) readAll(t *rapid.T) {
	got, err := readAll(m.f)
	if err != nil || !bytes.Equal(got, m.want) {
		t.Fatalf("content differs from the model: %v", err)
	}
}
