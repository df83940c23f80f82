package s3fault

import (
	"context"
	"io"
	"sync"

	"pailfs/s3client"
)

// Get implements s3client.Store.
func (s *Store) Get(ctx context.Context, req s3client.GetRequest) (io.ReadCloser, s3client.Object, error) {
	c := Call{Name: "Get", Bucket: req.Bucket, Key: req.Key}
	rules := s.choose(c)
	if err := s.before(ctx, c, rules); err != nil {
		return nil, s3client.Object{}, err
	}
	r, o, err := s.inner.Get(ctx, req)
	if lost := s.after(c, rules); lost != nil {
		if err == nil {
			r.Close() // nobody will read it
		}
		return nil, s3client.Object{}, lost
	}
	if err != nil {
		return nil, s3client.Object{}, err
	}
	for _, rule := range rules {
		if rule.Cut || rule.Stall {
			return &body{ctx: ctx, store: s, call: c, rule: rule, left: rule.CutAt, inner: r,
				closed: make(chan struct{})}, o, nil
		}
	}
	return r, o, nil
}

// body delivers the first CutAt bytes of a body and then its fault. The fault is counted once, when a reader meets it:
// a body that ends or is closed before has none.
type body struct {
	ctx   context.Context
	store *Store
	call  Call
	rule  Rule
	inner io.ReadCloser
	left  int64 // bytes before the fault; of the reader
	met   bool  // the fault was counted; of the reader

	closed chan struct{}
	once   sync.Once
}

func (b *body) Read(p []byte) (int, error) {
	if b.left > 0 {
		n, err := b.inner.Read(p[:min(int64(len(p)), b.left)])
		b.left -= int64(n)
		return n, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !b.met {
		b.met = true
		b.store.count(b.call.Name, func(f *Faults) {
			if b.rule.Stall {
				f.Stall++
			} else {
				f.Cut++
			}
		})
	}
	if !b.rule.Stall {
		err := b.rule.CutErr
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return 0, asError(b.call, err)
	}
	select {
	case <-b.ctx.Done():
		return 0, canceled(b.call, b.ctx)
	case <-b.closed:
		return 0, io.ErrClosedPipe
	}
}

func (b *body) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.inner.Close()
}
