package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

const (
	rawOne   = "raw, one by one"
	rawMany  = "raw, 32 at once"
	manyGets = 32
)

func (r *rig) smallTitle() string {
	return fmt.Sprintf("%d cold files of 16 KiB, one after another", len(r.small))
}

// smallfiles: all files of a directory in its order, by one thread.
func (r *rig) smallfiles() row {
	w := row{title: r.smallTitle(), unit: "files/s", value: perSecond, notes: []string{"raw: a list and a GET for each, by one thread and by 32"}}
	w.steps = append(w.steps,
		step{name: rawMany, run: func(ctx context.Context) (sample, error) { return r.rawSmall(ctx, manyGets) }},
		step{name: rawOne, base: rawMany, once: true, run: func(ctx context.Context) (sample, error) { return r.rawSmall(ctx, 1) }})
	for i, by := range r.mounters {
		w.steps = append(w.steps, step{name: by.name(), base: rawMany, once: i >= len(r.builds()), run: func(ctx context.Context) (sample, error) {
			s, err := r.measureMount(ctx, by, work{use: r.readSmall})
			return r.ofSmall(s, err)
		}})
	}
	return w
}

func (r *rig) ofSmall(s sample, err error) (sample, error) {
	s.Ops = int64(len(r.small))
	for _, o := range r.small {
		s.Bytes += o.size
	}
	return s, err
}

func (r *rig) rawSmall(ctx context.Context, connections int) (sample, error) {
	return r.ofSmall(r.measureRaw(connections, func(c *raw) error {
		keys, err := c.list("small/")
		if err != nil || len(keys) != len(r.small) {
			return fmt.Errorf("%d keys: %w", len(keys), err)
		}
		work := make(chan object)
		g, ctx := errgroup.WithContext(ctx)
		for range connections {
			g.Go(func() error {
				buf := make([]byte, 16*kib)
				for o := range work {
					if err := c.readPiece(ctx, piece{o, 0, o.size}, buf); err != nil {
						return err
					}
				}
				return nil
			})
		}
		g.Go(func() error {
			defer close(work)
			for _, o := range r.small {
				select {
				case work <- o:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
		return g.Wait()
	}))
}

func (r *rig) readSmall(m *mount) error {
	dir := m.path("small")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) != len(r.small) {
		return fmt.Errorf("the directory has %d entries, not %d", len(entries), len(r.small))
	}
	buf := make([]byte, 64*kib)
	for i, e := range entries {
		if want := path.Base(r.small[i].key); e.Name() != want {
			return fmt.Errorf("entry %d is %q, not %q", i, e.Name(), want)
		}
		if err := readSmallFile(filepath.Join(dir, e.Name()), r.small[i], buf); err != nil {
			return err
		}
	}
	return nil
}

func readSmallFile(path string, o object, buf []byte) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.ReadFull(f, buf) // to the end, as cat does
	if !errors.Is(err, io.ErrUnexpectedEOF) || int64(n) != o.size {
		return fmt.Errorf("%s: %d bytes, %w", path, n, err)
	}
	return o.content.check(buf[:n], 0)
}
