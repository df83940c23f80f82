package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"golang.org/x/sync/errgroup"
)

const (
	threads    = 4
	alignBytes = 64 * kib
	slotBytes  = 256 * kib
)

// randread: reads at random offsets of a cold file by several threads, each with its own descriptor.
func (r *rig) randread() []row {
	var rows []row
	for _, size := range []int64{4 * kib, 128 * kib} {
		for _, aligned := range []bool{true, false} {
			rows = append(rows, r.randreadOf(size, aligned))
		}
	}
	return rows
}

func randTitle(size int64, aligned bool) string {
	where := "at any byte"
	if aligned {
		where = "at multiples of 64 KiB"
	}
	return fmt.Sprintf("random reads of %d KiB %s, %d threads, cold", size/kib, where, threads)
}

func (r *rig) randreadOf(size int64, aligned bool) row {
	w := row{title: randTitle(size, aligned), unit: "reads/s", value: perSecond,
		notes: []string{fmt.Sprintf("raw: the same reads, one GET each, %d at once", threads)},
		why: map[string]string{s3fs{}.name(): "It fetches the whole object behind the first reads (see MB down), and the others come from its cache: " +
			"of a near store, and of an object that fits there, that is sooner done."}}
	offsets := r.offsets(size, aligned)
	finish := func(s sample, err error) (sample, error) {
		s.Ops = int64(threads * len(offsets[0]))
		s.Bytes = s.Ops * size
		return s, err
	}
	w.steps = append(w.steps, step{name: rawName, run: func(ctx context.Context) (sample, error) {
		return finish(r.measureRaw(threads, func(c *raw) error {
			return inThreads(offsets, func(l []int64) error {
				buf := make([]byte, size)
				for _, off := range l {
					if err := c.readPiece(ctx, piece{r.big, off, size}, buf); err != nil {
						return err
					}
				}
				return nil
			})
		}))
	}})
	for _, by := range r.mounters {
		w.steps = append(w.steps, step{name: by.name(), base: rawName, run: func(ctx context.Context) (sample, error) {
			return finish(r.measureMount(ctx, by, work{use: func(m *mount) error {
				return inThreads(offsets, func(l []int64) error { return r.readAt(m.path(r.big.key), l, size) })
			}}))
		}})
	}
	return w
}

func inThreads(offsets [][]int64, read func([]int64) error) error {
	var g errgroup.Group
	for _, l := range offsets {
		g.Go(func() error { return read(l) })
	}
	return g.Wait()
}

func (r *rig) readAt(path string, offsets []int64, size int64) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, size)
	for _, off := range offsets {
		if _, err := f.ReadAt(buf, off); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("at %d: %w", off, err)
		}
		if err := r.big.content.check(buf, off); err != nil {
			return err
		}
	}
	return nil
}

// offsets are each thread's, the same ones for everybody, for about two seconds of the bare client. No two reads touch
// the same or neighbouring 64 KiB, but for chance: each lies in a slot of its own.
func (r *rig) offsets(size int64, aligned bool) [][]int64 {
	reads := int64(400)
	if r.link.rate == 0 {
		reads = 4000
	}
	rnd := rand.New(rand.NewPCG(uint64(size), 1))
	slots := rnd.Perm(int(r.big.size / slotBytes))
	slots = slots[:min(reads, int64(len(slots)))/threads*threads]
	l := make([][]int64, threads)
	for i, slot := range slots {
		off := rnd.Int64N(slotBytes - size + 1)
		if aligned {
			off = off / alignBytes * alignBytes
		}
		l[i%threads] = append(l[i%threads], int64(slot)*slotBytes+off)
	}
	return l
}
