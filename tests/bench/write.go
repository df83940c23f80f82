package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
)

func (r *rig) writeTitle() string {
	return fmt.Sprintf("%d MiB written, until close has returned", r.big.size/mib)
}

// write: one large file, until close has returned and it is in the store.
func (r *rig) write() row {
	written := newObject("written.bin", r.big.size)
	data := make([]byte, written.size)
	written.content.fill(data, 0)
	w := row{title: r.writeTitle(), unit: "MB/s", value: megabytes,
		notes: []string{"raw: 16 parts of 8 MiB at once"}}
	finish := func(ctx context.Context, s sample, err error) (sample, error) {
		s.Bytes = written.size
		if err != nil {
			return s, err
		}
		return s, r.verify(ctx, written)
	}
	w.steps = append(w.steps, step{name: rawName, run: func(ctx context.Context) (sample, error) {
		s, err := r.measureRaw(parallel, func(c *raw) error { return c.write(ctx, written.key, data) })
		return finish(ctx, s, err)
	}})
	for i, by := range r.mounters {
		w.steps = append(w.steps, step{name: by.name(), base: rawName, once: i >= len(r.builds()), run: func(ctx context.Context) (sample, error) {
			s, err := r.measureMount(ctx, by, work{use: func(m *mount) error {
				if err := writeFile(m.path(written.key), data); err != nil {
					return err
				}
				return r.stored(ctx, by, written.key, "")
			}})
			return finish(ctx, s, err)
		}})
	}
	return r.withFloor(w, 0, written.size, nil, func(_ context.Context, m *mount) error { return writeFile(m.path(written.key), data) })
}

// lags says whether a mounter uploads after close has returned.
func lags(by mounter) bool {
	_, ok := by.(rclone)
	return ok
}

// stored waits until the store has another version of an object than that of the ETag: of a mounter whose close returns
// earlier, the time until then counts.
func (r *rig) stored(ctx context.Context, by mounter, key, etag string) error {
	if !lags(by) {
		return nil
	}
	for {
		st, err := r.direct.core.StatObject(ctx, bucket, key, minio.StatObjectOptions{})
		if err == nil && st.ETag != etag {
			return nil
		}
		if err != nil && minio.ToErrorResponse(err).StatusCode != http.StatusNotFound {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// writeFile writes a file as cp does.
func writeFile(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for off := 0; off < len(data); off += readBytes {
		if _, err := f.Write(data[off : off+readBytes]); err != nil {
			return err
		}
	}
	return nil
}

// verify compares what the store has with what was written, past the distance, and deletes it.
func (r *rig) verify(ctx context.Context, o object) error {
	st, err := r.direct.core.StatObject(ctx, bucket, o.key, minio.StatObjectOptions{})
	if err != nil {
		return err
	}
	if st.Size != o.size {
		return fmt.Errorf("the object has %d bytes, written were %d", st.Size, o.size)
	}
	if err := r.direct.read(ctx, pieces(o), r.buffers); err != nil {
		return err
	}
	return r.direct.remove(ctx, o.key)
}
