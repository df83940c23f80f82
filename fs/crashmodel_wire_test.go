package fs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"pailfs/s3client"
)

// wire is one process's way to the store: requests take time, fail as the history says, and die with the process. A request
// is on its way, is carried out at one moment, and then its answer is on its way. When the process dies one that is on its
// way with its whole body is carried out or not, as the history says.
type wire struct {
	s3client.Store // of calls that the model does not make
	w              *world
	l              *life
}

// call is a request that has not been carried out yet. Guarded by world.mu.
type call struct {
	name, key string
	sent      bool // the store has the whole body
	carryOut  func()
}

// fate is what becomes of a request.
type fate struct {
	there, back time.Duration
	refused     bool          // not carried out, and an error
	lost        bool          // carried out, and the answer is lost
	then        s3client.Kind // what further attempts were told
	again       time.Duration // a deletion's first attempt has no answer, and is carried out so long behind its last; 0: it has one
	whole       bool          // the body is with the store at once
	stays       bool          // it is carried out although its caller or process has gone
}

func (c *wire) Profile() s3client.Profile { return c.w.mem.Profile() }

func (c *wire) gone(name, key string) error {
	return &s3client.Error{Op: name, Bucket: "b", Key: key, Kind: s3client.Denied, Code: "Dead"}
}

// request makes a call. body, where it is not nil, reads the first or the second half of the request's body.
func request[T any](ctx context.Context, c *wire, name, key string, body func(half int) error, f func() (T, error)) (T, error) {
	var zero T
	w, l := c.w, c.l
	if l.isDead() {
		return zero, c.gone(name, key)
	}
	fate := w.fateOf(name, key)
	w.event(l, "begin "+name+" "+key)
	var out T
	var err error
	done := false
	p := &call{name: name, key: key, sent: body == nil}
	p.carryOut = func() { // world.mu is held
		done = true
		out, err = f()
		if w.watch != nil {
			w.watch(l, name, key, err)
			return
		}
		w.carriedOutLocked(name, key, err)
	}
	if body != nil {
		if err := body(0); err != nil {
			return zero, err
		}
		if fate.whole {
			if err := body(1); err != nil {
				return zero, err
			}
			p.sent = true
		}
	}
	if !l.begins(p) {
		return zero, c.gone(name, key)
	}
	left := c.pause(ctx, fate.there)
	if left == nil && body != nil && !p.sent {
		if err := body(1); err != nil {
			l.ends(p)
			return zero, err
		}
		w.mu.Lock()
		p.sent = true
		w.mu.Unlock()
	}
	if left != nil && !l.isDead() && p.sent && fate.stays { // the caller has gone, and the store does not know it
		l.alive(&l.late, func() {
			c.pause(context.Background(), fate.there/2+time.Millisecond)
			l.execute(p)
		})
		s3client.Doubtful(ctx)
		return zero, left
	}
	if left != nil {
		l.ends(p)
		s3client.Doubtful(ctx)
		return zero, left
	}
	if fate.refused {
		l.ends(p)
		w.note("%s %s: refused", name, key)
		s3client.Doubtful(ctx)
		return zero, &s3client.Error{Op: name, Bucket: "b", Key: key, Kind: s3client.Temporary, Status: 503, Code: "Injected"}
	}
	l.execute(p)
	w.event(l, "done "+name+" "+key)
	if left := c.pause(ctx, fate.back); left != nil {
		s3client.Doubtful(ctx)
		return zero, left
	}
	if l.isDead() || !done {
		return zero, c.gone(name, key)
	}
	if fate.again > 0 {
		c.again(&call{name: name, key: key, sent: true, carryOut: func() {
			w.noteLocked("%s %s: the attempt without an answer", name, key)
			_, err := f()
			w.carriedOutLocked(name, key, err)
		}}, fate.again)
		s3client.Doubtful(ctx)
	}
	if fate.lost {
		w.note("%s %s: its answer is lost", name, key)
		s3client.Doubtful(ctx)
		return zero, s3client.InDoubt(&s3client.Error{Op: name, Bucket: "b", Key: key, Kind: fate.then, Code: "Lost"})
	}
	return out, err
}

// again carries a call out later, whatever its caller does.
func (c *wire) again(p *call, after time.Duration) {
	if !c.l.begins(p) {
		return
	}
	c.l.alive(&c.l.late, func() {
		c.pause(background, after)
		c.l.execute(p)
	})
}

// pause waits; the error says that the caller has gone or the process is dead.
func (c *wire) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.l.killed:
		return c.gone("wait", "")
	case <-ctx.Done():
		return &s3client.Error{Op: "wait", Bucket: "b", Kind: s3client.Canceled, Err: ctx.Err()}
	}
}

