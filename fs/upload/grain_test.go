package upload

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// grained is a source of units of 100 bytes from 250 on, that notes what is read of it.
type grained struct {
	content []byte
	reads   []Range
	fail    int64 // a read over this offset fails; 0: none
}

var errGrain = errors.New("unreadable")

func (g *grained) Grain(off int64) int64 {
	if off < 250 {
		return 0
	}
	return 100
}

func (g *grained) ReadAt(p []byte, off int64) (int, error) {
	g.reads = append(g.reads, Range{Off: off, Len: int64(len(p))})
	if g.fail > 0 && off <= g.fail && g.fail < off+int64(len(p)) {
		return 0, errGrain
	}
	return bytes.NewReader(g.content).ReadAt(p, off)
}

// A body reads no unit twice, whatever pieces it is asked for, and nothing that is not its own.
func TestBodyReadsWholeUnits(t *testing.T) {
	content := make([]byte, 1000)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	g := &grained{content: content}
	b := &body{src: g, off: 230, size: 425}
	var got []byte
	for off := int64(0); ; off = int64(len(got)) {
		p := make([]byte, 30)
		n, err := b.ReadAt(p, off)
		got = append(got, p[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, content[230:655]) {
		t.Error("other bytes")
	}
	want := []Range{{Off: 230, Len: 30}, {Off: 230, Len: 70}, {Off: 300, Len: 100}, {Off: 400, Len: 100}, {Off: 500, Len: 100},
		{Off: 600, Len: 55}}
	if !slices.Equal(g.reads, want) {
		t.Errorf("read %v, want %v", g.reads, want)
	}
	g.reads = nil
	all := make([]byte, 425)
	if n, err := b.ReadAt(all, 0); n != 425 || err != nil && err != io.EOF || !bytes.Equal(all, content[230:655]) {
		t.Errorf("all at once: %d, %v", n, err)
	}
	if want := []Range{{Off: 230, Len: 425}}; !slices.Equal(g.reads, want) {
		t.Errorf("read %v, want %v", g.reads, want)
	}
}

func TestBodyOfAUnitThatCannotBeRead(t *testing.T) {
	g := &grained{content: make([]byte, 600), fail: 450}
	b := &body{src: g, off: 300, size: 400}
	p := make([]byte, 30)
	if n, err := b.ReadAt(p, 0); n != 30 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := b.ReadAt(p, 90); n != 10 || !errors.Is(err, errGrain) || b.failed.Load() == nil {
		t.Errorf("%d, %v", n, err)
	}
	g.fail = 0
	if n, err := b.ReadAt(p, 120); n != 30 || err != nil {
		t.Errorf("afterwards: %d, %v", n, err)
	}
	if n, err := b.ReadAt(p, 290); n != 10 || !errors.Is(err, io.ErrUnexpectedEOF) { // the source is shorter than it said
		t.Errorf("behind the end: %d, %v", n, err)
	}
}
