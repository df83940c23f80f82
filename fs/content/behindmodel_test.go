package content

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// TestBehindModel does random things to a few files in journal durability: they are written, flushed, renamed and removed,
// time passes, the store goes away and comes back, the process is killed. What was flushed is never lost, and the store
// never has a state of a file that nobody flushed, but one that was renamed over what was.
func TestBehindModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		rapid.Check(struct{ *testing.T }{t}, func(rt *rapid.T) { // not the T itself: a bubble has no deadline
			m := &behindModel{t: t, files: make(map[string]*modelFile)}
			m.r = &rig{mem: newStore(), memory: rapid.SampledFrom([]int64{0, mib}).Draw(rt, "memory")}
			m.root = must(os.MkdirTemp(root, "run"))
			defer os.RemoveAll(m.root)
			m.dir = must(os.MkdirTemp(m.root, "j"))
			m.r.start(m.dir, inBackground)
			m.r.mu.now = time.Time{}
			m.r.files.Start(bg)
			defer func() { m.r.files.behind.stop() }() // of a run that fails too
			rt.Repeat(map[string]func(*rapid.T){
				"open": m.open, "write": m.write, "append": m.append, "truncate": m.truncate, "flush": m.flush, "sync": m.sync,
				"close": m.close, "touch": m.touch, "move": m.move, "unlink": m.unlink, "sleep": m.sleep, "away": m.goAway, "slow": m.goSlow,
				"crash": m.crash, "": m.check,
			})
			m.end(rt)
		})
	})
}

type behindModel struct {
	t         *testing.T
	r         *rig
	root, dir string
	files     map[string]*modelFile
	away      *s3fault.Active
	slow      *s3fault.Active
	seed      byte
	crashes   int
}

// modelFile is what a name should have.
type modelFile struct {
	f        *File    // nil: not open
	now      []byte   // what a reader sees
	flushed  []byte   // what a crash leaves; nil: nothing
	allowed  [][]byte // what the store may have under the name
	replaced []byte   // what a crash brings back while nothing was flushed; nil: nothing
}

func (mf *modelFile) acknowledged() {
	mf.flushed = slices.Clone(mf.now)
	if mf.flushed == nil {
		mf.flushed = []byte{}
	}
	mf.allowed = append(mf.allowed, mf.flushed)
}

// pick is one of the files, open if wanted.
func (m *behindModel) pick(t *rapid.T, open bool) (string, *modelFile) {
	var keys []string
	for key, mf := range m.files {
		if !open || mf.f != nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		t.Skip("no file")
	}
	slices.Sort(keys)
	key := rapid.SampledFrom(keys).Draw(t, "key")
	return key, m.files[key]
}

func (m *behindModel) open(t *rapid.T) {
	key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
	mf := m.files[key]
	switch {
	case mf == nil:
		m.files[key] = &modelFile{f: m.r.create(key), now: []byte{}}
	case mf.f != nil:
		t.Skip("open")
	case m.r.files.Holds(obj(key)):
		mf.f = must(m.r.files.Open(obj(key), nil, Write))
	default:
		mf.f = m.r.open(key)
	}
}

func (m *behindModel) bytes(t *rapid.T) []byte {
	m.seed += 13
	return pattern(m.seed, rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, 30*kib)).Draw(t, "len"))
}

func (m *behindModel) write(t *rapid.T) { m.writeAt(t, false) }

func (m *behindModel) append(t *rapid.T) { m.writeAt(t, true) }

func (m *behindModel) writeAt(t *rapid.T, atEnd bool) {
	_, mf := m.pick(t, true)
	off := len(mf.now)
	if !atEnd {
		off = rapid.IntRange(0, min(modelMax, len(mf.now)+kib)).Draw(t, "off")
	}
	p := m.bytes(t)
	write(mf.f, int64(off), p)
	to := make([]byte, max(len(mf.now), off+len(p)))
	copy(to, mf.now)
	copy(to[off:], p)
	mf.now = to
}

func (m *behindModel) truncate(t *rapid.T) {
	_, mf := m.pick(t, true)
	size := rapid.OneOf(rapid.Just(0), rapid.IntRange(0, len(mf.now)+kib)).Draw(t, "size")
	if err := mf.f.Truncate(bg, int64(size)); err != nil {
		t.Fatal(err)
	}
	to := make([]byte, size)
	copy(to, mf.now)
	mf.now = to
}

