package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// benchChunk is what one write or read moves, as cp does.
const benchChunk = 1 << 20

// steps are the work, in order.
func (b *bench) steps(ctx context.Context) error {
	large := filepath.Join(b.dir, "large")
	small := make([]string, b.files)
	for i := range small {
		small[i] = filepath.Join(b.dir, "small", fmt.Sprintf("file%06d", i))
	}
	all := int64(b.files) * b.fileSize
	for _, s := range []struct {
		name  string
		files int
		bytes int64
		do    func(context.Context) error
	}{
		{"large file written", 1, b.size, func(ctx context.Context) error { return benchWrite(ctx, large, b.size, 0) }},
		{"large file read", 1, b.size, func(ctx context.Context) error { return benchRead(ctx, large, b.size, 0) }},
		{"small files written", b.files, all, func(ctx context.Context) error {
			if err := os.Mkdir(filepath.Dir(small[0]), 0o700); err != nil {
				return err
			}
			return b.each(ctx, small, func(ctx context.Context, i int) error { return benchWrite(ctx, small[i], b.fileSize, i+1) })
		}},
		{"small files listed", b.files, 0, func(context.Context) error { return b.list(filepath.Dir(small[0])) }},
		{"small files read", b.files, all, func(ctx context.Context) error {
			return b.each(ctx, small, func(ctx context.Context, i int) error { return benchRead(ctx, small[i], b.fileSize, i+1) })
		}},
		{"all removed", b.files + 1, 0, func(context.Context) error { return os.RemoveAll(b.dir) }},
	} {
		if err := b.measure(ctx, s.name, s.files, s.bytes, s.do); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// each does something with all small files, several at once.
func (b *bench) each(ctx context.Context, names []string, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(b.jobs)
	for i := range names {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// list looks at the names of a directory with their sizes, as `ls -l` does.
func (b *bench) list(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err == nil && fi.Size() != b.fileSize {
			err = fmt.Errorf("%s has %d bytes, not %d", e.Name(), fi.Size(), b.fileSize)
		}
		if err != nil {
			return err
		}
	}
	if len(entries) != b.files {
		return fmt.Errorf("%d files are listed, not %d", len(entries), b.files)
	}
	return nil
}

// benchContent gives a file's chunks, one after the other: bytes that nothing compresses, different in each chunk of each file.
type benchContent struct {
	chunk []byte
	file  int
}

func newBenchContent(size int64, file int) *benchContent {
	c := &benchContent{chunk: make([]byte, min(size, benchChunk)), file: file}
	random := rand.NewChaCha8([32]byte{1})
	random.Read(c.chunk) // never fails
	return c
}

// at is the chunk that begins at an offset, n bytes of it.
func (c *benchContent) at(off int64, n int) []byte {
	var stamp [16]byte
	binary.LittleEndian.PutUint64(stamp[:], uint64(off))
	binary.LittleEndian.PutUint64(stamp[8:], uint64(c.file))
	copy(c.chunk, stamp[:])
	return c.chunk[:n]
}

func benchWrite(ctx context.Context, name string, size int64, file int) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	content := newBenchContent(size, file)
	for off := int64(0); off < size; off += benchChunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := f.Write(content.at(off, int(min(benchChunk, size-off)))); err != nil {
			return err
		}
	}
	return nil
}

// benchRead reads a file that is not in the kernel's page cache any more, and compares it with what was written.
func benchRead(ctx context.Context, name string, size int64, file int) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("drop the pages of %s: %w", filepath.Base(name), err)
	}
	content, got := newBenchContent(size, file), make([]byte, min(size, benchChunk))
	for off := int64(0); off < size; off += benchChunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := int(min(benchChunk, size-off))
		if _, err := io.ReadFull(f, got[:n]); err != nil {
			return err
		}
		if !bytes.Equal(got[:n], content.at(off, n)) {
			return fmt.Errorf("%s is not what was written, from %d on", filepath.Base(name), off)
		}
	}
	return nil
}
