package mount

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

// A hundred overwrites of 4 KiB in one stretch of a stored object send the parts that they touch; the store copies the
// rest. An append sends the tail.
func TestEditsOfAStoredObjectSendWhatChanged(t *testing.T) {
	modest(t)
	both(t, func(t *testing.T, d string) {
		content := noise(3, 200<<20)
		w := writes(t, d, map[string][]byte{"f": content})
		f := open(t, w.path("f"), os.O_RDWR)
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range 100 {
			content = overwrite(t, f, content, 90<<20+rnd.IntN(20<<20-4096), noise(100+i, 4096))
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		all := w.took()
		// Parts have 5 MiB at least, and no two of the overwrites are that far apart: all of the stretch has to be sent, and
		// what of it was not overwritten has to be fetched, 20 MiB less 400 KiB.
		if all.sent() > 32<<20 || all.fetched() > 21<<20 {
			t.Errorf("overwrites: %d bytes up, %d down: %v", all.sent(), all.fetched(), all)
		}
		sameBytes(t, "the object after the overwrites", object(t, w.s, w.bucket, "f"), content)
		closed(t, f)
		w.stored(d)
		w.took()
		f = open(t, w.path("f"), os.O_WRONLY|os.O_APPEND)
		if _, err := f.Write(noise(300, 4096)); err != nil {
			t.Fatal(err)
		}
		content = append(content, noise(300, 4096)...)
		closed(t, f)
		w.stored(d)
		if all = w.took(); all.sent() > 10<<20 || all.fetched() > 10<<20 {
			t.Errorf("append: %d bytes up, %d down: %v", all.sent(), all.fetched(), all)
		}
		sameBytes(t, "the object after the append", object(t, w.s, w.bucket, "f"), content)
		w.noUploads()
	})
}

// edits are operations on an open file of 48 MiB, done to a stored object and to a local file alike.
var edits = []struct {
	name string
	do   func(f *os.File) error
	up   int64 // bytes that may go up at most
}{
	{"truncate down", func(f *os.File) error { return f.Truncate(20<<20 + 1) }, firstPart},
	{"truncate up", func(f *os.File) error { return f.Truncate(60<<20 + 7) }, 12<<20 + 7 + firstPart},
	{"truncate up by little", func(f *os.File) error { return f.Truncate(48<<20 + 7) }, firstPart + 7},
	{"punch a hole", func(f *os.File) error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 10<<20+5, 2<<20)
	}, 3 * firstPart},
	{"punch a hole over the end", func(f *os.File) error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 46<<20, 20<<20)
	}, 2 * firstPart},
	{"zero a range", func(f *os.File) error { return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_ZERO_RANGE, 33<<20, 1<<20) }, 2 * firstPart},
	{"zero a range over the end", func(f *os.File) error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_ZERO_RANGE, 47<<20, 3<<20)
	}, 2*firstPart + 3<<20},
	{"allocate beyond the end, keep the size", func(f *os.File) error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 48<<20, 4<<20)
	}, 0},
	{"allocate beyond the end", func(f *os.File) error { return unix.Fallocate(int(f.Fd()), 0, 40<<20, 10<<20) }, 2*firstPart + 2<<20},
	{"write far behind the end", func(f *os.File) error { _, err := f.WriteAt([]byte("far"), 52<<20); return err }, 4<<20 + 3 + firstPart},
	{"down, up, and a write", func(f *os.File) error {
		_, err := f.WriteAt([]byte("here"), 30<<20)
		return errors.Join(f.Truncate(16<<20), f.Truncate(40<<20), err)
	}, 24<<20 + firstPart},
}

