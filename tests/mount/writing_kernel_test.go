package mount

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"pailfs/tests/storeproxy"
)

// Two processes that append to one file lose nothing of each other's.
func TestAppendsOfTwoProcesses(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		start := []byte("start\n")
		w := writes(t, d, map[string][]byte{"log": start})
		const n = 150
		var writers []*exec.Cmd
		for _, who := range []string{"a", "b"} {
			cmd := exec.Command("bash", "-c", fmt.Sprintf(`exec >> log; for i in $(seq 1 %d); do echo "%s $i 0123456789abcdef"; done`, n, who))
			cmd.Dir = w.m.Dir
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			writers = append(writers, cmd)
		}
		for _, cmd := range writers {
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
		w.stored(d)
		got := object(t, w.s, w.bucket, "log")
		sameBytes(t, "the file", read(t, w.path("log")), got)
		next := map[string]int{"a": 1, "b": 1}
		for i, line := range strings.Split(strings.TrimSuffix(string(got), "\n"), "\n") {
			if i == 0 {
				if line != "start" {
					t.Errorf("it begins with %q", line)
				}
				continue
			}
			who, _, _ := strings.Cut(line, " ")
			if want := fmt.Sprintf("%s %d 0123456789abcdef", who, next[who]); line != want {
				t.Fatalf("line %d is %q, want %q", i, line, want)
			}
			next[who]++
		}
		if next["a"] != n+1 || next["b"] != n+1 {
			t.Errorf("lines: %v", next)
		}
	})
}

// What is written through a shared mapping is stored by msync, also where close does not wait for the store.
func TestMappedWritesAreStoredByMsync(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		content := noise(1, 3<<20)
		w := writes(t, d, map[string][]byte{"f": content})
		f := open(t, w.path("f"), os.O_RDWR)
		p, err := unix.Mmap(int(f.Fd()), 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int{1 << 20, 0, 3<<20 - 30, 4095} {
			poke(t, p[off:], "written through the mapping"[:min(27, len(p)-off)])
			copy(content[off:], "written through the mapping")
		}
		if err := unix.Msync(p, unix.MS_SYNC); err != nil {
			t.Fatal(err)
		}
		sameBytes(t, "the object after msync", object(t, w.s, w.bucket, "f"), content)
		poke(t, p[2<<20:], "after it")
		copy(content[2<<20:], "after it")
		closed(t, f)
		if err := unix.Munmap(p); err != nil {
			t.Fatal(err)
		}
		w.m.Unmount()
		sameBytes(t, "the object after the mount's end", object(t, w.s, w.bucket, "f"), content)
	})
}

func TestDirectWrites(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		content := noise(1, 20<<20)
		w := writes(t, d, map[string][]byte{"f": content})
		f, err := os.OpenFile(w.path("f"), os.O_RDWR|unix.O_DIRECT, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		block := aligned(1 << 20)
		copy(block, noise(2, 1<<20))
		for _, off := range []int{0, 9 << 20, 20 << 20} {
			content = overwrite(t, f, content, off, block)
		}
		if _, err := f.ReadAt(block, 9<<20); err != nil {
			t.Fatal(err)
		}
		sameBytes(t, "read back", block, content[9<<20:10<<20])
		closed(t, f)
		w.stored(d)
		w.holds(map[string][]byte{"f": content})
		sameBytes(t, "the file", read(t, w.path("f")), content)
	})
}

// aligned is memory as O_DIRECT wants it.
func aligned(n int) []byte {
	b := make([]byte, n+4096)
	skip := 4096 - int(uintptr(unsafe.Pointer(&b[0]))%4096)
	return b[skip : skip+n]
}

func TestOpeningWithTruncCutsTheFile(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		for name, flags := range map[string]int{"read only": os.O_RDONLY, "write only": os.O_WRONLY, "both": os.O_RDWR} {
			w := writes(t, d, map[string][]byte{"small": noise(1, 1000), "large": noise(2, 20<<20)})
			for _, file := range []string{"small", "large"} {
				f := open(t, w.path(file), flags|os.O_TRUNC)
				if fi, err := f.Stat(); err != nil || fi.Size() != 0 {
					t.Errorf("%s: %v, %v", name, fi, err)
				}
				closed(t, f)
				if fi, err := os.Stat(w.path(file)); err != nil || fi.Size() != 0 {
					t.Errorf("%s, after close: %v, %v", name, fi, err)
				}
			}
			w.stored(d)
			w.holds(map[string][]byte{"small": nil, "large": nil})
			if all := w.took(); all.sent() != 0 || all.fetched() > 300<<10 {
				t.Errorf("%s: %v", name, all)
			}
			w.m.Unmount()
		}
	})
}

