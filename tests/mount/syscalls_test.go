package mount

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func closed(t *testing.T, f *os.File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMmapReadsAndWrites(t *testing.T) {
	s, bucket, m := openStore(t)
	content := noise(1, 3<<20)
	put(t, s, bucket, "mapped", content)
	f := open(t, join(m.Dir, "mapped"), os.O_RDWR)
	p, err := unix.Mmap(int(f.Fd()), 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "mapped bytes", p, content)
	copy(p[1<<20:], "written through the mapping")
	copy(content[1<<20:], "written through the mapping")
	if err := unix.Msync(p, unix.MS_SYNC); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "the object after msync", object(t, s, bucket, "mapped"), content)
	copy(p, "later")
	copy(content, "later")
	closed(t, f)
	if err := unix.Munmap(p); err != nil {
		t.Fatal(err)
	}
	m.Unmount()
	sameBytes(t, "the object after munmap", object(t, s, bucket, "mapped"), content)
}

func TestSparseWritesAndTruncate(t *testing.T) {
	s, bucket, m := openStore(t)
	f := open(t, join(m.Dir, "sparse"), os.O_RDWR|os.O_CREATE)
	want := make([]byte, 30<<20+5)
	copy(want[30<<20:], "ahoy!")
	copy(want[100:], "here")
	if _, err := f.WriteAt([]byte("ahoy!"), 30<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("here"), 100); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "sparse object", object(t, s, bucket, "sparse"), want)
	for _, size := range []int{20 << 20, 200, 25 << 20, 0, 10} {
		if err := f.Truncate(int64(size)); err != nil {
			t.Fatal(err)
		}
		if size <= len(want) {
			want = want[:size]
		} else {
			want = append(want, make([]byte, size-len(want))...)
		}
		got := make([]byte, size)
		if _, err := f.ReadAt(got, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		sameBytes(t, "truncated file", got, want)
	}
	closed(t, f)
	sameBytes(t, "truncated object", object(t, s, bucket, "sparse"), want)
	if err := os.Truncate(join(m.Dir, "sparse"), 3); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "the object after truncate(2)", object(t, s, bucket, "sparse"), []byte{0, 0, 0})
}

func TestEditInPlaceOfALargeObject(t *testing.T) {
	s, bucket, m := openStore(t)
	content := noise(5, 40<<20)
	write(t, join(m.Dir, "large"), content)
	m.Unmount()
	m = mount(t, s, bucket)
	f := open(t, join(m.Dir, "large"), os.O_RDWR)
	for _, off := range []int64{0, 12<<20 + 7, 40<<20 - 3} {
		if _, err := f.WriteAt([]byte("EDIT"), off); err != nil {
			t.Fatal(err)
		}
		if int(off)+4 > len(content) {
			content = append(content, make([]byte, int(off)+4-len(content))...)
		}
		copy(content[off:], "EDIT")
	}
	closed(t, f)
	sameBytes(t, "edited object", object(t, s, bucket, "large"), content)
	sh(t, m.Dir, `printf tail >> large`)
	sameBytes(t, "appended object", object(t, s, bucket, "large"), append(content, "tail"...))
}