func TestEditsInPlaceEqualThoseOfALocalFile(t *testing.T) {
	original := noise(4, 48<<20)
	for _, e := range edits {
		t.Run(e.name, func(t *testing.T) {
			both(t, func(t *testing.T, d string) {
				w := writes(t, d, map[string][]byte{"f": original})
				local := join(t.TempDir(), "f")
				write(t, local, original)
				lf := open(t, local, os.O_RDWR)
				if err := e.do(lf); err != nil {
					testenv.Skip(t, "the local file system cannot: "+err.Error())
				}
				f := open(t, w.path("f"), os.O_RDWR)
				if err := e.do(f); err != nil {
					t.Fatal(err)
				}
				want := read(t, local)
				closed(t, f)
				w.stored(d)
				all := w.took()
				if all.sent() > e.up || all.fetched() > 16<<20 {
					t.Errorf("%d bytes up, %d down: %v", all.sent(), all.fetched(), all)
				}
				sameBytes(t, "the object", object(t, w.s, w.bucket, "f"), want)
				sameBytes(t, "the file", read(t, w.path("f")), want)
				w.noUploads()
			})
		})
	}
}

// A small object is sent whole in one request: nothing is cheaper.
func TestASmallEditIsOnePut(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		content := noise(6, 100_000)
		w := writes(t, d, map[string][]byte{"f": content})
		f := open(t, w.path("f"), os.O_RDWR)
		content = overwrite(t, f, content, 50_000, []byte("edit"))
		content = overwrite(t, f, content, 100_000, []byte("tail"))
		closed(t, f)
		w.stored(d)
		all := w.took()
		if writes := all.but(storeproxy.Get, storeproxy.Head, storeproxy.List); len(writes) != 1 || len(writes.of(storeproxy.Put)) != 1 {
			t.Errorf("%v", all)
		}
		sameBytes(t, "the object", object(t, w.s, w.bucket, "f"), content)
	})
}

// cp asks the kernel to copy inside the file system; the store copies.
func TestACopyInsideTheMountMovesNoBytes(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, map[string][]byte{"small": noise(7, 300_000), "large": noise(8, 40<<20+1)})
		for _, name := range []string{"small", "large"} {
			w.took()
			sh(t, w.m.Dir, "cp "+name+" copy-"+name)
			w.stored(d)
			all := w.took()
			copies := all.of(storeproxy.Copy).done()
			if parts := all.of(storeproxy.CopyPart).done(); len(parts) > 0 {
				copies = append(copies, all.of(storeproxy.CompleteUpload).done()...)
			}
			// cp looks at the source first: its beginning may be read.
			if all.sent() != 0 || all.fetched() > 128<<10 || len(copies) != 1 {
				t.Errorf("%s: %v", name, all)
			}
			if !bytes.Equal(object(t, w.s, w.bucket, name), object(t, w.s, w.bucket, "copy-"+name)) {
				t.Errorf("the copy of %s differs", name)
			}
		}
		sh(t, w.m.Dir, "cmp small copy-small; cmp large copy-large; echo more >> copy-small; ! cmp -s small copy-small")
	})
}

// A copy whose source is not stored yet, or whose target holds something, is right all the same.
func TestCopiesThatTheStoreCannotMake(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, map[string][]byte{"stored": noise(7, 300_000)})
		sh(t, w.m.Dir, `head -c 200000 /dev/urandom > fresh; cp fresh a; cmp fresh a
			cp stored a; cmp stored a
			cp fresh b; dd if=stored of=b bs=1000 seek=7 skip=3 count=50 conv=notrunc status=none`)
		from, to := open(t, w.path("stored"), os.O_RDONLY), open(t, w.path("c"), os.O_RDWR|os.O_CREATE)
		want := read(t, w.path("stored"))[1000:5000]
		in, out := int64(1000), int64(0)
		for out < 4000 {
			n, err := unix.CopyFileRange(int(from.Fd()), &in, int(to.Fd()), &out, 4000-int(out), 0)
			if err != nil || n == 0 {
				t.Fatalf("copy_file_range: %d, %v", n, err)
			}
		}
		got, err := io.ReadAll(to)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, "a part of a file", got, want)
		closed(t, to)
		w.stored(d)
		sameBytes(t, "the object c", object(t, w.s, w.bucket, "c"), want)
		sameBytes(t, "the object a", object(t, w.s, w.bucket, "a"), object(t, w.s, w.bucket, "stored"))
		b := object(t, w.s, w.bucket, "fresh")
		copy(b[7000:], object(t, w.s, w.bucket, "stored")[3000:53000])
		sameBytes(t, "the object b", object(t, w.s, w.bucket, "b"), b)
	})
}