func (m *behindModel) flush(t *rapid.T) {
	_, mf := m.pick(t, true)
	mf.acknowledged() // the store may have it before Flush returns
	if err := mf.f.Flush(bg); err != nil {
		t.Fatal(err)
	}
}

func (m *behindModel) sync(t *rapid.T) {
	key, mf := m.pick(t, true)
	if m.away != nil {
		if err := mf.f.Sync(bg); err == nil && !bytes.Equal(m.stored(key), mf.now) {
			t.Fatal("synced without a store")
		}
		if mf.f.isKept() { // an older state was in the journal: that must not be older than what the store may have got
			mf.acknowledged()
		}
		return
	}
	mf.acknowledged()
	if err := mf.f.Sync(bg); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.stored(key), mf.now) {
		t.Fatal("the store does not have what was synced")
	}
}

func (m *behindModel) stored(key string) []byte {
	p, _ := m.r.mem.Bytes("b", key)
	return p
}

// close flushes first, as close(2) does.
func (m *behindModel) close(t *rapid.T) {
	_, mf := m.pick(t, true)
	mf.acknowledged()
	if err := mf.f.Flush(bg); err != nil {
		t.Fatal(err)
	}
	mf.f.Close(nil)
	mf.f = nil
}

func (m *behindModel) touch(t *rapid.T) {
	key, _ := m.pick(t, false)
	if f, ok := m.r.files.Get(obj(key)); ok {
		f.Touch()
	}
}

// unlink is the face's: the object is deleted between Detach and Done.
func (m *behindModel) unlink(t *rapid.T) {
	key, mf := m.pick(t, false)
	if m.away != nil {
		t.Skip("no store")
	}
	d, err := m.r.files.Detach(bg, obj(key))
	if err != nil {
		t.Fatal(err)
	}
	m.r.mem.Remove("b", key)
	d.Done()
	if mf.f != nil {
		wantRead(m.t, mf.f, mf.now)
		mf.f.Close(nil)
	}
	delete(m.files, key)
}

// move renames, over another file perhaps, as the face does.
func (m *behindModel) move(t *rapid.T) {
	from, mf := m.pick(t, false)
	to := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "to")
	target := m.files[to]
	if to == from {
		t.Skip("the same name")
	}
	d, err := m.r.files.Detach(bg, obj(to))
	if err != nil {
		if m.away == nil {
			t.Fatal(err)
		}
		return
	}
	var over *Base
	var was []byte
	if o, ok := m.r.mem.Object("b", to); ok {
		over, was = m.r.base(o), m.stored(to)
	}
	_, moved, err := m.r.files.Move(bg, obj(from), obj(to), over)
	switch {
	case err != nil && m.away == nil:
		t.Fatal(err)
	case err != nil, moved == NotMoved && m.away != nil:
		if f, ok := m.r.files.Get(obj(from)); ok && f.isKept() {
			mf.acknowledged() // as in sync
		}
		d.Undo()
		return
	case moved == MovedPending:
		if f, ok := m.r.files.Get(obj(to)); ok && f.isKept() { // for the sake of the one that it replaces
			mf.acknowledged()
		}
		if was != nil {
			mf.allowed = append(mf.allowed, was)
			mf.replaced = was
		}
	case moved == MovedStored:
		mf.acknowledged()
	case moved == NotMoved: // the store renames what it has
		if p := m.stored(from); !bytes.Equal(p, mf.now) {
			t.Fatal("a clean file is not what the store has")
		}
		o := m.r.put(to, mf.now)
		m.r.mem.Remove("b", from)
		m.r.files.Moved(obj(from), obj(to), o)
		mf.acknowledged()
	}
	d.Done()
	if target != nil && target.f != nil {
		target.f.Close(nil)
	}
	delete(m.files, from)
	m.files[to] = mf
}

func (m *behindModel) sleep(t *rapid.T) {
	ms := rapid.OneOf(rapid.IntRange(1, 200), rapid.IntRange(200, 40_000)).Draw(t, "ms")
	time.Sleep(time.Duration(ms) * time.Millisecond)
	synctest.Wait()
}

