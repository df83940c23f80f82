package tree

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"pailfs/s3client"
)

// copyMove copies one object. A listing may name a version that is not the latest: HEAD tells.
func (t *Tree) copyMove(ctx context.Context, bucket string, m *move) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if strings.HasSuffix(m.src.Key, "/") && m.src.Size == 0 {
		return t.copyMarker(ctx, bucket, m)
	}
	var h *s3client.Headers
	if m.from.Path != "" && !m.from.IsDir() {
		h = t.copyHeaders(m.from)
	}
	o, err := t.o.Copy(ctx, m.src, bucket, m.key, h)
	if errors.Is(err, s3client.Changed) || errors.Is(err, s3client.NotFound) {
		var now s3client.Object
		now, err = t.o.Store.Head(ctx, m.src.Bucket, m.src.Key)
		switch {
		case errors.Is(err, s3client.NotFound):
			m.gone = true
			return nil
		case err != nil:
			return err
		}
		m.src.ETag, m.src.Size, m.src.Modified = now.ETag, now.Size, now.Modified
		m.from.Full, m.from.Size, m.from.ETag = false, now.Size, now.ETag
		o, err = t.o.Copy(ctx, m.src, bucket, m.key, nil)
	}
	if err != nil {
		return err
	}
	o.Bucket, o.Key, o.Size = bucket, m.key, m.src.Size
	m.dst = o
	return nil
}

// copyMarker puts a directory's marker anew with the headers it has: some stores refuse to copy a key that ends in a
// slash, and there are no bytes to copy.
func (t *Tree) copyMarker(ctx context.Context, bucket string, m *move) error {
	now, err := t.o.Store.Head(ctx, m.src.Bucket, m.src.Key)
	switch {
	case errors.Is(err, s3client.NotFound):
		m.gone = true
		return nil
	case err != nil:
		return err
	}
	h := s3client.Headers{ContentType: dirContentType}
	if now.Headers != nil {
		h = *now.Headers
	}
	o, err := t.o.Store.Put(ctx, s3client.PutRequest{Bucket: bucket, Key: m.key, Headers: h, Body: bytes.NewReader(nil)})
	if err != nil {
		return err
	}
	o.Bucket, o.Key, o.Size = bucket, m.key, 0
	m.dst = o
	return nil
}

// deletesTogether is how many keys are deleted before progress is told.
const deletesTogether = 1000

// deleteKeys deletes many keys; what is below a directory goes before its marker. What the store cannot take in one request
// with others, such as keys with control characters, and what fails there, is deleted singly. done, which may be nil, counts.
func (t *Tree) deleteKeys(ctx context.Context, bucket string, keys []string, done *atomic.Int64) (map[string]error, error) {
	slices.SortFunc(keys, func(a, b string) int { return strings.Compare(b, a) })
	failed := make(map[string]error)
	for part := range slices.Chunk(keys, deletesTogether) {
		bad, err := t.deletePart(ctx, bucket, part)
		if err != nil {
			return nil, err
		}
		maps.Copy(failed, bad)
		if done != nil {
			done.Add(int64(len(part) - len(bad)))
		}
	}
	return failed, nil
}

func (t *Tree) deletePart(ctx context.Context, bucket string, keys []string) (map[string]error, error) {
	var many, single []string
	for _, k := range keys {
		if len(keys) == 1 || strings.ContainsFunc(k, func(r rune) bool { return r < ' ' || r >= 0xfffe && r <= 0xffff }) {
			single = append(single, k)
		} else {
			many = append(many, k)
		}
	}
	if len(many) > 0 {
		failed, err := t.o.Store.DeleteMany(ctx, bucket, many)
		if err != nil {
			return nil, err
		}
		for _, f := range failed {
			single = append(single, f.Key)
		}
	}
	return t.deleteSingly(ctx, bucket, single), nil
}

// deleteSingly deletes keys one by one, several at once: a directory's marker when all others are gone.
func (t *Tree) deleteSingly(ctx context.Context, bucket string, keys []string) map[string]error {
	var mu sync.Mutex
	failed := make(map[string]error)
	remove := func(k string) {
		if err := t.o.Store.Delete(ctx, bucket, k); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed[k] = err
		}
	}
	var g errgroup.Group
	g.SetLimit(copiesAtOnce)
	var markers []string
	for _, k := range keys {
		if isMarker(k) {
			markers = append(markers, k)
			continue
		}
		g.Go(func() error { remove(k); return nil })
	}
	_ = g.Wait() // its functions return no error
	slices.SortFunc(markers, func(a, b string) int { return strings.Compare(b, a) })
	for _, k := range markers {
		remove(k)
	}
	return failed
}