// halves reads a body as it is sent: its first half when the request begins, its second one later.
func halves(from io.ReaderAt, size int64, into *[]byte) func(int) error {
	p := make([]byte, size)
	*into = p
	return func(half int) error {
		off, end := int64(0), size/2
		if half == 1 {
			off, end = size/2, size
		}
		if off == end {
			return nil
		}
		n, err := from.ReadAt(p[off:end], off)
		if int64(n) == end-off {
			return nil
		}
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return &s3client.Error{Op: "send", Bucket: "b", Kind: s3client.Unknown, Err: err}
	}
}

var background = context.Background()

func (c *wire) List(ctx context.Context, req s3client.ListRequest) (s3client.ListPage, error) {
	return request(ctx, c, "List", req.Prefix, nil, func() (s3client.ListPage, error) { return c.w.mem.List(background, req) })
}

func (c *wire) Head(ctx context.Context, bucket, key string) (s3client.Object, error) {
	return request(ctx, c, "Head", key, nil, func() (s3client.Object, error) { return c.w.mem.Head(background, bucket, key) })
}

func (c *wire) Get(ctx context.Context, req s3client.GetRequest) (io.ReadCloser, s3client.Object, error) {
	type answer struct {
		body io.ReadCloser
		o    s3client.Object
	}
	a, err := request(ctx, c, "Get", req.Key, nil, func() (answer, error) {
		body, o, err := c.w.mem.Get(background, req)
		return answer{body, o}, err
	})
	return a.body, a.o, err
}

func (c *wire) Put(ctx context.Context, req s3client.PutRequest) (s3client.Object, error) {
	var p []byte
	body := halves(req.Body, req.Size, &p)
	return request(ctx, c, "Put", req.Key, body, func() (s3client.Object, error) {
		req.Body = bytes.NewReader(p)
		return c.w.mem.Put(background, req)
	})
}

func (c *wire) Copy(ctx context.Context, req s3client.CopyRequest) (s3client.Object, error) {
	return request(ctx, c, "Copy", req.Key, nil, func() (s3client.Object, error) { return c.w.mem.Copy(background, req) })
}

func (c *wire) Delete(ctx context.Context, bucket, key string) error {
	_, err := request(ctx, c, "Delete", key, nil, func() (struct{}, error) {
		c.w.deletesLocked(key)
		return struct{}{}, c.w.mem.Delete(background, bucket, key)
	})
	return err
}

func (c *wire) DeleteMany(ctx context.Context, bucket string, keys []string) ([]s3client.KeyError, error) {
	return request(ctx, c, "DeleteMany", fmt.Sprint(keys), nil, func() ([]s3client.KeyError, error) {
		for _, k := range keys {
			c.w.deletesLocked(k)
		}
		return c.w.mem.DeleteMany(background, bucket, keys)
	})
}

func (c *wire) CreateUpload(ctx context.Context, bucket, key string, h s3client.Headers) (string, error) {
	return request(ctx, c, "CreateUpload", key, nil, func() (string, error) { return c.w.mem.CreateUpload(background, bucket, key, h) })
}

func (c *wire) UploadPart(ctx context.Context, req s3client.PartRequest) (s3client.Part, error) {
	var p []byte
	body := halves(req.Body, req.Size, &p)
	return request(ctx, c, "UploadPart", req.Key, body, func() (s3client.Part, error) {
		req.Body = bytes.NewReader(p)
		return c.w.mem.UploadPart(background, req)
	})
}

func (c *wire) CopyPart(ctx context.Context, req s3client.CopyPartRequest) (s3client.Part, error) {
	return request(ctx, c, "CopyPart", req.Key, nil, func() (s3client.Part, error) { return c.w.mem.CopyPart(background, req) })
}

func (c *wire) CompleteUpload(ctx context.Context, req s3client.CompleteRequest) (s3client.Object, error) {
	return request(ctx, c, "CompleteUpload", req.Key, nil, func() (s3client.Object, error) {
		return c.w.mem.CompleteUpload(background, req)
	})
}

func (c *wire) AbortUpload(ctx context.Context, bucket, key, id string) error {
	_, err := request(ctx, c, "AbortUpload", key, nil, func() (struct{}, error) {
		return struct{}{}, c.w.mem.AbortUpload(background, bucket, key, id)
	})
	return err
}

func (c *wire) Parts(ctx context.Context, bucket, key, id string) ([]s3client.Part, error) {
	return request(ctx, c, "Parts", key, nil, func() ([]s3client.Part, error) { return c.w.mem.Parts(background, bucket, key, id) })
}

func (c *wire) Uploads(ctx context.Context, bucket, prefix string) ([]s3client.Upload, error) {
	return request(ctx, c, "Uploads", prefix, nil, func() ([]s3client.Upload, error) { return c.w.mem.Uploads(background, bucket, prefix) })
}
