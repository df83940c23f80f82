package tree

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// laterOp is an entry of laterFake.
type laterOp struct {
	seq       uint64
	kind      string // "delete", "put", "headers"
	bucket    string
	key, etag string
	size      int64
	h         s3client.Headers
	body      []byte

	begun bool
	done  bool // carried out, and not settled yet
	o     s3client.Object
	err   error
}

// laterFake is a Later that a test drives: nothing is carried out until it says so. It joins the changes of a key as
// the real one does.
type laterFake struct {
	r     *rig
	busy  func(key string) bool
	fault error // of the next calls
	// at is called in each call with the entry, before its seq is returned.
	at func(op *laterOp)

	mu     sync.Mutex
	seq    uint64
	queues map[string][]*laterOp // by bucket/key
	drains []string
}

func newLaterRig(t *testing.T, o Options, opts ...s3mem.Option) (*rig, *laterFake) {
	l := &laterFake{queues: map[string][]*laterOp{}}
	o.Later = l
	l.r = newRig(t, o, opts...)
	return l.r, l
}

func (l *laterFake) add(ctx context.Context, op *laterOp) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	l.mu.Lock()
	if l.fault != nil {
		defer l.mu.Unlock()
		return 0, l.fault
	}
	k := op.bucket + "/" + op.key
	q := l.queues[k]
	if n := len(q); n > 0 && !q[n-1].begun {
		l.coalesce(q[n-1], op)
		op = q[n-1]
	} else {
		l.seq++
		op.seq = l.seq
		l.queues[k] = append(q, op)
	}
	l.mu.Unlock()
	if l.at != nil {
		l.at(op)
	}
	return op.seq, nil
}

// coalesce joins an entry that waits with a later one.
func (l *laterFake) coalesce(old, op *laterOp) {
	switch {
	case op.kind == "headers" && old.kind != "delete":
		old.h = op.h
	default:
		op.seq = old.seq
		*old = *op
	}
}

func (l *laterFake) Delete(ctx context.Context, bucket, key, etag string) (uint64, error) {
	return l.add(ctx, &laterOp{kind: "delete", bucket: bucket, key: key, etag: etag})
}

func (l *laterFake) Put(ctx context.Context, bucket, key string, h s3client.Headers, body []byte) (uint64, error) {
	return l.add(ctx, &laterOp{kind: "put", bucket: bucket, key: key, h: h, body: body})
}

func (l *laterFake) SetHeaders(ctx context.Context, src s3client.Object, h s3client.Headers) (uint64, error) {
	return l.add(ctx, &laterOp{kind: "headers", bucket: src.Bucket, key: src.Key, etag: src.ETag, size: src.Size, h: h})
}

func (l *laterFake) Drain(ctx context.Context, bucket, prefix string) error {
	l.mu.Lock()
	l.drains = append(l.drains, bucket+"/"+prefix)
	err := l.fault
	l.mu.Unlock()
	if err != nil {
		return err
	}
	for _, k := range l.keys() {
		if strings.HasPrefix(k, bucket+"/"+prefix) {
			for l.settle(k) {
			}
		}
	}
	return nil
}

