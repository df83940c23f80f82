package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"pailfs/s3client"
)

// copyAll copies every object, several at once; the first error ends it.
func (t *Tree) copyAll(ctx context.Context, bucket string, moves []move) error {
	g, copying := errgroup.WithContext(ctx)
	g.SetLimit(copiesAtOnce)
	for i := range moves {
		if copying.Err() != nil {
			break
		}
		m := &moves[i]
		g.Go(func() error {
			if err := t.copyMove(copying, bucket, m); err != nil {
				return fmt.Errorf("copy %s: %w", m.src.Key, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err() // then the rest was not begun
}

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

// undo deletes the copies of a rename that failed, also those whose outcome is unknown. The marker of a directory that
// was there before stays.
func (t *Tree) undo(ctx context.Context, to, bucket string, moves []move, keepMarker bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoFor)
	defer cancel()
	var keys []string
	_, key, _ := t.space.locate(to)
	for i := range moves {
		if moves[i].key != dirKey(key) || !keepMarker {
			keys = append(keys, moves[i].key)
		}
	}
	failed, err := t.deleteKeys(ctx, bucket, keys)
	t.mu.Lock()
	t.forgetTreeLocked(to)
	t.entries.ForgetName(split(to))
	t.mu.Unlock()
	if err != nil {
		return fmt.Errorf("delete the copies again: %w", err)
	}
	for k, err := range failed {
		return fmt.Errorf("delete the copies again: %d of them, %q first: %w", len(failed), k, err)
	}
	return nil
}

func (t *Tree) deleteSources(ctx context.Context, bucket string, moves []move) (map[string]error, error) {
	keys := make([]string, 0, len(moves))
	for i := range moves {
		if !moves[i].gone {
			keys = append(keys, moves[i].src.Key)
		}
	}
	return t.deleteKeys(ctx, bucket, keys)
}

// deleteKeys deletes many keys. What the store cannot take in one request with others, such as keys with control
// characters, and what fails there, is deleted singly.
func (t *Tree) deleteKeys(ctx context.Context, bucket string, keys []string) (map[string]error, error) {
	if len(keys) == 0 {
		return nil, nil
	}
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
	var mu sync.Mutex
	failed := make(map[string]error)
	var g errgroup.Group
	g.SetLimit(copiesAtOnce)
	for _, k := range single {
		g.Go(func() error {
			if err := t.o.Store.Delete(ctx, bucket, k); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[k] = err
			}
			return nil
		})
	}
	return failed, g.Wait()
}
