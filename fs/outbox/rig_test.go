package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// notes is a journal in memory. What was appended is there for the next run whether or not it was synced, unless a test
// says otherwise.
type notes struct {
	mu struct {
		sync.Mutex
		next  uint64
		kept  map[uint64][]byte
		syncs int
		fail  func(call string) error // before a call does anything
		dead  bool                    // the process is: nothing is written any more
	}
}

var errDead = errors.New("the process is dead")

func (n *notes) begin(call string) error {
	if n.mu.kept == nil {
		n.mu.kept = make(map[uint64][]byte)
	}
	if n.mu.dead {
		return errDead
	}
	if n.mu.fail != nil {
		return n.mu.fail(call)
	}
	return nil
}

func (n *notes) AddNote(kind string, data []byte) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.begin("AddNote"); err != nil {
		return 0, err
	}
	if kind != NoteKind {
		panic("a note of kind " + kind)
	}
	n.mu.next++
	n.mu.kept[n.mu.next] = bytes.Clone(data)
	return n.mu.next, nil
}

func (n *notes) ReplaceNote(seq uint64, data []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.begin("ReplaceNote"); err != nil {
		return err
	}
	if n.mu.kept[seq] == nil {
		panic(fmt.Sprintf("note %d is replaced and is not there", seq))
	}
	n.mu.kept[seq] = bytes.Clone(data)
	return nil
}

func (n *notes) DropNote(seq uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.begin("DropNote"); err != nil {
		return err
	}
	if n.mu.kept[seq] == nil {
		panic(fmt.Sprintf("note %d is dropped and is not there", seq))
	}
	delete(n.mu.kept, seq)
	return nil
}

func (n *notes) Sync() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.begin("Sync"); err != nil {
		return err
	}
	n.mu.syncs++
	return nil
}

func (n *notes) set(f func(call string) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.fail = f
}

func (n *notes) die(dead bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.dead = dead
}

func (n *notes) syncs() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.syncs
}

// left are the notes as the next run reads them.
func (n *notes) left(t testing.TB) (ops []Op) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, seq := range slices.Sorted(maps.Keys(n.mu.kept)) {
		op, err := Decode(seq, n.mu.kept[seq])
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, op)
	}
	return ops
}

// rig is an Outbox over a store in memory that can be made to fail.
type rig struct {
	t     testing.TB
	mem   *s3mem.Store
	fault *s3fault.Store
	notes *notes
	box   *Outbox
	log   bytes.Buffer // read it when the Outbox is closed
	mu    struct {
		sync.Mutex
		settled []Done
		busy    map[string]bool
	}
}

func newRig(t testing.TB, change ...func(*Options)) *rig {
	r := &rig{t: t, mem: s3mem.New(s3mem.WithBuckets("b", "c")), notes: &notes{}}
	r.fault = s3fault.New(r.mem)
	r.start(change...)
	return r
}

func (r *rig) start(change ...func(*Options)) {
	r.mu.busy = make(map[string]bool)
	o := Options{Journal: r.notes, Store: r.fault, Settled: r.settle, Busy: r.isBusy, CheckAfter: time.Hour,
		Log: slog.New(slog.NewTextHandler(&r.log, nil))}
	for _, c := range change {
		c(&o)
	}
	r.box = New(o, r.notes.left(r.t))
}

func (r *rig) settle(d Done) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.settled = append(r.mu.settled, d)
}

func (r *rig) settled() []Done {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.mu.settled)
}

func (r *rig) isBusy(_, key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.busy[key]
}

func (r *rig) setBusy(key string, busy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.busy[key] = busy
}

func (r *rig) close() {
	r.t.Helper()
	r.ok(r.box.Close(context.Background()))
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) delete(key, etag string) uint64 {
	r.t.Helper()
	seq, err := r.box.Delete(context.Background(), "b", key, etag)
	r.ok(err)
	return seq
}

func (r *rig) put(key, body, mode string) uint64 {
	r.t.Helper()
	seq, err := r.box.Put(context.Background(), "b", key, withMode(mode), []byte(body))
	r.ok(err)
	return seq
}

