package scale

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/fs/upload"
	"pailfs/s3client"
	"pailfs/tests/testenv"
)

// enough lets this process open so many files.
func enough(t *testing.T, n int) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if want := uint64(n + 100); limit.Cur < want {
		limit.Cur, limit.Max = want, max(limit.Max, want)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatalf("%d open files: %v", n, err)
		}
	}
}

// Open files cost memory and no descriptors: those that are read, and those with a few unsaved bytes.
func TestManyOpenFiles(t *testing.T) {
	enough(t, *open)
	t.Run("reading", func(t *testing.T) {
		s, m := mounted(t, 10, *open)
		files, held := openSome(t, m, *open, os.O_RDONLY, func(*os.File) error { return nil }, "open")
		now := usageOf(t, m)
		for i, f := range files {
			var b [4096]byte
			off := int64(i%50+1) << 20
			if _, err := f.ReadAt(b[:], off); err != nil {
				t.Fatal(err)
			}
			if b[17] != byteAt(off+17) {
				t.Fatalf("byte %d of %s is %d, want %d", off+17, f.Name(), b[17], byteAt(off+17))
			}
		}
		t.Logf("4 KiB read of each: %v; %s", s, usageOf(t, m).since(now).per(*open))
		held(64 + 8) // the connections
	})
	for _, size := range []int{4 << 10, 300 << 10} {
		t.Run(fmt.Sprintf("writing %d KiB", size>>10), func(t *testing.T) {
			testenv.Require(t)
			n := *open
			if size > 4<<10 {
				n /= 4 // they take the local disk
			}
			s := testenv.Store(t)
			m := testenv.Mount(t, s, testenv.Of(s.Bucket(t)), testenv.Args("--memory", fmt.Sprint(memory), "--durability", "journal"))
			content := make([]byte, size)
			if err := os.Mkdir(m.Path("new"), 0o755); err != nil {
				t.Fatal(err)
			}
			_, held := openSome(t, m, n, os.O_CREATE|os.O_WRONLY, func(f *os.File) error {
				_, err := f.Write(content)
				return err
			}, "new")
			most := 64 + 16
			if size > 4<<10 {
				most += n // a file on the disk for each
			} else {
				most += max(0, n-memory/8/size) // beyond the share of memory
			}
			held(most)
		})
	}
}

// openSome opens files and uses each once, and says what the mount takes for that. held looks once more, and closes them.
func openSome(t *testing.T, m *testenv.MountPoint, n, flags int, use func(*os.File) error, dir string) (files []*os.File, held func(descriptors int)) {
	t.Helper()
	before := usageOf(t, m)
	for i := range n {
		f, err := os.OpenFile(m.Path(dir, fmt.Sprintf("%06d", i)), flags, 0o644)
		if err == nil {
			files = append(files, f)
			err = use(f)
		}
		if err != nil {
			t.Fatalf("file %d: %v", i, err)
		}
	}
	t.Logf("%d open files: %s", n, usageOf(t, m).since(before).per(n))
	return files, func(descriptors int) {
		t.Helper()
		now := usageOf(t, m)
		now.within(t)
		if more := now.descriptors - before.descriptors; more > descriptors {
			t.Errorf("%d descriptors for %d open files, want %d at most", more, n, descriptors)
		}
		for _, f := range files {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// An object of 5 TiB is a file like any other: looked at and read anywhere for the bytes that are read.
func TestAnObjectOf5TiB(t *testing.T) {
	s, m := mounted(t, 10, 10)
	before := usageOf(t, m)
	f, err := os.Open(m.Path("huge"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() != hugeSize {
		t.Fatal(st, err)
	}
	s.reset()
	offs := []int64{0, 1<<32 + 5, 1 << 40, 3<<40 + 12345, hugeSize - 4096}
	for _, off := range offs {
		var b [4096]byte
		if _, err := f.ReadAt(b[:], off); err != nil {
			t.Fatalf("at %d: %v", off, err)
		}
		for i := range b {
			if b[i] != byteAt(off+int64(i)) {
				t.Fatalf("byte %d is %d, want %d", off+int64(i), b[i], byteAt(off+int64(i)))
			}
		}
	}
	now := usageOf(t, m)
	t.Logf("%d reads of 4 KiB: %v; %s", len(offs), s, now.since(before).per(len(offs)))
	if s.gets.Load() > int64(2*len(offs)) || s.down.Load() > int64(len(offs))<<20 {
		t.Errorf("%d reads of 4 KiB asked for %v", len(offs), s)
	}
	now.within(t)
}

// What a stream and an edit of such an object need: parts within the store's number of them, and no byte sent that the store has.
func TestPartsOf5TiB(t *testing.T) {
	const size, edit, at = hugeSize, 4096, 3<<40 + 12345
	for _, provider := range []struct {
		name  string
		parts int
	}{{"nhn", 10_000}, {"aws", 10_000}, {"swift", 1000}} {
		p := s3client.Profile{MinPart: 5 << 20, MaxPart: 5 << 30, MaxPut: 5 << 30, MaxCopy: 5 << 30, MaxParts: provider.parts}
		l := upload.LimitsOf(p, 0)
		largest := l.Largest()
		stream, err := upload.MakePlan(upload.Need{Size: min(size, largest), Dirty: []upload.Range{{Off: 0, Len: min(size, largest)}}}, l)
		if err != nil {
			t.Fatal(err)
		}
		if len(stream.Pieces) > provider.parts {
			t.Errorf("%s: %d parts", provider.name, len(stream.Pieces))
		}
		reach, _ := reached(l)
		longest := int64(0)
		for _, piece := range stream.Pieces {
			longest = max(longest, piece.Len)
		}
		t.Logf("%s: largest object %d GiB; a stream may be %d GiB; %d GiB go by %d parts of at most %d MiB", provider.name, largest>>30, reach>>30,
			min(size, largest)>>30, len(stream.Pieces), longest>>20)
		if provider.parts == 10_000 && reach < size {
			t.Errorf("%s: a stream ends at %d bytes", provider.name, reach)
		}
		if largest < size {
			continue
		}
		change, err := upload.MakePlan(upload.Need{Size: size, Base: size, BaseSize: size, Dirty: []upload.Range{{Off: at, Len: edit}}}, l)
		if err != nil {
			t.Fatal(err)
		}
		sent, copies := int64(0), 0
		for _, piece := range change.Pieces {
			if piece.Copy {
				copies++
			} else {
				sent += piece.Len
			}
		}
		t.Logf("%s: an edit of %d bytes in %d GiB sends %d KiB and has %d parts copied", provider.name, edit, size>>30, sent>>10, copies)
		if sent > 64<<20 || len(change.Pieces) > provider.parts {
			t.Errorf("%s: an edit sends %d bytes in %d parts", provider.name, sent, len(change.Pieces))
		}
	}
}

// reached is where the layout of a stream's parts ends, and with how many.
func reached(l upload.Limits) (bytes int64, parts int) {
	for off := int64(0); ; {
		number, start, length := l.PartAt(off)
		if number > l.MaxParts {
			return start, number - 1
		}
		off = start + length
	}
}