func (m *behindModel) goAway(*rapid.T) {
	if m.away != nil {
		m.back()
		return
	}
	m.away = m.r.fault.Add(s3fault.Rule{Before: s3client.Temporary})
}

func (m *behindModel) back() {
	if m.away != nil {
		m.away.Remove()
	}
	m.away = nil
}

// goSlow makes the store take its time, or answer at once again.
func (m *behindModel) goSlow(*rapid.T) {
	if m.slow != nil {
		m.fast()
		return
	}
	m.slow = m.r.fault.Add(s3fault.Rule{Delay: slowAnswer})
}

const slowAnswer = 150 * time.Millisecond

func (m *behindModel) fast() {
	if m.slow != nil {
		m.slow.Remove()
		time.Sleep(2 * slowAnswer) // what is on its way arrives
	}
	m.slow = nil
}

// crash kills the process and starts another one, which may or may not recover at once.
func (m *behindModel) crash(t *rapid.T) {
	m.fast()
	old, dir := m.r, must(os.MkdirTemp(m.root, "j"))
	synctest.Wait() // a copy is not of one moment: nobody may write
	if err := os.CopyFS(dir, os.DirFS(m.dir)); err != nil {
		t.Fatal(err)
	}
	m.away = nil
	m.crashes++
	m.r = &rig{mem: old.mem, memory: old.memory}
	old.crashed = true
	old.fault.Add(s3fault.Rule{Before: s3client.Denied})
	for key, mf := range m.files {
		mf.f = nil
		if mf.now = mf.flushed; mf.now == nil {
			mf.now = mf.replaced
		}
		if mf.now == nil {
			delete(m.files, key)
		}
		mf.flushed = mf.now
	}
	old.stop()
	m.dir = dir
	m.r.start(m.dir, inBackground)
	m.r.mu.now = time.Time{}
	if _, err := m.r.files.Load(bg); err != nil {
		t.Fatal(err)
	}
	m.r.files.Start(bg)
	if n, failed := m.r.files.Recover(bg); len(failed) > 0 {
		t.Fatal(n, failed)
	}
}

func (m *behindModel) check(t *rapid.T) {
	for key, mf := range m.files {
		f := m.r.files.pin(obj(key)) // a read may take longer than the commit after which it would be forgotten
		ok := f != nil
		if ok {
			defer m.r.files.unpin(f)
			if err := f.check(); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
		}
		switch {
		case ok && (m.away == nil || f.Stat().Dirty):
			p, err := readAll(f)
			if m.away != nil && errors.Is(err, s3client.Temporary) {
				continue // bytes of the base that are not in memory
			}
			if err != nil || !bytes.Equal(p, mf.now) {
				t.Fatalf("%s reads %d bytes, %v; want %d", key, len(p), err, len(mf.now))
			}
		case !ok && !bytes.Equal(m.stored(key), mf.now):
			t.Fatalf("%s is forgotten, and the store has %d bytes, not %d", key, len(m.stored(key)), len(mf.now))
		}
	}
	for _, key := range m.r.mem.Keys("b") {
		mf := m.files[key]
		if mf == nil || !slices.ContainsFunc(mf.allowed, func(p []byte) bool { return bytes.Equal(p, m.stored(key)) }) {
			t.Fatalf("the store has %d bytes of %s that nobody flushed", len(m.stored(key)), key)
		}
	}
}

// end closes everything: the store has what readers saw.
func (m *behindModel) end(t *rapid.T) {
	m.back()
	m.fast()
	synctest.Wait() // a commit that has failed meanwhile is not the one that closing makes
	for _, mf := range m.files {
		if mf.f != nil {
			mf.f.Close(nil)
		}
	}
	if err := m.r.stop(); err != nil {
		t.Fatal(err)
	}
	if keys := m.r.mem.Keys("b"); len(keys) != len(m.files) {
		t.Fatalf("the store has %v, want %d", keys, len(m.files))
	}
	for key, mf := range m.files {
		if !bytes.Equal(m.stored(key), mf.now) {
			t.Fatalf("%s: the store has %d bytes, want %d", key, len(m.stored(key)), len(mf.now))
		}
	}
	// After a crash the uploader's own register ends the streams of the process that died.
	if ups := m.r.mem.PendingUploads("b"); len(ups) > 0 && m.crashes == 0 {
		t.Fatalf("uploads left: %v", ups)
	}
}
