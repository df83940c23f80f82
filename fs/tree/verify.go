package tree

import (
	"context"
	"errors"
	"time"

	"pailfs/s3client"
)

// resolve asks the store's HEAD about a change and trusts it again or drops it. What was found goes into s when the
// change is of the path that s is about.
func (t *Tree) resolve(ctx context.Context, path string, c *change, s *shown, own bool) error {
	seen := *s
	if !own {
		seen = shown{}
	}
	t.mu.Lock()
	at := c.at
	t.mu.Unlock()
	holds, obj, err := t.verify(ctx, path, c, seen)
	if err != nil {
		return err
	}
	if own && (obj != nil || !c.it.IsDir()) {
		s.obj, s.headed = obj, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.overlay.byPath[path] != c || !c.at.Equal(at) { // or it was settled meanwhile: the answer is older
		return nil
	}
	if !holds {
		t.mu.overlay.drop(path)
		t.entries.ForgetName(split(path))
		return nil
	}
	c.checked, c.trusted, c.proven, c.doubted = t.o.Now(), t.o.Now(), t.o.Now(), false
	return nil
}

// doubtfulLocked is a change that keeps a directory alive which listings do not show, if no other change below it is
// beyond doubt: pinned, agreed to, or borne out lately.
func (t *Tree) doubtfulLocked(dir string) (path string, doubtful *change) {
	if !t.mu.overlay.living(dir) || t.mu.overlay.byPath[dir] != nil {
		return "", nil
	}
	now := t.o.Now()
	certain := false
	t.mu.overlay.under(dir, func(p string, c *change) {
		switch {
		case !c.live():
		case c.pinned() || !c.agreed.IsZero() || now.Sub(c.trusted) < settle:
			certain = true
		default:
			path, doubtful = p, c
		}
	})
	if certain {
		return "", nil
	}
	return path, doubtful
}

// verify asks for the truth about a change that listings contradict: does it still hold? obj is the object found.
func (t *Tree) verify(ctx context.Context, path string, c *change, s shown) (holds bool, obj *s3client.Object, err error) {
	bucket, key, _ := t.space.locate(path)
	if c.it.IsDir() && c.kind == gone {
		if s.obj != nil && !s.prefix {
			return t.verifyObject(ctx, bucket, key, c)
		}
		holds, err = t.verifyNoDir(ctx, bucket, key, path, c)
		return holds, nil, err
	}
	if c.it.IsDir() {
		holds, _, err = t.verifyObject(ctx, bucket, dirKey(key), c)
		return holds, nil, err
	}
	if c.kind == gone && s.prefix && s.obj == nil { // a file, where there is a directory now
		holds, err = t.verifyNoDir(ctx, bucket, key, path, c)
		return holds, nil, err
	}
	return t.verifyObject(ctx, bucket, key, c)
}

// verifyNoDir says whether there is no directory of a name that was taken away here. A marker that a listing shows may be the
// one of old, or that of a directory that somebody has made since: its HEAD tells.
func (t *Tree) verifyNoDir(ctx context.Context, bucket, key, path string, c *change) (bool, error) {
	live, marker, err := t.firstLive(ctx, bucket, key, path)
	if err != nil || live != "" || marker == nil {
		return live == "", err
	}
	holds, _, err := t.verifyObject(ctx, bucket, dirKey(key), c)
	return holds, err
}

func (t *Tree) verifyObject(ctx context.Context, bucket, key string, c *change) (bool, *s3client.Object, error) {
	o, err := t.o.Store.Head(ctx, bucket, key)
	if errors.Is(err, s3client.NotFound) {
		return c.kind == gone, nil, nil
	}
	if err != nil {
		return false, nil, err
	}
	o.Bucket, o.Key = bucket, key
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.Headers != nil {
		t.askedLocked(bucket, key, &o)
	}
	same := o.ETag == c.ver.etag
	return c.kind == put && (c.it.IsDir() || same) || c.kind == gone && c.contestable() && same, &o, nil
}

// firstLive is the first key below a directory that no change made here has removed, "" when there is none; the
// directory's own marker does not count and is returned by itself. Keys that cannot be paths count.
func (t *Tree) firstLive(ctx context.Context, bucket, key, path string) (live string, marker *s3client.Object, err error) {
	prefix := dirKey(key)
	req := s3client.ListRequest{Bucket: bucket, Prefix: prefix, Max: 2}
	for {
		asked := t.o.Now()
		p, err := t.o.Store.List(ctx, req)
		if err != nil {
			return "", nil, err
		}
		for i := range p.Objects {
			o := &p.Objects[i]
			o.Bucket = bucket
			if o.Key == prefix {
				marker = o
			} else if !t.removed(o, asked) {
				return o.Key, marker, nil
			}
		}
		if p.Next == "" {
			return "", marker, nil
		}
		req.After, req.Max = p.Next, 0
	}
}

// removed says whether a listed object is one that was deleted here, and listings lag.
func (t *Tree) removed(o *s3client.Object, asked time.Time) bool {
	path, ok := t.space.pathOf(o.Bucket, o.Key)
	if !ok {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.o.Now()
	c := t.mu.overlay.get(path, now)
	if c != nil && c.kind == gone && c.waitsFor(isMarker(o.Key)) {
		return true
	}
	if c == nil || c.kind != gone || c.it.IsDir() != isMarker(o.Key) {
		return false
	}
	v := c.judge(shown{obj: o}, asked, now)
	t.mu.overlay.note(path, c)
	return v.keep && v.sure
}
