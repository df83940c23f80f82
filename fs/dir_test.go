package fs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"pailfs/s3client"
)

// reader reads a directory as the library does for the kernel.
type reader struct {
	t *testing.T
	d *dirHandle
}

func (r *rig) opendir(name string) *reader {
	r.t.Helper()
	n := r.server.face.root
	if name != "" {
		r.lookup(name)
		n = n.child(name)
	}
	fh, _, errno := n.OpendirHandle(context.Background(), 0)
	if errno != 0 {
		r.t.Fatal(errno)
	}
	d := fh.(*dirHandle)
	r.t.Cleanup(func() { d.Releasedir(context.Background(), 0) })
	return &reader{r.t, d}
}

// entry is a name and the offset behind it.
type entry struct {
	name string
	off  uint64
}

// next is the next entry, "" at the end.
func (r *reader) next() entry {
	r.t.Helper()
	e, errno := r.d.Readdirent(context.Background())
	if errno != 0 {
		r.t.Fatal(errno)
	}
	if e == nil {
		return entry{}
	}
	return entry{e.Name, e.Off}
}

func (r *reader) rest() (all []entry) {
	r.t.Helper()
	for e := r.next(); e.name != ""; e = r.next() {
		all = append(all, e)
	}
	return all
}

func (r *reader) seek(off uint64) {
	r.t.Helper()
	if errno := r.d.Seekdir(context.Background(), off); errno != 0 {
		r.t.Fatalf("seek to %x: %v", off, errno)
	}
}

func (r *rig) objects(n int) {
	for i := range n {
		r.mem.PutBytes("b", fmt.Sprintf("f%05d", i), nil, s3client.Headers{})
	}
}

// Every offset leads back to its place, also when the directory has changed between.
func TestSeekdir(t *testing.T) {
	r := newRig(t, false, never)
	const n = 9000
	r.objects(n)
	d := r.opendir("")
	all := d.rest()
	if len(all) != n+2 || all[0] != (entry{".", 1}) || all[1] != (entry{"..", 2}) {
		t.Fatalf("%d entries: %v", len(all), all[:2])
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	back := func(when string) {
		for range 60 {
			i := rnd.IntN(n + 1)
			d.seek(all[i].off)
			if got := d.next(); got.name != all[i+1].name {
				t.Fatalf("%s: behind %q: %q", when, all[i].name, got.name)
			}
		}
	}
	back("unchanged")
	d.seek(0)
	if again := d.rest(); !slices.Equal(again, all) {
		t.Error("rewinddir gives something else")
	}
	for i := range 3000 { // names come: in front of the others, and between them
		r.mem.PutBytes("b", fmt.Sprintf("a%05d", i), nil, s3client.Headers{})
		r.mem.PutBytes("b", fmt.Sprintf("f%05d+", 2*i), nil, s3client.Headers{})
	}
	r.server.face.tree.Refresh("")
	for range 60 {
		i := rnd.IntN(n + 1)
		d.seek(all[i].off)
		got := d.next().name
		if got == all[i].name+"+" {
			got = d.next().name
		}
		if i > 2 && got != all[i+1].name {
			t.Fatalf("grown: behind %q: %q", all[i].name, got)
		}
	}
	if errno := d.d.Seekdir(context.Background(), 1<<30); errno != syscall.EINVAL {
		t.Errorf("an offset that was never given: %v", errno)
	}
}

// A directory of which files are deleted while it is read, as rm -r does: each that stays comes once. An offset behind a
// name that is gone skips none.
func TestReaddirWhileDeleting(t *testing.T) {
	r := newRig(t, false, never)
	const n = 5000
	r.objects(n)
	d := r.opendir("")
	var offs []entry
	for i, e := 0, d.next(); e.name != ""; i, e = i+1, d.next() {
		offs = append(offs, e)
		if i > 1 && i%3 == 0 {
			if err := r.tree.Unlink(context.Background(), e.name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(offs) != n+2 {
		t.Errorf("%d of %d names", len(offs), n+2)
	}
	for _, at := range []int{3, 300, 999, 3000, 4998} {
		d.seek(offs[at].off)
		seen := map[string]bool{}
		for _, e := range d.rest() {
			if seen[e.name] {
				t.Errorf("%q twice", e.name)
			}
			seen[e.name] = true
		}
		for i := at + 1; i < len(offs); i++ {
			if i%3 != 0 && !seen[offs[i].name] {
				t.Fatalf("behind %q: %q is missing", offs[at].name, offs[i].name)
			}
		}
	}
}

// The memory of places does not grow with the directory.
func TestPlacesAreBounded(t *testing.T) {
	p := newPlaces()
	const n = 600_000
	offs := map[int]uint64{}
	for i := 1; i <= n; i++ {
		off := p.offset(i, fmt.Sprintf("%08d", i))
		if i%20_011 == 0 {
			offs[i] = off
		}
	}
	if len(p.marks) > mostMarks || len(p.recent) > recentNames {
		t.Errorf("%d marks, %d names", len(p.marks), len(p.recent))
	}
	for i, off := range offs {
		at, got, ok := p.find(off)
		if !ok || got != i || !at.exact && at.hash != hashOf(fmt.Sprintf("%08d", i)) || at.after > fmt.Sprintf("%08d", i) {
			t.Errorf("%d: %+v %d %v", i, at, got, ok)
		}
	}
}
