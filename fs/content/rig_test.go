package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/fs/upload"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const kib = 1 << 10

// testLimits make small files large: one PUT up to 16 KiB, parts from 8 KiB.
var testLimits = upload.Limits{MinPart: 4 * kib, MaxPart: mib, MaxPut: mib, MaxCopy: mib, MaxParts: 1000,
	FirstPart: 8 * kib, SinglePut: 16 * kib}

// rig is Files over a store in memory.
type rig struct {
	mem     *s3mem.Store
	fault   *s3fault.Store
	blocks  *cache.Blocks
	journal *journal.Journal
	up      *upload.Uploader
	files   *Files
	memory  int64                                      // MemoryBytes of the journal; 0: no spool in memory
	limits  upload.Limits                              // the zero value: testLimits
	crashed bool                                       // another rig goes on with the store: this one's errors are nobody's
	fetch   func(ctx context.Context, off int64) error // runs before a fetch of the blocks; nil for none

	mu struct {
		sync.Mutex
		now        time.Time
		headers    map[string]string // what Headers gives as metadata
		stored     []ID
		between    func() // runs once between a completion and its answer
		betweenPut func()
		disk       error // the journal's, when it writes
		spoils     int   // so many bodies more arrive with one bit that is another
	}
}

// slowAnswers lets a test act when the store has a new version and nobody here knows yet.
type slowAnswers struct {
	s3client.Store
	rig *rig
}

func (s *slowAnswers) CompleteUpload(ctx context.Context, req s3client.CompleteRequest) (s3client.Object, error) {
	o, err := s.Store.CompleteUpload(ctx, req)
	s.act(&s.rig.mu.between)
	return o, err
}

func (s *slowAnswers) act(once *func()) {
	s.rig.mu.Lock()
	f := *once
	*once = nil
	s.rig.mu.Unlock()
	if f != nil {
		f()
	}
}

// Put changes a bit of the body where the test wants that. It is the last one: a base's, where the test changed the beginning.
func (s *slowAnswers) Put(ctx context.Context, req s3client.PutRequest) (s3client.Object, error) {
	s.rig.mu.Lock()
	spoiled := s.rig.mu.spoils > 0 && req.Size > 0
	if spoiled {
		s.rig.mu.spoils--
	}
	s.rig.mu.Unlock()
	if spoiled {
		p, err := io.ReadAll(io.NewSectionReader(req.Body, 0, req.Size))
		if err != nil {
			return s3client.Object{}, err
		}
		p[len(p)-1] ^= 1
		req.Body = bytes.NewReader(p)
	}
	o, err := s.Store.Put(ctx, req)
	s.act(&s.rig.mu.betweenPut)
	return o, err
}

func (r *rig) spoil(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.spoils = n
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newStore() *s3mem.Store {
	return s3mem.New(s3mem.WithMinPart(testLimits.MinPart), s3mem.WithBuckets("b"))
}

func newRig(dir string, change ...func(*Options)) *rig {
	r := &rig{mem: newStore()}
	r.start(dir, change...)
	return r
}

// start makes everything but the store.
func (r *rig) start(dir string, change ...func(*Options)) {
	r.fault = s3fault.New(&slowAnswers{Store: r.mem, rig: r})
	r.mu.now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r.blocks = cache.NewBlocks(cache.BlocksOptions{MemoryBytes: 64 * mib, BlockBytes: 4 * kib, MaxFetchBytes: 8 * mib,
		Fetch: func(ctx context.Context, v cache.Version, off, n int64) (io.ReadCloser, error) {
			if r.fetch != nil {
				if err := r.fetch(ctx, off); err != nil {
					return nil, err
				}
			}
			body, _, err := r.fault.Get(ctx, s3client.GetRequest{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Offset: off, Length: n})
			return body, err
		}})
	if r.memory == 0 {
		r.memory = -1
	}
	r.journal = must(journal.OpenWith(journal.Options{Dir: dir, MemoryBytes: r.memory, Log: slog.New(slog.DiscardHandler),
		Hooks: journal.Hooks{SegmentBytes: 512 * kib, LentBytes: lentUnit, Refuse: r.diskError}}))
	if r.limits == (upload.Limits{}) {
		r.limits = testLimits
	}
	r.up = upload.New(upload.Options{Store: r.fault, Limits: r.limits, Parallel: 4})
	o := Options{Store: r.fault, Blocks: r.blocks, Journal: r.journal, Uploader: r.up, CheckAfter: time.Minute, Host: "host",
		Now: r.now, Headers: r.headers, Log: slog.New(slog.DiscardHandler),
		Stored: func(id ID, o s3client.Object) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.mu.stored = append(r.mu.stored, id)
		}}
	for _, c := range change {
		c(&o)
	}
	r.files = New(o)
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.now.IsZero() {
		return time.Now()
	}
	return r.mu.now
}

