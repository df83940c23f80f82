package mount

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

const (
	diskMiB  = 200 // the local disk
	longMiB  = 400 // a stream that is longer
	mebibyte = 1 << 20
)

// piece is the i-th MiB of a long file.
func piece(i int) []byte { return noise(1000+i, mebibyte) }

// writeLong writes MiBs [from, to) of a long file.
func writeLong(t *testing.T, f *os.File, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := f.WriteAt(piece(i), int64(i)*mebibyte); err != nil {
			t.Fatalf("MiB %d of %d: %v", i, to, err)
		}
	}
}

// sumLong is the hash of a long file with some MiBs changed.
func sumLong(mib int, changed map[int][]byte) string {
	h := sha256.New()
	for i := range mib {
		p, other := changed[i]
		if !other {
			p = piece(i)
		}
		h.Write(p)
	}
	return sumOf(h)
}

func sumOf(h hash.Hash) string { return fmt.Sprintf("%x", h.Sum(nil)) }

func (w *writing) sumOfObject(key string) string {
	w.t.Helper()
	body, _, err := w.s.Client.Get(w.t.Context(), getWhole(w.bucket, key))
	if err != nil {
		w.t.Fatal(err)
	}
	defer body.Close()
	h := sha256.New()
	if _, err := io.Copy(h, body); err != nil {
		w.t.Fatal(err)
	}
	return sumOf(h)
}

func sumOfFile(t *testing.T, path string) string {
	t.Helper()
	f := open(t, path, os.O_RDONLY)
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return sumOf(h)
}

// diskUse is what the files below a directory take.
func diskUse(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		n += st.Blocks * 512
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A stream that is longer than the local disk is stored as any other: each byte goes up once, and hardly any disk is taken
// at its end.
func TestAStreamIsLongerThanTheLocalDisk(t *testing.T) {
	modest(t)
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, nil, testenv.State(smallDisk(t, diskMiB)))
		f := open(t, w.path("f"), os.O_CREATE|os.O_WRONLY|os.O_EXCL)
		writeLong(t, f, 0, longMiB)
		closed(t, f)
		w.stored(d)
		all := w.took()
		if all.sent() != longMiB*mebibyte || len(all.of(storeproxy.Part)) != longMiB/8 || len(all.of(storeproxy.CreateUpload)) != 1 ||
			len(all.of(storeproxy.CompleteUpload)) != 1 {
			t.Errorf("%d bytes up: %v", all.sent(), all)
		}
		if n := diskUse(t, w.m.StateDir); n > diskMiB/2*mebibyte {
			t.Errorf("%d bytes are on the local disk", n)
		}
		if got, want := w.sumOfObject("f"), sumLong(longMiB, nil); got != want {
			t.Error("the object has other bytes")
		}
		w.noUploads()
	})
}

// A store that is slower than the writer: the disk fills with what is on its way, and the writer waits for it.
func TestALongStreamToASlowStore(t *testing.T) {
	modest(t)
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, nil, testenv.State(smallDisk(t, 48)))
		gate := make(chan struct{})
		answer := sync.OnceFunc(func() { close(gate) })
		defer answer()
		w.p.Meet(storeproxy.Some(storeproxy.Fate{Act: storeproxy.Wait, Gate: gate}, 0, storeproxy.Part))
		f := open(t, w.path("f"), os.O_CREATE|os.O_WRONLY|os.O_EXCL)
		written := make(chan struct{})
		go func() {
			defer close(written)
			for i := range 100 {
				if _, err := f.WriteAt(piece(i), int64(i)*mebibyte); err != nil {
					t.Errorf("MiB %d: %v", i, err)
					return
				}
			}
		}()
		eventually(t, "parts are on their way", func() bool { return len(requests(w.p.Peek()).of(storeproxy.Part)) > 0 })
		answer()
		<-written
		closed(t, f)
		w.stored(d)
		if all := w.took(); all.sent() != 100*mebibyte {
			t.Errorf("%d bytes up: %v", all.sent(), all)
		}
		if w.sumOfObject("f") != sumLong(100, nil) {
			t.Error("the object has other bytes")
		}
		w.noUploads()
	})
}

// Reading back what is not on the disk any more, and rewriting it, work on the object that was made of it early.
func TestALongStreamIsReadBack(t *testing.T) {
	modest(t)
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, nil, testenv.State(smallDisk(t, diskMiB)))
		f := open(t, w.path("f"), os.O_CREATE|os.O_RDWR|os.O_EXCL)
		const half = longMiB / 2
		writeLong(t, f, 0, half+50)
		got := make([]byte, mebibyte)
		for _, i := range []int{0, 1, 20, half} {
			if _, err := f.ReadAt(got, int64(i)*mebibyte); err != nil {
				t.Fatalf("read MiB %d: %v", i, err)
			}
			sameBytes(t, fmt.Sprint("MiB ", i), got, piece(i))
		}
		closed(t, f)
		w.stored(d)
		if w.sumOfObject("f") != sumLong(half+50, nil) || sumOfFile(t, w.path("f")) != sumLong(half+50, nil) {
			t.Error("the object or the file has other bytes")
		}
		w.noUploads()
	})
}

