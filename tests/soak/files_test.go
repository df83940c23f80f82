package soak

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"pailfs/s3client"
)

// stream writes as a program that makes a video does: a place for the header, the content on end, and at the end, with the
// length, the header. It is seen under its name when it is whole.
func stream(x *worker) (err error) {
	const step = 64 << 10
	name := fmt.Sprintf("video-%d.mp4", x.rnd.IntN(2))
	content := noise(x.rnd.Uint64(), 256<<10+x.rnd.IntN(24<<20))
	copy(content, make([]byte, 16))
	f, err := os.Create(x.path("part"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed(f)) }()
	for off := 0; off < len(content); off += step {
		if _, err := f.Write(content[off:min(off+step, len(content))]); err != nil {
			return err
		}
	}
	binary.BigEndian.PutUint64(content, uint64(len(content)))
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := f.Write(content[:16]); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(x.path("part"), x.path(name)); err != nil {
		return err
	}
	x.files[x.key(name)] = sumOf(content)
	x.bytes.Add(int64(len(content)))
	return x.check(name)
}

// closed closes a file that may be closed already.
func closed(f *os.File) error {
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// appended is what a log has so far.
type appended struct {
	n    int
	text []byte
}

const logLine = "line %08d of a log that somebody reads meanwhile\n"

// appendLog adds lines to a log, and begins a new one when it is long.
func appendLog(x *worker) (err error) {
	const long = 128 << 10
	if x.state == nil {
		x.state = &appended{}
	}
	log := x.state.(*appended)
	if len(log.text) > long {
		if err := os.Rename(x.path("log"), x.path("log.1")); err != nil {
			return err
		}
		x.files[x.key("log.1")] = sumOf(log.text)
		*log = appended{}
	}
	f, err := os.OpenFile(x.path("log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed(f)) }()
	for range 50 {
		line := fmt.Sprintf(logLine, log.n)
		if _, err := f.WriteString(line); err != nil {
			return err
		}
		log.n, log.text = log.n+1, append(log.text, line...)
	}
	if x.rnd.IntN(4) == 0 {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("fsync: %w", err)
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	x.files[x.key("log")] = sumOf(log.text)
	x.bytes.Add(50 * int64(len(fmt.Sprintf(logLine, 0))))
	return nil
}

// follow reads another host's log: whole lines, each at its place, however many.
func follow(x *worker) error {
	for _, name := range []string{"log", "log.1"} {
		content, err := os.ReadFile(filepath.Join(x.h.m.Dir, x.state.(string), name))
		if errors.Is(err, fs.ErrNotExist) || err != nil && x.moved(err) {
			continue
		}
		if err != nil {
			return err
		}
		x.bytes.Add(int64(len(content)))
		for n := 0; len(content) > 0; n++ {
			line := fmt.Sprintf(logLine, n)
			if !bytes.HasPrefix(content, []byte(line)) {
				return fmt.Errorf("%s: line %d begins %.60q", name, n, content)
			}
			content = content[len(line):]
		}
	}
	return nil
}

// small makes, changes, renames and removes small files, and looks at them.
func small(x *worker) error {
	name := func() string { return fmt.Sprintf("d%d/f%d", x.rnd.IntN(3), x.rnd.IntN(12)) }
	for range 10 {
		a, b := name(), name()
		_, there := x.files[x.key(a)]
		if err := os.MkdirAll(filepath.Dir(x.path(b)), 0o755); err != nil {
			return err
		}
		var err error
		switch n := x.rnd.IntN(10); {
		case n < 4 || !there:
			if err = os.MkdirAll(filepath.Dir(x.path(a)), 0o755); err == nil {
				err = x.write(a, noise(x.rnd.Uint64(), x.rnd.IntN(40<<10)))
			}
		case n < 6:
			if err = os.Rename(x.path(a), x.path(b)); err == nil && a != b {
				x.files[x.key(b)] = x.files[x.key(a)]
				delete(x.files, x.key(a))
			}
			a = b
		case n < 7:
			if err = os.Remove(x.path(a)); err == nil {
				delete(x.files, x.key(a))
				if _, gone := os.Stat(x.path(a)); !errors.Is(gone, fs.ErrNotExist) {
					return fmt.Errorf("%s was removed, and stat says %v", a, gone)
				}
				continue
			}
		case n < 8:
			err = x.edit(a)
		case n < 9:
			err = os.Chmod(x.path(a), 0o600+os.FileMode(x.rnd.IntN(8)))
		}
		if err == nil {
			err = x.check(a)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
	}
	return nil
}

// edit changes some bytes in the middle of a file.
func (x *worker) edit(name string) error {
	content, err := os.ReadFile(x.path(name))
	if err == nil && sumOf(content) != x.files[x.key(name)] {
		err = errors.New("wrong bytes")
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(x.path(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	change := noise(x.rnd.Uint64(), 100)
	off := x.rnd.IntN(len(content) + 1)
	_, err = f.WriteAt(change, int64(off))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if len(content) < off+len(change) {
		content = append(content, make([]byte, off+len(change)-len(content))...)
	}
	copy(content[off:], change)
	x.files[x.key(name)] = sumOf(content)
	return nil
}

// static is objects that nobody changes.
type static map[string][]byte

func (w *world) makeStatic() static {
	w.t.Helper()
	all := static{}
	keeper := &worker{w: w, kind: "keeping what nobody changes", files: map[string]want{}}
	for i := range 4 {
		key := fmt.Sprintf("static/s%d", i)
		all[key] = noise(uint64(1000+i), 6<<20+i*1_234_567)
		keeper.files[key] = sumOf(all[key])
		w.s.Put(w.t, w.bucket, key, all[key], nil)
	}
	keeper.do = func(*worker) error { return errIdle }
	w.workers = append(w.workers, keeper)
	return all
}

// errIdle ends a worker that has nothing to do.
var errIdle = errors.New("nothing to do")

// readStatic reads on end or at random. Not through a mapping: a thread of this process that waits for a page would hold up its
// garbage collector, and with it the proxies that the page comes through. git does that.
func readStatic(x *worker) (err error) {
	all := x.state.(static)
	key := fmt.Sprintf("static/s%d", x.rnd.IntN(len(all)))
	content := all[key]
	f, err := os.Open(filepath.Join(x.h.m.Dir, key))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if x.rnd.IntN(2) == 0 { // the kernel's copy goes, so that pailfs is asked
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			return fmt.Errorf("fadvise: %w", err)
		}
	}
	if x.rnd.IntN(2) == 0 {
		got, err := io.ReadAll(f)
		x.bytes.Add(int64(len(got)))
		return differ(key, 0, got, content, err)
	}
	p := make([]byte, 64<<10)
	for range 30 {
		off := x.rnd.IntN(len(content))
		q := p[:min(1+x.rnd.IntN(len(p)), len(content)-off)]
		n, err := f.ReadAt(q, int64(off))
		x.bytes.Add(int64(n))
		if err := differ(key, off, q[:n], content[off:off+len(q)], err); err != nil {
			return err
		}
	}
	return nil
}

// differ says where what was read is not what it should be.
func differ(name string, off int, got, content []byte, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%s at %d: %w", name, off, err)
	case !bytes.Equal(got, content):
		return fmt.Errorf("%s at %d: %d bytes, want %d, or other bytes", name, off, len(got), len(content))
	}
	return nil
}

const remotes = 6

// version is the content of a version of one of the remote writer's objects: its header tells all of it.
func version(key string, n, size int) []byte {
	header := fmt.Sprintf("%s %d %d\n", key, n, size)
	return append([]byte(header), noise(uint64(n)<<8|uint64(key[len(key)-1]), size)...)
}

// writeRemote puts a new version of an object behind the mounts' backs.
func writeRemote(x *worker) error {
	last := x.state.(map[string]int)
	key := fmt.Sprintf("remote/r%d", x.rnd.IntN(remotes))
	size := x.rnd.IntN(200 << 10)
	if x.rnd.IntN(4) == 0 {
		size = 1<<20 + x.rnd.IntN(4<<20)
	}
	content := version(key, last[key]+1, size)
	_, err := x.w.s.Client.Put(context.Background(), s3client.PutRequest{Bucket: x.w.bucket, Key: key, Body: bytes.NewReader(content), Size: int64(len(content))})
	if err != nil {
		return err
	}
	last[key]++
	x.files[key] = sumOf(content)
	x.bytes.Add(int64(len(content)))
	return nil
}

// readRemote reads one: one whole version, none older than what this mount has shown before.
func readRemote(x *worker) error {
	last := x.state.(map[string]int)
	key := fmt.Sprintf("remote/r%d", x.rnd.IntN(remotes))
	content, err := os.ReadFile(filepath.Join(x.h.m.Dir, key))
	if errors.Is(err, fs.ErrNotExist) && last[key] == 0 || err != nil && x.moved(err) {
		return nil
	}
	if err != nil {
		return err
	}
	x.bytes.Add(int64(len(content)))
	var name string
	var n, size int
	header, _, _ := strings.Cut(string(content[:min(len(content), 100)]), "\n")
	if _, err := fmt.Sscanf(header, "%s %d %d", &name, &n, &size); err != nil || name != key {
		return fmt.Errorf("%s begins %.80q", path.Base(key), header)
	}
	if err := differ(fmt.Sprintf("%s, version %d", key, n), 0, content, version(key, n, size), nil); err != nil {
		return err
	}
	if n < last[key] {
		return fmt.Errorf("%s: version %d after version %d", key, n, last[key])
	}
	last[key] = n
	return nil
}
