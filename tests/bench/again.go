package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	againCached = "the same file again, from the kernel's page cache"
	againDisk   = "the same file again, from the disk cache of a mount before; page cache dropped"
	localName   = "local file"

	passthrough   = "passthrough"
	noPassthrough = "no passthrough"
)

// again: a file that was read before, beside a local file on the disk.
func (r *rig) again() ([]row, error) {
	if err := r.makeLocal(); err != nil {
		return nil, err
	}
	cached := row{title: againCached, unit: "MB/s", value: megabytes}
	cached.steps = append(cached.steps, step{name: localName, run: func(context.Context) (sample, error) {
		if err := readFile(r.local(), r.big); err != nil {
			return sample{}, err
		}
		return r.readLocal()
	}})
	disk := row{title: againDisk, unit: "MB/s", value: megabytes}
	disk.steps = append(disk.steps, step{name: localName, run: func(context.Context) (sample, error) {
		if err := dropCaches(); err != nil {
			return sample{}, err
		}
		return r.readLocal()
	}})
	for _, by := range r.builds() {
		cached.steps = append(cached.steps, step{name: by.name(), base: localName, run: func(ctx context.Context) (sample, error) {
			read := func(m *mount) error { return readFile(m.path(r.big.key), r.big) }
			s, err := r.measureMount(ctx, by, work{before: read, use: read})
			s.Bytes = r.big.size
			return s, err
		}})
		if !by.knows("cache-dir") {
			disk.notes = append(disk.notes, by.name()+" has no disk cache")
			continue
		}
		if !by.knows("passthrough") {
			disk.steps = append(disk.steps, r.fromDisk(by, by.name(), dropCaches))
			continue
		}
		cached.steps = append(cached.steps, r.fromDisk(by, by.name()+" "+passthrough, nil))
		disk.steps = append(disk.steps, r.fromDisk(by, by.name()+" "+passthrough, dropCaches))
		disk.steps = append(disk.steps, r.fromDisk(by, by.name()+" "+noPassthrough, dropCaches, "--passthrough=off"))
	}
	return []row{cached, disk}, nil
}

// passesAfter is the age of an object from which on it may be read by passthrough, and a little.
const passesAfter = 32 * time.Second

// fromDisk reads on a fresh mount what an earlier one has left in its cache directory; drop, where there is one, makes the
// kernel forget its pages before that.
func (r *rig) fromDisk(by *pailfs, name string, drop func() error, args ...string) step {
	dir := filepath.Join(r.disk, "cache-"+strings.ReplaceAll(name, " ", "-"))
	args = append([]string{"--cache-dir", dir, "--cache-size", "4GiB"}, args...)
	filled, unfillable := false, error(nil)
	read := func(m *mount) error { return readFile(m.path(r.big.key), r.big) }
	return step{name: name, base: localName, run: func(ctx context.Context) (s sample, err error) {
		if !filled {
			unfillable, filled = r.fillCache(ctx, by, args, read), true
		}
		if unfillable != nil {
			return s, unfillable
		}
		if drop != nil {
			if err := drop(); err != nil {
				return s, err
			}
		}
		// A whole file passes through when all of it was checked by this mount: the first reader does that. And when it has
		// not changed for half a minute.
		first := func(m *mount) error {
			if err := read(m); err != nil {
				return err
			}
			select {
			case <-time.After(time.Until(r.born.Add(passesAfter))):
			case <-ctx.Done():
				return ctx.Err()
			}
			if drop == nil {
				return read(m) // the reader before was not served by the kernel, its pages are other ones
			}
			return drop()
		}
		if strings.HasSuffix(name, noPassthrough) {
			first = nil
		}
		note := ""
		s, err = r.measureMount(ctx, by, work{args: args, before: first, use: read, after: func(m *mount) (err error) {
			note, err = by.passthrough(ctx, m)
			return err
		}})
		s.Bytes, s.Note = r.big.size, note
		return s, err
	}}
}

// fillCache brings the file into the disk cache: by the command for that, or by reading it until a mount had it wholly
// from the disk (blocks that the disk is too slow for are skipped).
func (r *rig) fillCache(ctx context.Context, by *pailfs, args []string, read func(*mount) error) error {
	fill := read
	if by.has("warm") {
		fill = func(m *mount) error { return by.warm(ctx, m, m.path(r.big.key)) }
	}
	const tries = 8
	var s sample
	for range tries {
		if _, err := r.measureMount(ctx, by, work{args: args, use: fill}); err != nil {
			return err
		}
		var err error
		if s, err = r.measureMount(ctx, by, work{args: args, use: read}); err != nil {
			return err
		}
		if s.Counts.Data == 0 {
			return nil
		}
	}
	return fmt.Errorf("after %d attempts to fill the disk cache %d bytes of the file still came from the store", tries, s.Counts.Data)
}

func (r *rig) local() string { return filepath.Join(r.disk, "local.bin") }

// makeLocal makes the file on the disk.
func (r *rig) makeLocal() (err error) {
	if r.disk, err = os.MkdirTemp(r.o.disk, "pailfs-bench-"); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(r.disk, &st); err != nil {
		return err
	}
	if st.Type == unix.TMPFS_MAGIC {
		return fmt.Errorf("%s is in memory: give a directory on a disk with --disk", r.o.disk)
	}
	f, err := os.Create(r.local())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, readBytes)
	for off := int64(0); off < r.big.size; off += readBytes {
		r.big.content.fill(buf, off)
		if _, err := f.Write(buf); err != nil {
			return err
		}
	}
	return f.Sync()
}

func (r *rig) readLocal() (s sample, err error) {
	if err := r.meter(&s, func() error { return readFile(r.local(), r.big) }); err != nil {
		return s, err
	}
	s.Bytes = r.big.size
	return s, nil
}

// dropCaches makes the kernel forget all pages of files that it can read again.
func dropCaches() error {
	unix.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0)
}
