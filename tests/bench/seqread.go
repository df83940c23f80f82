package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

const readBytes = mib // of a program's read(2) and write(2)

const rawName = "raw"

func (r *rig) seqTitle() string {
	return fmt.Sprintf("%d MiB from the beginning to the end, cold", r.big.size/mib)
}

// seqread: a cold file from its beginning to its end.
func (r *rig) seqread() row {
	w := row{title: r.seqTitle(), unit: "MB/s", value: megabytes,
		notes: []string{"raw: 16 ranged GETs of 8 MiB at once"}}
	w.steps = append(w.steps, step{name: rawName, run: func(ctx context.Context) (sample, error) {
		return r.rawRead(ctx, r.big)
	}})
	for _, by := range r.mounters {
		w.steps = append(w.steps, step{name: by.name(), base: rawName, run: func(ctx context.Context) (sample, error) {
			s, err := r.measureMount(ctx, by, work{use: func(m *mount) error { return readFile(m.path(r.big.key), r.big) }})
			s.Bytes = r.big.size
			return s, err
		}})
	}
	return w
}

// rawRead is the bare client's parallel read of objects.
func (r *rig) rawRead(ctx context.Context, objects ...object) (sample, error) {
	s, err := r.measureRaw(parallel, func(c *raw) error { return c.read(ctx, pieces(objects...), r.buffers) })
	for _, o := range objects {
		s.Bytes += o.size
	}
	s.Ops = int64(len(objects))
	return s, err
}

// readFile reads a file as cat does and compares it.
func readFile(path string, o object) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return readAll(f, o, make([]byte, readBytes))
}

func readAll(f *os.File, o object, buf []byte) error {
	for off := int64(0); off < o.size; {
		n, err := io.ReadFull(f, buf[:min(int64(len(buf)), o.size-off)])
		if err != nil {
			return fmt.Errorf("at %d: %w", off, err)
		}
		if err := o.content.check(buf[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
	if n, err := f.Read(buf[:1]); n != 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("behind the end: %d bytes, %w", n, err)
	}
	return nil
}