func (l *laterFake) keys() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var keys []string
	for k := range l.queues {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// head is the entry of a key that is first in line.
func (l *laterFake) head(k string) *laterOp {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.queues[k]; len(q) > 0 {
		return q[0]
	}
	return nil
}

// begin carries the first entry of a key out; nobody is told yet.
func (l *laterFake) begin(k string) bool {
	op := l.head(k)
	if op == nil || l.busy != nil && l.busy(op.key) {
		return false
	}
	l.mu.Lock()
	first := !op.begun
	op.begun = true
	l.mu.Unlock()
	if !first {
		return false
	}
	ctx, s := context.Background(), l.r.fault
	switch op.kind {
	case "delete":
		op.err = s.Delete(ctx, op.bucket, op.key)
	case "put":
		op.o, op.err = s.Put(ctx, s3client.PutRequest{Bucket: op.bucket, Key: op.key, Headers: op.h, Body: bytes.NewReader(op.body), Size: int64(len(op.body))})
	case "headers":
		op.o, op.err = s.Copy(ctx, s3client.CopyRequest{SrcBucket: op.bucket, SrcKey: op.key, SrcETag: op.etag, SrcSize: op.size,
			Bucket: op.bucket, Key: op.key, Headers: &op.h})
	}
	l.mu.Lock()
	op.done = true
	l.mu.Unlock()
	return true
}

// finish tells the tree of the first entry of a key, which was carried out.
func (l *laterFake) finish(k string) bool {
	l.mu.Lock()
	q := l.queues[k]
	if len(q) == 0 || !q[0].done {
		l.mu.Unlock()
		return false
	}
	op := q[0]
	l.drop(k)
	l.mu.Unlock()
	l.r.tree.Settled(op.bucket, op.key, op.seq, op.o, op.err)
	return true
}

func (l *laterFake) pop(k string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(k)
}

// drop takes the first entry of a key out. The caller holds l.mu.
func (l *laterFake) drop(k string) {
	if l.queues[k] = l.queues[k][1:]; len(l.queues[k]) == 0 {
		delete(l.queues, k)
	}
}

// settle carries out the first entry of a key and tells the tree.
func (l *laterFake) settle(k string) bool {
	l.begin(k)
	return l.finish(k)
}

// giveUp tells the tree that the first entry of a key was not carried out.
func (l *laterFake) giveUp(k string, err error) {
	op := l.head(k)
	l.pop(k)
	l.r.tree.Settled(op.bucket, op.key, op.seq, s3client.Object{}, err)
}

// hold is a commit of content: what goes on is waited for, what waits is replaced by what store puts.
func (l *laterFake) hold(k string, store func()) {
	l.finish(k)
	store()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.queues, k)
}

func (l *laterFake) all() {
	for _, k := range l.keys() {
		for l.settle(k) {
		}
	}
}

// want checks what waits: "put d/, delete f" in the order of keys.
func (l *laterFake) want(want string) {
	l.r.Helper()
	var got []string
	for _, k := range l.keys() {
		l.mu.Lock()
		for _, op := range l.queues[k] {
			got = append(got, op.kind+" "+op.key)
		}
		l.mu.Unlock()
	}
	if s := strings.Join(got, ", "); s != want {
		l.r.Errorf("waiting: %q, want %q", s, want)
	}
}

func (l *laterFake) unsettled(want int) {
	l.r.Helper()
	if s := l.r.tree.Stats(); s.Unsettled != want {
		l.r.Errorf("%d unsettled, want %d", s.Unsettled, want)
	}
}

// has says whether a key will be in the store when all is carried out.
func (l *laterFake) has(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.queues[bkt+"/"+key]; len(q) > 0 && !q[len(q)-1].done {
		return q[len(q)-1].kind != "delete"
	}
	_, ok := l.r.mem.Object(bkt, key)
	return ok
}

func at(k string) string { return fmt.Sprintf("%s/%s", bkt, k) }

func (r *rig) chmod(path string, mode uint32) Entry {
	r.Helper()
	e, err := r.tree.SetAttr(r.ctx, path, Change{Mode: &mode})
	r.ok(err)
	return e
}

func (r *rig) utimens(path string, at time.Time) Entry {
	r.Helper()
	e, err := r.tree.SetAttr(r.ctx, path, Change{Mtime: &at})
	r.ok(err)
	return e
}

func (r *rig) mkdir(path string) Entry {
	r.Helper()
	e, err := r.tree.Mkdir(r.ctx, path, Attr{Mode: 0o750, UID: 5, GID: 6})
	r.ok(err)
	return e
}

// meta checks an attribute that the store has.
func (r *rig) meta(key, name, want string) {
	r.Helper()
	if o, ok := r.mem.Object(bkt, key); !ok || o.Headers.Meta[name] != want {
		r.Errorf("%s of %s: %+v, want %q", name, key, o.Headers, want)
	}
}

func (r *rig) create(path string) Entry {
	r.Helper()
	e, err := r.tree.Create(path, Attr{Mode: 0o600, UID: 1, GID: 2})
	r.ok(err)
	return e
}