// closesLong closes a long file, some of whose MiBs are changed: it is stored, and little of it has gone up twice.
func (w *writing) closesLong(d string, f *os.File, changed map[int][]byte) {
	w.t.Helper()
	closed(w.t, f)
	w.stored(d)
	if all := w.took(); all.sent() > (longMiB+64)*mebibyte {
		w.t.Errorf("%d bytes up: %v", all.sent(), all)
	}
	if w.sumOfObject("f") != sumLong(longMiB, changed) {
		w.t.Error("the object has other bytes")
	}
	w.noUploads()
}

func TestTheMiddleOfALongStreamIsRewritten(t *testing.T) {
	modest(t)
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, nil, testenv.State(smallDisk(t, diskMiB)))
		f := open(t, w.path("f"), os.O_CREATE|os.O_RDWR|os.O_EXCL)
		writeLong(t, f, 0, longMiB)
		changed := map[int][]byte{0: append([]byte("header"), piece(0)[6:]...), 50: append([]byte("middle"), piece(50)[6:]...)}
		for i, p := range changed {
			if _, err := f.WriteAt(p[:6], int64(i)*mebibyte); err != nil {
				t.Fatal(err)
			}
		}
		w.closesLong(d, f, changed)
		if sumOfFile(t, w.path("f")) != sumLong(longMiB, changed) {
			t.Error("the file has other bytes")
		}
	})
}

// An fsync on the way makes the object; what follows is stored behind it, also when it is longer than the disk.
func TestALongStreamWithAnFsync(t *testing.T) {
	modest(t)
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, nil, testenv.State(smallDisk(t, diskMiB)))
		f := open(t, w.path("f"), os.O_CREATE|os.O_WRONLY|os.O_EXCL)
		writeLong(t, f, 0, 60)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		writeLong(t, f, 60, longMiB)
		w.closesLong(d, f, nil)
	})
}

// What was never closed is nothing after a kill: no object, no upload, no bytes on the disk.
func TestALongStreamEndsInAKill(t *testing.T) {
	modest(t)
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, nil, testenv.State(smallDisk(t, diskMiB)))
		f := open(t, w.path("f"), os.O_CREATE|os.O_WRONLY|os.O_EXCL)
		writeLong(t, f, 0, 300)
		w.m.Kill()
		f.Close() // fails, its mount is gone
		w.again(d, awayLog())
		w.flush()
		w.noUploads()
		w.holds(map[string][]byte{})
		if n := spooled(t, w.m.StateDir); n != 0 {
			t.Errorf("%d bytes are left of it", n)
		}
		if _, err := os.Stat(w.path("f")); !os.IsNotExist(err) {
			t.Errorf("stat: %v", err)
		}
	})
}

// A close that fails because the store does not complete the upload is an error; the file is stored by the next mount, from
// the parts that the store has and what is left here.
func TestALongStreamThatCannotBeCompleted(t *testing.T) {
	modest(t)
	both(t, func(t *testing.T, d string) {
		for _, kill := range []bool{true, false} {
			w := writes(t, d, nil, testenv.State(smallDisk(t, diskMiB)), awayLog(), testenv.Args("--timeout", "3s"), testenv.ExpectExit(8))
			f := open(t, w.path("f"), os.O_CREATE|os.O_WRONLY|os.O_EXCL)
			writeLong(t, f, 0, longMiB)
			w.p.Meet(storeproxy.Some(storeproxy.Fate{Act: storeproxy.Refuse, Status: 503, Code: "SlowDown"}, 0, storeproxy.CompleteUpload))
			if err := f.Close(); err == nil {
				t.Error("close says that it is stored")
			}
			if kill {
				w.m.Kill()
			} else {
				w.m.Unmount()
			}
			w.p.Meet(nil)
			w.took()
			w.again(d, awayLog())
			if fi, err := os.Stat(w.path("f")); err != nil || fi.Size() != longMiB*mebibyte {
				t.Errorf("stat: %v %v", fi, err)
			}
			w.flush()
			if all := w.took(); all.sent() > 64*mebibyte {
				t.Errorf("%d bytes up: %v", all.sent(), all)
			}
			if w.sumOfObject("f") != sumLong(longMiB, nil) {
				t.Error("the object has other bytes")
			}
			w.noUploads()
			w.m.Unmount()
		}
	})
}

// An upload that the store has lost, with bytes that are nowhere else: an error of close that says so, never a short object.
// Who removes the file is rid of it.
func TestALongStreamWhoseUploadVanished(t *testing.T) {
	modest(t)
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, nil, testenv.State(smallDisk(t, diskMiB)), awayLog(), testenv.AllowLog("only copy", "nowhere else"))
		f := open(t, w.path("f"), os.O_CREATE|os.O_WRONLY|os.O_EXCL)
		writeLong(t, f, 0, 150)
		ups, err := w.s.Client.Uploads(t.Context(), w.bucket, "")
		if err != nil || len(ups) != 1 {
			t.Fatalf("uploads %v, %v", ups, err)
		}
		if err := w.s.Client.AbortUpload(t.Context(), w.bucket, "f", ups[0].ID); err != nil {
			t.Fatal(err)
		}
		w.p.Meet(vanished(ups[0].ID))
		if err := f.Close(); !errors.Is(err, syscall.EIO) {
			t.Errorf("close: %v", err)
		}
		w.holds(map[string][]byte{})
		if err := os.Remove(w.path("f")); err != nil {
			t.Errorf("rm: %v", err)
		}
		write(t, w.path("f"), []byte("again"))
		w.stored(d)
		w.holds(map[string][]byte{"f": []byte("again")})
		w.noUploads()
	})
}
