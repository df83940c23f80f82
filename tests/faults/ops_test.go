package faults

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// op is an operation of a mount, as programs use them.
type op struct {
	name string
	// run does it, in the directory of the cell. An error that is no errno is a bug.
	run func(c *cell) error
	// after turns what was there before into what the store must have when it has succeeded; nil: nothing changes.
	after func(s state)
	// also is what else the store may have when it has failed, besides what was there before and after.
	also func(s state)
	// keeps: what write(2) took is stored in the end, whatever close said.
	keeps bool
	// needs is what there is in the directory besides "small" and "beside": "large" has several parts, "medium" several blocks.
	needs string
	// waits is how many of its system calls may wait for the store.
	waits int
	// bucket: what it makes and removes is a bucket; the state is that of the whole account.
	bucket bool
}

const (
	smallBytes  = 3000
	mediumBytes = 1 << 20
	largeBytes  = 11 << 20 // more than two parts
	streamBytes = 12 << 20
)

var (
	smallText  = noise(1, smallBytes)
	mediumText = noise(2, mediumBytes)
	largeText  = noise(3, largeBytes)
	newText    = noise(4, 2000)
	streamText = noise(5, streamBytes)
	editText   = noise(6, 4096)
)

const editAt = 5 << 20 >> 1

var aTime = time.Unix(1_500_000_000, 0)

// fixture is what lies in a cell's directory before.
func (o *op) fixture() state {
	s := state{"small": {content: smallText,
		meta: map[string]string{"mode": "33188", "uid": "0", "gid": "0", "mtime": "1400000000", "colour": "red"}},
		"beside": {content: "it keeps the directory"}}
	more := state{
		"sub/a": {content: "in a"}, "sub/b": {content: "in b"},
		"empty/": {},
		"link":   {content: "small", meta: map[string]string{"mode": "41471"}},
		"medium": {content: mediumText},
		"large":  {content: largeText},
	}
	for _, name := range strings.Fields(o.needs) {
		s[name] = more[name]
	}
	return s
}

func move(s state, from, to string) {
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if key == from || strings.HasPrefix(key, from+"/") {
			s[to+strings.TrimPrefix(key, from)] = s[key]
			delete(s, key)
		}
	}
}

func with(s state, key, name, value string) {
	o := s[key]
	o.meta = maps.Clone(o.meta)
	o.meta[name] = value
	s[key] = o
}

func content(s state, key, text string) {
	s[key] = object{content: text}
}

// errWrong is what no fault excuses: a success with other bytes, names or attributes than there are.
var errWrong = errors.New("wrong")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errWrong, fmt.Sprintf(format, args...))
}

func same(what, got, want string) error {
	if got != want {
		return wrong("%s is %s, not %s", what, brief(got), brief(want))
	}
	return nil
}

