package upload

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const kib = 1 << 10

// tiny are a store's limits in which a large file has a hundred KiB.
var tiny = s3client.Profile{Name: "generic", MinPart: 5 * kib, MaxPart: 100 * kib, MaxParts: 16, MaxPut: 100 * kib,
	MaxCopy: 40 * kib, MaxDelete: 100, MaxMetaValue: 256, MaxMeta: 2048}

func tinyLimits() Limits {
	l := LimitsOf(tiny, 8*kib)
	l.SinglePut = 16 * kib
	return l
}

// env is an Uploader on a store in memory that can be made to fail.
type env struct {
	t     *testing.T
	mem   *s3mem.Store
	fault *s3fault.Store
	u     *Uploader
	log   *logText
}

type setting func(*Options)

func newEnv(t *testing.T, settings ...setting) *env {
	t.Helper()
	e := &env{t: t, mem: s3mem.New(s3mem.WithProfile(tiny), s3mem.WithBuckets("b")), log: &logText{}}
	e.fault = s3fault.New(e.mem)
	o := Options{Store: e.fault, Limits: tinyLimits(), Parallel: 4, Log: slog.New(slog.NewTextHandler(e.log, nil))}
	for _, set := range settings {
		set(&o)
	}
	e.u = New(o)
	t.Cleanup(e.close)
	return e
}

func (e *env) close() {
	e.t.Helper()
	if err := e.u.Close(context.Background()); err != nil {
		e.t.Errorf("close: %v", err)
	}
	if n := len(e.u.slots) + len(e.u.streams); n != 0 {
		e.t.Errorf("%d slots are still taken", n)
	}
}

// noPending demands that nothing unfinished is left in the bucket, after Close.
func (e *env) noPending() {
	e.t.Helper()
	e.close()
	if left := e.mem.PendingUploads("b"); len(left) != 0 {
		e.t.Errorf("uploads left: %v", left)
	}
}

func (e *env) noWarnings() {
	e.t.Helper()
	if s := e.log.String(); strings.Contains(s, "level=WARN") {
		e.t.Errorf("log: %s", s)
	}
}

// holds demands that the object has the bytes.
func (e *env) holds(key string, want []byte) {
	e.t.Helper()
	got, ok := e.mem.Bytes("b", key)
	if !ok || !bytes.Equal(got, want) {
		e.t.Errorf("%s: there: %v, %d bytes, differs from the %d wanted", key, ok, len(got), len(want))
	}
}

// calls are the calls since the last one, as "CopyPart 1, CreateUpload 1".
func (e *env) calls(f func()) string {
	before := e.mem.Calls()
	f()
	var words []string
	for _, name := range []string{"Put", "Copy", "CreateUpload", "UploadPart", "CopyPart", "CompleteUpload", "AbortUpload", "Head"} {
		if n := e.mem.Calls()[name] - before[name]; n != 0 {
			words = append(words, fmt.Sprintf("%s %d", name, n))
		}
	}
	return strings.Join(words, ", ")
}

func (e *env) wantCalls(want string, f func()) {
	e.t.Helper()
	if got := e.calls(f); got != want {
		e.t.Errorf("requests: %s\n    want: %s", got, want)
	}
}

// store stores and checks what is returned and what is there.
func (e *env) store(j Job, want []byte) s3client.Object {
	e.t.Helper()
	obj, err := e.u.Store(context.Background(), j)
	if err != nil {
		e.t.Fatalf("store: %v", err)
	}
	e.holds(j.Key, want)
	seen, _ := e.mem.Object("b", j.Key)
	if obj.Bucket != j.Bucket || obj.Key != j.Key || obj.Size != int64(len(want)) || obj.ETag != seen.ETag {
		e.t.Errorf("returned %+v, the store has %+v", obj, seen)
	}
	if obj.Headers == nil || seen.Headers.Meta["mode"] != j.Headers.Meta["mode"] {
		e.t.Errorf("headers sent %+v, stored %+v", obj.Headers, seen.Headers)
	}
	return obj
}

