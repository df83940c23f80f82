package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/minio/minio-go/v7"
)

const (
	edits      = 100
	editBytes  = 4 * kib
	editWindow = 20 * mib
)

// edit is a change of a stored object: what is written where, and the object's size before.
type edit struct {
	title  string
	size   int64
	writes []int64 // offsets, each of editBytes
}

// editNearTitle, editFarTitle and appendTitle name the rows.
func (r *rig) editNear() edit {
	return edit{fmt.Sprintf("%d writes of 4 KiB within 20 MiB of a stored %d MiB, then fsync", edits, r.big.size/mib), r.big.size,
		offsetsWithin(r.big.size/2, editWindow)}
}

func (r *rig) editFar() edit {
	size := r.big.size / 4
	return edit{fmt.Sprintf("%d writes of 4 KiB all over a stored %d MiB, then fsync", edits, size/mib), size, offsetsWithin(0, size)}
}

func (r *rig) editEnd() edit {
	return edit{fmt.Sprintf("4 KiB appended to a stored %d MiB", r.big.size/mib), r.big.size, []int64{r.big.size}}
}

// offsetsWithin are different pages, the same in each run.
func offsetsWithin(from, n int64) (l []int64) {
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[int64]bool{}
	for len(l) < edits {
		off := from + random.Int64N(n/editBytes)*editBytes
		if !seen[off] {
			seen[off] = true
			l = append(l, off)
		}
	}
	return l
}

// edit: a stored object is changed in place.
func (r *rig) edit() []row {
	appended := r.editRow(r.editEnd())
	appended.why = map[string]string{s3fs{}.name(): "It copies in two pieces, pailfs in sixteen beside each other. This store copies for nothing; to one that copies " +
		"byte by byte, as Swift and AWS do, the sixteen are sooner done."}
	return []row{r.editRow(r.editNear()), r.editRow(r.editFar()), appended}
}

const rawUpload = "raw, the object once"

func (r *rig) editRow(e edit) row {
	base, edited := newObject("edit.base", e.size), newObject("edit.bin", e.size)
	data := make([]byte, base.size)
	base.content.fill(data, 0)
	w := row{title: e.title, unit: "ms", value: milliseconds, lower: true, notes: []string{"raw: 16 parts of 8 MiB at once, the whole object"}}
	w.steps = append(w.steps, step{name: rawUpload, run: func(ctx context.Context) (sample, error) {
		s, err := r.measureRaw(parallel, func(c *raw) error { return c.write(ctx, base.key, data) })
		s.Bytes = base.size
		return s, err
	}})
	for i, by := range r.mounters {
		w.steps = append(w.steps, step{name: by.name(), base: rawUpload, once: i >= len(r.builds()), run: func(ctx context.Context) (sample, error) {
			if err := r.direct.write(ctx, edited.key, data); err != nil {
				return sample{}, err
			}
			st, err := r.direct.core.StatObject(ctx, bucket, edited.key, minio.StatObjectOptions{})
			if err != nil {
				return sample{}, err
			}
			s, err := r.measureMount(ctx, by, work{use: func(m *mount) error {
				if err := writeAt(m.path(edited.key), e.writes); err != nil {
					return err
				}
				return r.stored(ctx, by, edited.key, st.ETag)
			}})
			s.Bytes = int64(len(e.writes)) * editBytes
			s.Note = fmt.Sprintf("%.1f MB up, %.1f MB down", float64(s.Counts.In)/1e6, float64(s.Counts.Data)/1e6)
			if err != nil {
				return s, err
			}
			return s, r.verifyEdited(ctx, edited.key, data, e.writes)
		}})
	}
	return w
}

// patch is what is written at an offset.
func patch(off int64) []byte {
	b := make([]byte, editBytes)
	contentOf("edit", 0).fill(b, off)
	return b
}

func writeAt(path string, writes []int64) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, off := range writes {
		if _, err := f.WriteAt(patch(off), off); err != nil {
			return err
		}
	}
	return f.Sync()
}

// verifyEdited compares what the store has, every byte, and deletes it.
func (r *rig) verifyEdited(ctx context.Context, key string, before []byte, writes []int64) error {
	want := make([]byte, len(before), len(before)+editBytes)
	copy(want, before)
	for _, off := range writes {
		if off == int64(len(want)) {
			want = append(want, patch(off)...)
			continue
		}
		copy(want[off:], patch(off))
	}
	if err := r.direct.same(ctx, key, want); err != nil {
		return err
	}
	return r.direct.remove(ctx, key)
}
