package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	newFiles  = 500
	newBytes  = 16 * kib
	behind    = "journal"
	behindAll = "journal, until stored"
)

func newTitle() string { return fmt.Sprintf("%d new files of 16 KiB, 16 threads", newFiles) }

func (r *rig) newObjects() (l []object) {
	for i := range newFiles {
		l = append(l, newObject(fmt.Sprintf("new/%04d.bin", i), newBytes))
	}
	return l
}

// newfiles: many small files at once.
func (r *rig) newfiles() row {
	files := r.newObjects()
	w := row{title: newTitle(), unit: "files/s", value: perSecond, notes: []string{"raw: a PUT for each, 16 at once",
		behind + ": until the last close has returned; the uploads follow"}}
	w.steps = append(w.steps, step{name: rawName, run: func(ctx context.Context) (sample, error) {
		s, err := r.measureRaw(parallel, func(c *raw) error {
			return each(files, func(o object) error { return c.put(ctx, o) })
		})
		return r.ofNew(ctx, files, s, err)
	}})
	create := func(m *mount) error {
		return each(files, func(o object) error { return writeObject(m.path(o.key), o) })
	}
	makeDir := func(m *mount) error { return os.Mkdir(m.path("new"), 0o755) }
	for i, by := range r.mounters {
		w.steps = append(w.steps, step{name: by.name(), base: rawName, once: i >= len(r.builds()), run: func(ctx context.Context) (sample, error) {
			s, err := r.measureMount(ctx, by, work{before: makeDir, use: func(m *mount) error {
				if err := create(m); err != nil || !lags(by) {
					return err
				}
				return r.awaitObjects(ctx, "new/", newFiles)
			}})
			return r.ofNew(ctx, files, s, err)
		}})
	}
	for _, by := range r.builds() {
		if !by.knows("durability") {
			continue
		}
		args := []string{"--durability=journal"}
		settled := func(m *mount) error { return errors.Join(makeDir(m), by.flush(m)) }
		w.steps = append(w.steps, step{name: by.name() + " " + behind, base: by.name(), run: func(ctx context.Context) (sample, error) {
			s, err := r.measureMount(ctx, by, work{args: args, before: settled, use: create})
			return r.ofNew(ctx, files, s, err)
		}}, step{name: by.name() + " " + behindAll, base: rawName, run: func(ctx context.Context) (sample, error) {
			s, err := r.measureMount(ctx, by, work{args: args, before: settled, use: func(m *mount) error {
				if err := create(m); err != nil {
					return err
				}
				return r.awaitPuts(ctx, newFiles)
			}})
			return r.ofNew(ctx, files, s, err)
		}})
	}
	return r.withFloor(w, newFiles, newFiles*newBytes, makeDir, func(_ context.Context, m *mount) error { return create(m) })
}

// awaitPuts waits until the store has answered so many PUTs.
func (r *rig) awaitPuts(ctx context.Context, n int64) error {
	for {
		c, err := r.counts()
		if err != nil || c.Requests["Put"] >= n && c.InFlight == 0 {
			return err
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d files are stored: %w", c.Requests["Put"], n, ctx.Err())
		}
	}
}

// each does something with all objects, 16 at once.
func each(l []object, do func(object) error) error { return eachOf(parallel, l, do) }

func eachOf[T any](many int, l []T, do func(T) error) error {
	var g errgroup.Group
	g.SetLimit(many)
	for _, o := range l {
		g.Go(func() error { return do(o) })
	}
	return g.Wait()
}

func writeObject(path string, o object) error {
	b := make([]byte, o.size)
	o.content.fill(b, 0)
	return os.WriteFile(path, b, 0o644)
}

// ofNew looks at what the store has, past the distance, and deletes it with its directory.
func (r *rig) ofNew(ctx context.Context, files []object, s sample, err error) (sample, error) {
	for _, o := range files {
		s.Ops, s.Bytes = s.Ops+1, s.Bytes+o.size
	}
	if err == nil {
		err = each(files, func(o object) error { return r.direct.readPiece(ctx, piece{o, 0, o.size}, make([]byte, o.size)) })
	}
	return s, errors.Join(err, r.direct.removeAll(ctx, filepath.Dir(files[0].key)+"/"))
}
