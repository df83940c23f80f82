package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"pailfs/s3client"
)

// Readlink is a symbolic link's target: a GET of the object unless the metadata has it, or Later has the link still to
// put.
func (t *Tree) Readlink(ctx context.Context, path string) (string, error) {
	for round := 1; ; round++ {
		target, err := t.readlink(ctx, path)
		if !errors.Is(err, s3client.Changed) || round == maxRounds {
			return target, err
		}
		t.forget(path) // a link of another target has the name since it was looked up
	}
}

func (t *Tree) readlink(ctx context.Context, path string) (string, error) {
	e, err := t.Lookup(ctx, path)
	if err != nil {
		return "", err
	}
	if e.Mode&typeMask != typeLink {
		return "", fmt.Errorf("read link %s: %w", path, ErrInvalid)
	}
	t.mu.Lock()
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil && c.puts() {
		defer t.mu.Unlock()
		return string(c.body), nil
	}
	r, ok := t.mu.versions.Get(e.Bucket + "/" + e.Key)
	t.mu.Unlock()
	if ok && r.ver.etag == e.ETag && r.attr.link != nil {
		return *r.attr.link, nil
	}
	if e.Size > maxTarget {
		return "", fmt.Errorf("read link %s: target of %d bytes: %w", path, e.Size, ErrInvalid)
	}
	target, err := t.readSmall(ctx, e)
	if err != nil {
		return "", fmt.Errorf("read link %s: %w", path, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok {
		with := *r
		with.attr.link, with.attr.isLink = &target, true
		if now, there := t.mu.versions.Peek(e.Bucket + "/" + e.Key); there && now == r {
			t.mu.versions.Add(e.Bucket+"/"+e.Key, &with)
		}
	}
	return target, nil
}

func (t *Tree) readSmall(ctx context.Context, e Entry) (string, error) {
	body, _, err := t.o.Store.Get(ctx, s3client.GetRequest{Bucket: e.Bucket, Key: e.Key, ETag: e.ETag})
	if err != nil {
		return "", err
	}
	p, err := io.ReadAll(io.LimitReader(body, maxTarget+1))
	if closeErr := body.Close(); err == nil {
		err = closeErr
	}
	if len(p) > maxTarget {
		err = ErrInvalid
	}
	return strings.TrimRight(string(p), "\x00"), err
}