// A file that was removed while it is open goes on for who has it open, and never comes back.
func TestARemovedFileLivesOnForItsReaders(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		content := noise(9, 12<<20)
		w := writes(t, d, map[string][]byte{"stored": content, "replaced": content})
		for _, name := range []string{"stored", "replaced", "fresh"} {
			f := open(t, w.path(name), os.O_RDWR|os.O_CREATE)
			if name == "fresh" {
				fill(t, f, content)
			}
			if name == "replaced" {
				write(t, w.path("other"), []byte("other"))
				if err := os.Rename(w.path("other"), w.path(name)); err != nil {
					t.Fatal(err)
				}
			} else if err := os.Remove(w.path(name)); err != nil {
				t.Fatal(err)
			}
			w.stored(d)
			want := bytes.Clone(content)
			want = overwrite(t, f, want, 1<<20, []byte("written after the removal"))
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			sameBytes(t, name, got, want)
			closed(t, f)
		}
		w.stored(d)
		w.holds(map[string][]byte{"replaced": []byte("other")})
		w.m.Unmount()
		w.holds(map[string][]byte{"replaced": []byte("other")})
		w.noUploads()
	})
}

// The last of several versions written in a row is what is stored, and others see complete ones only.
func TestVersionsInARow(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, nil)
		var versions [][]byte
		for i := range 12 {
			versions = append(versions, noise(50+i, 200_000+i*7))
		}
		seen := w.observed("f", versions...)
		for _, v := range versions {
			write(t, w.path("f"), v)
			sameBytes(t, "at once", read(t, w.path("f")), v)
		}
		w.stored(d)
		n := seen()
		t.Logf("another client saw %v", n)
		w.holds(map[string][]byte{"f": versions[len(versions)-1]})
		if puts := len(w.took().of(storeproxy.Put)); d == inJournal && puts > len(versions) || d == inStore && puts < len(versions) {
			t.Errorf("%d PUTs for %d versions", puts, len(versions))
		}
	})
}

// Renames in journal durability: of what the store has, over what it has, and of directories with pending files in them.
func TestRenamesOfWhatIsPending(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, map[string][]byte{"d/stored": []byte("stored"), "target": []byte("target"), "d/sub/x": []byte("x")})
		sh(t, w.m.Dir, `
			echo pending > d/pending; chmod 600 d/stored; mkdir d/new; echo in > d/new/file
			mv d e; [ "$(cat e/pending)" = pending ]; [ "$(cat e/new/file)" = in ]; [ ! -e d ]
			echo over > e/over; mv e/over target; [ "$(cat target)" = over ]
			mv target e/target; mv e/sub/x e/x; rmdir e/sub
			echo again > d; mv d e/again; mkdir d; mv e/again d/; [ "$(ls d)" = again ]`)
		w.stored(d)
		w.holds(map[string][]byte{"e/pending": []byte("pending\n"), "e/new/file": []byte("in\n"), "e/stored": []byte("stored"),
			"e/target": []byte("over\n"), "e/x": []byte("x"), "d/again": []byte("again\n")})
		if m := head(t, w.s, w.bucket, "e/stored").Headers.Meta["mode"]; m != "33152" {
			t.Errorf("the mode is %q", m)
		}
		want := sh(t, w.m.Dir, `find . -printf '%p %y %m %s\n' | sort`)
		w.m.Unmount()
		other := mount(t, w.s, w.bucket)
		if got := sh(t, other.Dir, `find . -printf '%p %y %m %s\n' | sort`); got != want {
			t.Errorf("another mount shows\n%s\nthis one\n%s", got, want)
		}
	})
}

// A signal ends a writer who waits for a store that does not answer.
func TestAWriterWhoWaitsCanBeKilled(t *testing.T) {
	w := writes(t, inStore, nil, awayLog())
	w.p.Meet(storeproxy.Some(storeproxy.Fate{Act: storeproxy.Hold}, 1, storeproxy.Put))
	cmd := exec.Command("bash", "-c", "trap '' HUP; exec dd if=/dev/zero of=f bs=1000 count=1 conv=fsync status=none")
	cmd.Dir = w.m.Dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it waits for the store", func() bool { return len(requests(w.p.Peek()).of(storeproxy.Put)) > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Errorf("dd ended: %v", err)
	}
	w.p.Meet(nil)
	eventually(t, "nothing is going on", func() bool { return w.p.Flying() == 0 })
}