func random(n int, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

func headers(mode string) s3client.Headers {
	return s3client.Headers{ContentType: "text/plain", Meta: map[string]string{"mode": mode}}
}

// job stores content that is all ours.
func job(content []byte) Job {
	return Job{Bucket: "b", Key: "k", Headers: headers("1"), Source: bytes.NewReader(content),
		Need: Need{Size: int64(len(content))}}
}

// edit stores content made from base by changing the dirty ranges.
func (e *env) edit(base s3client.Object, content []byte, valid int64, dirty ...Range) Job {
	j := job(content)
	j.Base = &Base{Bucket: base.Bucket, Key: base.Key, ETag: base.ETag, Size: base.Size}
	j.Need.Base, j.Need.Dirty = valid, dirty
	return j
}

// file is a file that is written while it is read.
type file struct {
	sync.Mutex
	b []byte
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.Lock()
	defer f.Unlock()
	return bytes.NewReader(f.b).ReadAt(p, off)
}

func (f *file) set(b []byte, off int) {
	f.Lock()
	defer f.Unlock()
	copy(f.b[off:], b)
}

type logText struct {
	sync.Mutex
	b strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.Lock()
	defer l.Unlock()
	return l.b.String()
}

// quiet is a store whose answers to writes say as little as S3 allows: an ETag.
type quiet struct{ s3client.Store }

func (q quiet) Put(ctx context.Context, r s3client.PutRequest) (s3client.Object, error) {
	obj, err := q.Store.Put(ctx, r)
	return s3client.Object{ETag: obj.ETag}, err
}

func (q quiet) CompleteUpload(ctx context.Context, r s3client.CompleteRequest) (s3client.Object, error) {
	obj, err := q.Store.CompleteUpload(ctx, r)
	return s3client.Object{ETag: obj.ETag}, err
}

func (q quiet) UploadPart(ctx context.Context, r s3client.PartRequest) (s3client.Part, error) {
	part, err := q.Store.UploadPart(ctx, r)
	return s3client.Part{ETag: part.ETag}, err
}

func quietStore(o *Options) { o.Store = quiet{o.Store} }

// altered is a store whose answers are changed on the way.
type altered struct {
	s3client.Store
	put, copied, completed, head func(*s3client.Object)
	part, copyPart               func(*s3client.Part)
	uploadID                     func(*string)
}

func alter[T any](f func(*T), v T, err error) (T, error) {
	if f != nil && err == nil {
		f(&v)
	}
	return v, err
}

func (a *altered) Put(ctx context.Context, r s3client.PutRequest) (s3client.Object, error) {
	v, err := a.Store.Put(ctx, r)
	return alter(a.put, v, err)
}

func (a *altered) Copy(ctx context.Context, r s3client.CopyRequest) (s3client.Object, error) {
	v, err := a.Store.Copy(ctx, r)
	return alter(a.copied, v, err)
}

func (a *altered) Head(ctx context.Context, bucket, key string) (s3client.Object, error) {
	v, err := a.Store.Head(ctx, bucket, key)
	return alter(a.head, v, err)
}

func (a *altered) CompleteUpload(ctx context.Context, r s3client.CompleteRequest) (s3client.Object, error) {
	v, err := a.Store.CompleteUpload(ctx, r)
	return alter(a.completed, v, err)
}

func (a *altered) UploadPart(ctx context.Context, r s3client.PartRequest) (s3client.Part, error) {
	v, err := a.Store.UploadPart(ctx, r)
	return alter(a.part, v, err)
}

func (a *altered) CopyPart(ctx context.Context, r s3client.CopyPartRequest) (s3client.Part, error) {
	v, err := a.Store.CopyPart(ctx, r)
	return alter(a.copyPart, v, err)
}

func (a *altered) CreateUpload(ctx context.Context, bucket, key string, h s3client.Headers) (string, error) {
	v, err := a.Store.CreateUpload(ctx, bucket, key, h)
	return alter(a.uploadID, v, err)
}

// gate is an s3fault hook that stops calls until it is opened.
type gate struct {
	reached chan s3fault.Call
	open    chan struct{}
}

func newGate() *gate { return &gate{make(chan s3fault.Call, 100), make(chan struct{})} }

func (g *gate) hook(ctx context.Context, c s3fault.Call) error {
	g.reached <- c
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait is for what must come soon: a test that hangs says where.
func wait(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

var errRead = fmt.Errorf("the disk of the spool: %w", io.ErrClosedPipe)

type badSource struct{ after int64 }

func (s badSource) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > s.after {
		return 0, errRead
	}
	return len(p), nil
}