// writeTo opens a file, writes, and closes it whatever happened.
func (c *cell) writeTo(name string, flags int, write func(f *os.File) error) error {
	f, err := os.OpenFile(c.path(name), flags, 0o644)
	if err != nil {
		return err
	}
	err = write(f)
	c.taken = c.taken || err == nil
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

var ops = []*op{
	{name: "stat", waits: 1, run: func(c *cell) error {
		fi, err := os.Lstat(c.path("small"))
		if err != nil {
			return err
		}
		if fi.Size() != smallBytes || fi.Mode() != 0o644 || fi.ModTime().Unix() != 1_400_000_000 {
			return wrong("%d bytes, %v, %v", fi.Size(), fi.Mode(), fi.ModTime())
		}
		return nil
	}},
	{name: "stat nothing", waits: 1, run: func(c *cell) error {
		_, err := os.Lstat(c.path("nothing"))
		switch {
		case err == nil:
			return wrong("there is a file")
		case errors.Is(err, iofs.ErrNotExist):
			return nil
		}
		return err
	}},
	{name: "readdir", waits: 2, needs: "sub/a sub/b empty/ link", run: func(c *cell) error {
		d, err := os.Open(c.dir)
		if err != nil {
			return err
		}
		defer d.Close()
		names, err := d.Readdirnames(-1)
		if err != nil {
			return err
		}
		slices.Sort(names)
		return same("the directory", fmt.Sprint(names), "[beside empty link small sub]")
	}},
	{name: "read small", waits: 3, run: func(c *cell) error {
		got, err := os.ReadFile(c.path("small"))
		if err != nil {
			return err
		}
		return same("the file", string(got), smallText)
	}},
	{name: "read large", waits: 4, needs: "large", run: func(c *cell) error {
		f, err := os.Open(c.path("large"))
		if err != nil {
			return err
		}
		defer f.Close()
		got, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		return same("the file", string(got), largeText)
	}},
	{name: "read random", waits: 6, needs: "medium", run: func(c *cell) error {
		f, err := os.Open(c.path("medium"))
		if err != nil {
			return err
		}
		defer f.Close()
		rnd, p := rand.New(rand.NewPCG(9, 9)), make([]byte, 5000)
		for range 4 {
			off := rnd.IntN(mediumBytes - len(p))
			if _, err := f.ReadAt(p, int64(off)); err != nil {
				return err
			}
			if err := same("a piece", string(p), mediumText[off:off+len(p)]); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "create", waits: 2, keeps: true, after: func(s state) { content(s, "new", newText) }, run: func(c *cell) error {
		return c.writeTo("new", os.O_CREATE|os.O_EXCL|os.O_WRONLY, func(f *os.File) error {
			_, err := f.WriteString(newText)
			return err
		})
	}},
	{name: "overwrite", waits: 3, keeps: true, after: func(s state) { content(s, "small", newText) }, run: func(c *cell) error {
		return c.writeTo("small", os.O_TRUNC|os.O_WRONLY, func(f *os.File) error {
			_, err := f.WriteString(newText)
			return err
		})
	}},
	{name: "stream", waits: 4, keeps: true, after: func(s state) { content(s, "new", streamText) }, run: func(c *cell) error {
		return c.writeTo("new", os.O_CREATE|os.O_WRONLY, func(f *os.File) error {
			for off := 0; off < streamBytes; off += 1 << 20 {
				if _, err := f.WriteString(streamText[off : off+1<<20]); err != nil {
					return err
				}
			}
			return nil
		})
	}},
	{name: "edit", waits: 4, keeps: true, needs: "large", after: func(s state) {
		content(s, "large", largeText[:editAt]+editText+largeText[editAt+len(editText):])
	}, run: func(c *cell) error {
		return c.writeTo("large", os.O_RDWR, func(f *os.File) error {
			_, err := f.WriteAt([]byte(editText), editAt)
			return err
		})
	}},
	{name: "append", waits: 4, keeps: true, after: func(s state) { content(s, "small", smallText+newText) }, run: func(c *cell) error {
		return c.writeTo("small", os.O_APPEND|os.O_WRONLY, func(f *os.File) error {
			_, err := f.WriteString(newText)
			return err
		})
	}},
	{name: "truncate", waits: 3, keeps: true, after: func(s state) { content(s, "small", smallText[:1000]) }, run: func(c *cell) error {
		return os.Truncate(c.path("small"), 1000)
	}},
	{name: "fsync", waits: 3, keeps: true, after: func(s state) { content(s, "new", newText) }, run: func(c *cell) error {
		return c.writeTo("new", os.O_CREATE|os.O_WRONLY, func(f *os.File) error {
			if _, err := f.WriteString(newText); err != nil {
				return err
			}
			c.taken = true
			return f.Sync()
		})
	}},
	{name: "pailfs flush", waits: 3, keeps: true, after: func(s state) { content(s, "new", newText) }, run: func(c *cell) error {
		return c.writeTo("new", os.O_CREATE|os.O_WRONLY, func(f *os.File) error {
			if _, err := f.WriteString(newText); err != nil {
				return err
			}
			c.taken = true
			return c.w.flush(c.rel)
		})
	}},
	{name: "copy", waits: 5, keeps: true, after: func(s state) { content(s, "new", smallText) }, run: copyWhole},
	{name: "rename", waits: 1, after: func(s state) { move(s, "small", "moved") },
		also: func(s state) { s["moved"] = s["small"] },
		run:  func(c *cell) error { return os.Rename(c.path("small"), c.path("moved")) }},
	{name: "rename over", waits: 1, needs: "medium", after: func(s state) { move(s, "small", "medium") },
		also: func(s state) { s["medium"] = s["small"] },
		run:  func(c *cell) error { return os.Rename(c.path("small"), c.path("medium")) }},
	{name: "rename directory", waits: 1, needs: "sub/a sub/b", after: func(s state) { move(s, "sub", "other") }, also: halfMoved,
		run: func(c *cell) error { return os.Rename(c.path("sub"), c.path("other")) }},
	{name: "unlink", waits: 1, after: func(s state) { delete(s, "small") },
		run: func(c *cell) error { return unix.Unlink(c.path("small")) }},
	{name: "mkdir", waits: 1, after: func(s state) { s["new/"] = object{} },
		run: func(c *cell) error { return os.Mkdir(c.path("new"), 0o755) }},
	{name: "rmdir", waits: 1, needs: "empty/", after: func(s state) { delete(s, "empty/") },
		run: func(c *cell) error { return unix.Rmdir(c.path("empty")) }},
	{name: "chmod", waits: 1, after: func(s state) { with(s, "small", "mode", "33152") },
		run: func(c *cell) error { return os.Chmod(c.path("small"), 0o600) }},
	{name: "chown", waits: 1, after: func(s state) { with(s, "small", "uid", "1000") },
		run: func(c *cell) error { return os.Lchown(c.path("small"), 1000, -1) }},
	{name: "utimens", waits: 1, after: func(s state) { with(s, "small", "mtime", "1500000000") },
		run: func(c *cell) error { return os.Chtimes(c.path("small"), time.Time{}, aTime) }},
	{name: "setxattr", waits: 1, after: func(s state) { with(s, "small", "colour", "blue") },
		run: func(c *cell) error { return unix.Setxattr(c.path("small"), "user.colour", []byte("blue"), 0) }},
	{name: "getxattr", waits: 1, run: func(c *cell) error {
		p := make([]byte, 100)
		n, err := unix.Getxattr(c.path("small"), "user.colour", p)
		if err != nil {
			return err
		}
		return same("the attribute", string(p[:n]), "red")
	}},
	{name: "symlink", waits: 1, after: func(s state) { content(s, "new", "small") },
		run: func(c *cell) error { return os.Symlink("small", c.path("new")) }},
	{name: "readlink", waits: 2, needs: "link", run: func(c *cell) error {
		got, err := os.Readlink(c.path("link"))
		if err != nil {
			return err
		}
		return same("the link", got, "small")
	}},
	{name: "statfs", waits: 0, run: func(c *cell) error {
		var st unix.Statfs_t
		return unix.Statfs(c.dir, &st)
	}},
	{name: "mkdir bucket", waits: 1, bucket: true, after: func(s state) { s[c0Bucket] = object{} },
		run: func(c *cell) error { return os.Mkdir(c.w.m.Path(c.bucketName()), 0o755) }},
	{name: "rmdir bucket", waits: 1, bucket: true, after: func(s state) { delete(s, c0Bucket) },
		run: func(c *cell) error { return unix.Rmdir(c.w.m.Path(c.bucketName())) }},
}

// c0Bucket stands for the bucket of a cell in its state.
const c0Bucket = "a bucket"

// halfMoved: of the directory's two files each is under either name, or both.
func halfMoved(s state) {
	for _, name := range []string{"a", "b"} {
		s["other/"+name] = s["sub/"+name]
	}
}

// copyWhole copies a whole file without moving its bytes.
func copyWhole(c *cell) error {
	from, err := os.Open(c.path("small"))
	if err != nil {
		return err
	}
	defer from.Close()
	return c.writeTo("new", os.O_CREATE|os.O_WRONLY, func(to *os.File) error {
		for left := smallBytes; left > 0; {
			n, err := unix.CopyFileRange(int(from.Fd()), nil, int(to.Fd()), nil, left, 0)
			if err != nil {
				return err
			}
			if n == 0 {
				return wrong("the file ends %d bytes early", left)
			}
			left -= n
		}
		return nil
	})
}