func (r *rig) diskError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.disk
}

// diskFails lets the journal's disk fail from now on; nil: no more.
func (r *rig) diskFails(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.disk = err
}

func (r *rig) later(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.now = r.mu.now.Add(d)
}

func (r *rig) headers(context.Context, ID, bool) (s3client.Headers, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return s3client.Headers{Meta: r.mu.headers}, nil
}

func (r *rig) setHeaders(m map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.headers = m
}

// stop closes everything, Files first; its error is the result.
func (r *rig) stop() error {
	ctx := context.Background()
	err := r.files.Close(ctx)
	if e := errors.Join(r.up.Close(ctx), r.blocks.Close(ctx), r.journal.Close()); e != nil && !r.crashed {
		panic(e)
	}
	return err
}

// rigFor makes a rig that ends with the test, without an unsaved file.
func rigFor(t *testing.T, change ...func(*Options)) *rig {
	r := newRig(t.TempDir(), change...)
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func obj(key string) ID { return ID{"b", key} }

// create opens a new file.
func (r *rig) create(key string) *File { return must(r.files.Open(obj(key), nil, Create)) }

// open opens what the store has, seen now.
func (r *rig) open(key string) *File {
	o, ok := r.mem.Object("b", key)
	if !ok {
		panic("no object " + key)
	}
	return must(r.files.Open(obj(key), r.base(o), Write))
}

func (r *rig) base(o s3client.Object) *Base {
	return &Base{Version: cache.Version{Bucket: o.Bucket, Key: o.Key, ETag: o.ETag, Size: o.Size}, Seen: r.now()}
}

func (r *rig) put(key string, p []byte) s3client.Object {
	return r.mem.PutBytes("b", key, p, s3client.Headers{})
}

func write(f *File, off int64, p []byte) {
	if n, err := f.WriteAt(context.Background(), p, off); err != nil || n != len(p) {
		panic(fmt.Sprint("write ", n, err))
	}
}

func readAll(f *File) ([]byte, error) { return read(f, nil, 0, int(f.Stat().Size)+1) }

func read(f *File, h *Handle, off int64, n int) ([]byte, error) {
	d, err := f.ReadAt(context.Background(), h, off, n)
	if err != nil {
		return nil, err
	}
	defer d.Done()
	p := bytes.Join(d.Slices(), nil)
	if len(p) != d.Len() {
		panic("Len is not the length of Slices")
	}
	return p, nil
}

func (f *File) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.checkLocked()
}

func wantRead(t *testing.T, f *File, want []byte) {
	t.Helper()
	got, err := readAll(f)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes %.40q, %v; want %d bytes %.40q", len(got), got, err, len(want), want)
	}
}

func (r *rig) wantStored(t *testing.T, key string, want []byte) {
	t.Helper()
	got, ok := r.mem.Bytes("b", key)
	if !ok || !bytes.Equal(got, want) {
		t.Fatalf("store has %d bytes %.40q of %s (%v); want %d bytes %.40q", len(got), got, key, ok, len(want), want)
	}
}

func wantSync(t *testing.T, f *File) {
	t.Helper()
	if err := f.Sync(context.Background()); err != nil {
		t.Fatalf("sync: %v", err)
	}
	if f.Stat().Dirty {
		t.Fatal("dirty after a sync")
	}
	if err := f.check(); err != nil {
		t.Fatal(err)
	}
}

// calls counts what f asks the store for.
func (r *rig) calls(f func()) map[string]int64 {
	before := r.mem.Calls()
	f()
	after := r.mem.Calls()
	for k, n := range before {
		if after[k] -= n; after[k] == 0 {
			delete(after, k)
		}
	}
	return after
}

func wantCalls(t *testing.T, what string, got map[string]int64, want map[string]int64) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%s: calls %v, want %v", what, got, want)
	}
}

func pattern(seed byte, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = seed + byte(i) + byte(i>>8)*7
	}
	return p
}

// spools counts the spool files on the disk.
func spools(t *testing.T, r *rig, dir string) int {
	t.Helper()
	e, err := os.ReadDir(dir + "/spool")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

// failStores makes everything fail that could finish a commit.
func failStores(r *rig) {
	for _, call := range []string{"Put", "Copy", "CompleteUpload"} {
		r.fault.Add(s3fault.Rule{Call: call, Before: s3client.Denied})
	}
}

// present is a snapshot of the present state.
func (r *rig) present(f *File) *snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshotLocked(f.stageLocked())
}

// isKept says whether the journal has the file's bytes as they are.
func (f *File) isKept() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.keptLocked()
	return k != nil && k.bytes == f.bytesLocked()
}