func TestOpenFlags(t *testing.T) {
	s, bucket, m := openStore(t)
	path := join(m.Dir, "f")
	one := open(t, path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if _, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644); !errors.Is(err, os.ErrExist) {
		t.Errorf("O_EXCL on an existing file: %v", err)
	}
	two := open(t, path, os.O_RDONLY)
	if _, err := one.WriteString("seen by both"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 12)
	if _, err := two.ReadAt(got, 0); err != nil || string(got) != "seen by both" {
		t.Errorf("the second handle reads %q, %v", got, err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Error(err)
				return
			}
			for range 50 {
				if _, err := f.Write(bytes.Repeat([]byte{byte('a' + i)}, 100)); err != nil {
					t.Error(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	closed(t, one)
	closed(t, two)
	b := object(t, s, bucket, "f")
	if len(b) != 12+4*50*100 {
		t.Errorf("%d bytes after appends of four writers, want %d", len(b), 12+4*50*100)
	}
	for i := range 4 {
		if n := bytes.Count(b[12:], bytes.Repeat([]byte{byte('a' + i)}, 100)); n != 50 {
			t.Errorf("writer %d has %d of its 50 records", i, n)
		}
	}
	if f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0); err != nil {
		t.Error(err)
	} else {
		closed(t, f)
	}
	if b := object(t, s, bucket, "f"); len(b) != 0 {
		t.Errorf("O_TRUNC left %d bytes", len(b))
	}
}

func TestUnlinkedOpenFileLivesOn(t *testing.T) {
	s, bucket, m := openStore(t)
	content := noise(9, 2<<20)
	put(t, s, bucket, "stored", content)
	for _, name := range []string{"stored", "fresh"} {
		f := open(t, join(m.Dir, name), os.O_RDWR|os.O_CREATE)
		if name == "fresh" {
			if _, err := f.Write(content); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(f.Name()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(f.Name()); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", name, err)
		}
		write(t, f.Name(), []byte("another file of the same name"))
		if _, err := f.WriteAt([]byte("on and on"), 10); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(content))
		if _, err := f.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(content)
		copy(want[10:], "on and on")
		sameBytes(t, "the unlinked "+name, got, want)
		if fi, err := f.Stat(); err != nil || fi.Size() != int64(len(content)) || fi.Sys().(*syscall.Stat_t).Nlink != 0 {
			t.Errorf("fstat of the unlinked file: %v, %v", fi, err)
		}
		closed(t, f)
		sameBytes(t, "the new object", object(t, s, bucket, name), []byte("another file of the same name"))
	}
}

func TestRenameOverAnOpenFile(t *testing.T) {
	s, bucket, m := openStore(t)
	put(t, s, bucket, "old", []byte("old content"))
	put(t, s, bucket, "new", []byte("new content"))
	f := open(t, join(m.Dir, "old"), os.O_RDONLY)
	if err := os.Rename(join(m.Dir, "new"), join(m.Dir, "old")); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); err != nil || string(b) != "old content" {
		t.Errorf("the replaced file reads %q, %v", b, err)
	}
	if b := read(t, join(m.Dir, "old")); string(b) != "new content" {
		t.Errorf("the name reads %q", b)
	}
	if got := strings.Join(keys(t, s, bucket), " "); got != "old" {
		t.Errorf("keys: %s", got)
	}
	err := unix.Renameat2(unix.AT_FDCWD, join(m.Dir, "old"), unix.AT_FDCWD, join(m.Dir, "old2"), unix.RENAME_EXCHANGE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		t.Errorf("RENAME_EXCHANGE: %v", err)
	}
	write(t, join(m.Dir, "there"), nil)
	if err := unix.Renameat2(unix.AT_FDCWD, join(m.Dir, "old"), unix.AT_FDCWD, join(m.Dir, "there"), unix.RENAME_NOREPLACE); !errors.Is(err, unix.EEXIST) {
		t.Errorf("RENAME_NOREPLACE onto an existing file: %v", err)
	}
}

func TestRenameOfAnOpenUnsavedFile(t *testing.T) {
	s, bucket, m := openStore(t)
	f := open(t, join(m.Dir, "draft"), os.O_RDWR|os.O_CREATE)
	if _, err := f.WriteString("first "); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.Name(), join(m.Dir, "final")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("second"); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	if b := object(t, s, bucket, "final"); string(b) != "first second" {
		t.Errorf("the object is %q", b)
	}
	if got := strings.Join(keys(t, s, bucket), " "); got != "final" {
		t.Errorf("keys: %s", got)
	}
	if err := os.Mkdir(join(m.Dir, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	g := open(t, join(m.Dir, "dir/open"), os.O_RDWR|os.O_CREATE)
	if _, err := g.WriteString("before "); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(join(m.Dir, "dir"), join(m.Dir, "moved")); err != nil {
		t.Fatal(err)
	}
	if _, err := g.WriteString("after"); err != nil {
		t.Fatal(err)
	}
	closed(t, g)
	if b := read(t, join(m.Dir, "moved/open")); string(b) != "before after" {
		t.Errorf("the file of the renamed directory is %q", b)
	}
	if got := strings.Join(keys(t, s, bucket), " "); got != "final moved/ moved/open" {
		t.Errorf("keys: %s", got)
	}
}

func TestErrnos(t *testing.T) {
	s, bucket, m := openStore(t)
	put(t, s, bucket, "dir/file", []byte("x"))
	at := func(name string) string { return join(m.Dir, name) }
	for _, c := range []struct {
		what string
		err  error
		want error
	}{
		{"link", os.Link(at("dir/file"), at("hard")), unix.EPERM},
		{"rmdir of a full directory", unix.Rmdir(at("dir")), unix.ENOTEMPTY},
		{"rmdir of a file", unix.Rmdir(at("dir/file")), unix.ENOTDIR},
		{"unlink of a directory", unix.Unlink(at("dir")), unix.EISDIR},
		{"mkdir over a file", unix.Mkdir(at("dir/file"), 0o755), unix.EEXIST},
		{"a name of 256 bytes", unix.Mkdir(at(strings.Repeat("n", 256)), 0o755), unix.ENAMETOOLONG},
		{"a path through a file", unix.Mkdir(at("dir/file/x"), 0o755), unix.ENOTDIR},
		{"rename into itself", unix.Rename(at("dir"), at("dir/sub")), unix.EINVAL},
		{"rename of a directory over a file", unix.Rename(at("dir"), at("dir/file")), unix.EINVAL},
		{"getxattr", func() error { _, err := unix.Getxattr(at("dir/file"), "user.x", nil); return err }(), unix.EOPNOTSUPP},
		{"a missing file", unix.Access(at("missing"), unix.F_OK), unix.ENOENT},
		{"a name that is no UTF-8", unix.Mkdir(at("\xff"), 0o755), unix.EINVAL},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.err, c.want)
		}
	}
}

func TestDirectoryReadsAreStable(t *testing.T) {
	s, bucket, m := openStore(t)
	want := map[string]bool{}
	for i := range 300 {
		name := "n" + strings.Repeat("x", i%40) + string(rune('a'+i%26)) + strings.Repeat("y", i/26)
		put(t, s, bucket, "d/"+name, nil)
		want[name] = true
	}
	d := open(t, join(m.Dir, "d"), os.O_RDONLY)
	got := map[string]int{}
	for i := 0; ; i++ {
		names, err := d.Readdirnames(17)
		for _, n := range names {
			got[n]++
		}
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		write(t, join(m.Dir, "d/added"+string(rune('a'+i%26))), nil) // others come and go meanwhile
	}
	for n := range want {
		if got[n] != 1 {
			t.Errorf("%s was listed %d times", n, got[n])
		}
	}
	if _, err := d.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	again, err := d.Readdirnames(-1)
	if err != nil || len(again) < len(want) {
		t.Errorf("after rewinddir: %d names, %v", len(again), err)
	}
}
