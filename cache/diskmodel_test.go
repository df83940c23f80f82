package cache

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// Random reads, stores, restarts and damage: no byte is ever wrong, and the index is what the files are.
func TestDiskModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			r.Fatal(err)
		}
		versions := []Version{object("a", 1), object("b", 40*testBlock+77), object("c", 9*testBlock), object("d", 600*testBlock), object("e", 250*testBlock)}
		var d *Disk
		var b *Blocks
		open := func() {
			var err error
			d, err = OpenDisk(DiskOptions{Dir: dir, SizeBytes: testDisk, BlockBytes: testBlock, Store: "s"})
			if err != nil {
				r.Fatal(err)
			}
			b = NewBlocks(BlocksOptions{MemoryBytes: 100 * testBlock, BlockBytes: testBlock, Fetch: (&store{}).fetch, Disk: d})
		}
		shut := func() {
			if err := errors.Join(b.Close(background), d.Close(background)); err != nil {
				r.Fatal(err)
			}
			d.check0(t)
			if b.Stats().HeldBytes != 0 {
				r.Fatalf("%+v", b.Stats())
			}
		}
		open()
		defer func() { shut() }()
		ranged := func() (Version, int64, int) {
			v := rapid.SampledFrom(versions).Draw(r, "version")
			return v, rapid.Int64Range(0, v.Size-1).Draw(r, "off"), rapid.IntRange(1, 60*testBlock).Draw(r, "n")
		}
		r.Repeat(map[string]func(*rapid.T){
			"read": func(*rapid.T) { v, off, n := ranged(); read(t, b, v, off, n) },
			"prefetch": func(*rapid.T) {
				v, off, n := ranged()
				b.Prefetch(v, off, int64(n))
			},
			"store": func(*rapid.T) {
				v, off, n := ranged()
				if err := b.Store(background, v, off, int64(n)); err != nil {
					r.Fatal(err)
				}
				// A prefetch of before may come upon a damaged block right now, and drop it: it is stored again.
				for try := 0; v.Size <= 256*testBlock && off+int64(n) >= v.Size && off == 0 && d.Missing(v) != 0; try++ {
					if try < 5 {
						if err := b.Store(background, v, off, int64(n)); err != nil {
							r.Fatal(err)
						}
						continue
					}
					r.Fatal("stored, and not there")
				}
			},
			"whole": func(*rapid.T) {
				v := rapid.SampledFrom(versions).Draw(r, "version")
				if w, ok := d.Whole(v); ok {
					sameFile(t, w, v)
					w.Close()
				}
			},
			"drain":   func(*rapid.T) { d.drain(t); b.check(t) },
			"restart": func(*rapid.T) { shut(); open() },
			"damage": func(*rapid.T) {
				d.drain(t)
				all := files(t, dir)
				if len(all) == 0 {
					return
				}
				shut()
				path := rapid.SampledFrom(all).Draw(r, "file")
				if st, err := os.Stat(path); err == nil && st.Size() > 0 {
					flip(t, path, rapid.Int64Range(0, st.Size()-1).Draw(r, "at"))
				}
				open()
			},
		})
	})
}

// Many goroutines over a small memory and a small tier, with a file system that fails now and then.
func TestDiskChurn(t *testing.T) {
	d := openTest(t, t.TempDir(), func(o *DiskOptions) { o.QueueBytes = 40 * testBlock })
	var n sync.Mutex
	calls := 0
	fails := func() bool {
		n.Lock()
		defer n.Unlock()
		calls++
		return calls%23 == 0
	}
	d.preadv = func(fd int, iovs [][]byte, off int64) (int, error) {
		if fails() {
			return 0, unix.EIO
		}
		return unix.Preadv(fd, iovs, off)
	}
	b := over(t, d, 100, &store{})
	versions := []Version{object("a", 40*testBlock+77), object("b", 600*testBlock), object("c", 100), object("d", 250*testBlock), object("e", 250*testBlock)}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(g)))
			for range 200 {
				v := versions[r.IntN(len(versions))]
				off, n := r.Int64N(v.Size), 1+r.IntN(20*testBlock)
				switch r.IntN(6) {
				case 0:
					b.Prefetch(v, off, int64(n)*2)
				case 1:
					if err := b.Store(background, v, off, int64(n)); err != nil {
						t.Error(err)
					}
				case 2:
					if w, ok := d.Whole(v); ok {
						sameFile(t, w, v)
						w.Close()
					}
				default:
					read(t, b, v, off, n)
				}
			}
		})
	}
	wg.Wait()
	d.drain(t)
	b.check(t)
	if st := d.Stats(); st.Hits == 0 || st.Corrupt != 0 {
		t.Errorf("%+v", st)
	}
}