func (r *rig) headers(o s3client.Object, mode string) uint64 {
	r.t.Helper()
	seq, err := r.box.SetHeaders(context.Background(), o, withMode(mode))
	r.ok(err)
	return seq
}

func (r *rig) drain(prefix string) {
	r.t.Helper()
	r.ok(r.box.Drain(context.Background(), "b", prefix))
}

func withMode(mode string) s3client.Headers {
	return s3client.Headers{ContentType: "text/x", Meta: map[string]string{"mode": mode}}
}

// stored puts an object into the store behind the outbox's back.
func (r *rig) stored(key, body string) s3client.Object {
	return r.mem.PutBytes("b", key, []byte(body), withMode("first"))
}

// has says what the store has under a key: body:mode, "" for nothing.
func (r *rig) has(key string) string {
	p, ok := r.mem.Bytes("b", key)
	if !ok {
		return ""
	}
	o, _ := r.mem.Object("b", key)
	return string(p) + ":" + o.Headers.Meta["mode"]
}

func (r *rig) want(key, what string) {
	r.t.Helper()
	if got := r.has(key); got != what {
		r.t.Errorf("the store has %q under %s, want %q", got, key, what)
	}
}

// calls checks what the store was asked so far, and no more.
func (r *rig) calls(want map[string]int64) {
	r.t.Helper()
	if got := r.fault.Calls(); !maps.Equal(got, want) {
		r.t.Errorf("the store was asked %v, want %v", got, want)
	}
}

// nothingLeft checks that the outbox and its journal are empty.
func (r *rig) nothingLeft() {
	r.t.Helper()
	if p := r.box.Pending(); len(p) != 0 || r.box.Len() != 0 {
		r.t.Errorf("pending: %d, %+v", r.box.Len(), p)
	}
	if left := r.notes.left(r.t); len(left) != 0 {
		r.t.Errorf("the journal still has %+v", left)
	}
	checkTable(r.t, r.box)
}

// crash ends the outbox as a kill does: requests break off, the journal gets nothing more.
func (r *rig) crash() {
	r.notes.die(true)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.box.Close(gone) // says that requests were broken off, perhaps
	r.notes.die(false)
}

// bubble runs a test in a synctest bubble.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// checkTable checks what always holds between two calls.
func checkTable(t testing.TB, b *Outbox) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for name, h := range b.mu.homes {
		if len(h.heads) == 0 || name != h.bucket {
			t.Errorf("bucket %q: %d keys, called %q", name, len(h.heads), h.bucket)
		}
		waits := 0
		for e := h.oldest; e != nil; e = e.newer {
			waits++
			if e.place != waiting || h.heads[e.key] != e {
				t.Errorf("%s is in the list of deletes: place %d", e.key, e.place)
			}
		}
		if waits != h.waiting {
			t.Errorf("%d deletes in the list, %d counted", waits, h.waiting)
		}
		below := make(map[string]int)
		for key, e := range h.heads {
			for ; e != nil; e = e.next {
				if e.counted != (e.kind == isDelete && e.place != parked && (e.fail == nil || e.fail.err == nil)) {
					t.Errorf("%s is counted: %v, place %d", key, e.counted, e.place)
				}
				for i := range len(key) - 1 {
					if key[i] == '/' && e.counted {
						below[key[:i+1]]++
					}
				}
			}
		}
		if !maps.Equal(below, h.below) {
			t.Errorf("below directories: %v, counted %v", below, h.below)
		}
		for key, e := range h.heads {
			for first := e; e != nil; e = e.next {
				n++
				if e.key != key || e != first && e.place != aside || e.place == gone {
					t.Errorf("%s in the chain of %s: place %d", e.key, key, e.place)
				}
			}
		}
	}
	for i, e := range b.mu.rests {
		if e.place != resting || int(e.index) != i {
			t.Errorf("%s rests: place %d, index %d of %d", e.key, e.place, e.index, i)
		}
	}
	if n != b.mu.count {
		t.Errorf("%d entries, %d counted", n, b.mu.count)
	}
}
