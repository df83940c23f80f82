package fs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/cache"
	"pailfs/fs/ahead"
	"pailfs/fs/content"
	"pailfs/fs/journal"
	"pailfs/fs/outbox"
	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// life is one process: the rooms as the command wires them, over a copy of the journal that the one before has left.
type life struct {
	w    *world
	dir  string
	plan kill

	killMe chan struct{}
	killed chan struct{}
	late   sync.WaitGroup // requests whose callers have gone
	closed sync.WaitGroup // descriptions whose end the kernel has not told yet

	// guarded by world.mu
	dead            bool
	events, appends int
	calls           []*call
	left            string // its journal at the kill

	opened  chan struct{} // closed when start has ended
	worked  chan struct{} // closed when the writers have ended; nil: there are none
	isOpen  bool          // the journal is
	wire    *wire
	journal *journal.Journal
	uploads *uploadRegister
	up      *upload.Uploader
	blocks  *cache.Blocks
	names   *tree.Tree
	files   *content.Files
	outbox  *outbox.Outbox
	server  *Server
	face    atomic.Pointer[Server]
	raw     fuse.RawFileSystem
	tasks   sync.WaitGroup
	cancel  context.CancelFunc
	kernel  *kernel
}

func (w *world) live(dir string) *life {
	l := &life{w: w, dir: dir, opened: make(chan struct{}), killMe: make(chan struct{}, 1), killed: make(chan struct{})}
	l.wire = &wire{Store: w.mem, w: w, l: l}
	return l
}

func (l *life) isDead() bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.dead
}

// alive does something beside a process that is alive.
func (l *life) alive(beside *sync.WaitGroup, do func()) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if !l.dead {
		beside.Go(do)
	}
}

func (l *life) begins(c *call) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if !l.dead {
		l.calls = append(l.calls, c)
	}
	return !l.dead
}

func (l *life) ends(c *call) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.calls = slices.DeleteFunc(l.calls, func(o *call) bool { return o == c })
}

func (l *life) execute(c *call) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if i := slices.Index(l.calls, c); i >= 0 && !l.dead {
		l.calls = slices.Delete(l.calls, i, i+1)
		c.carryOut()
	}
}

// appending is called before each entry of the journal.
func (l *life) appending() {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.dead {
		return
	}
	l.appends++
	if l.plan.Entry == l.appends {
		w.killLocked(l, "before an entry")
		l.killMe <- struct{}{}
	}
}

func (l *life) open() error {
	w := l.w
	log := slog.New(traceLog{w})
	j, err := journal.OpenWith(journal.Options{Dir: l.dir, MemoryBytes: w.h.Memory, Log: log, Hooks: journal.Hooks{
		Sync: func(*os.File) error { w.seam(l, "fdatasync"); return nil }, Append: l.appending, SegmentBytes: segmentSize}})
	if err != nil {
		return err
	}
	l.journal, l.isOpen = j, true
	small := ahead.New(1 << 20)
	l.blocks = cache.NewBlocks(cache.BlocksOptions{MemoryBytes: 4 << 20,
		Fetch: func(ctx context.Context, v cache.Version, off, n int64) (io.ReadCloser, error) {
			body, _, err := l.wire.Get(ctx, s3client.GetRequest{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Offset: off, Length: n})
			return body, err
		}})
	l.uploads = &uploadRegister{j: j}
	limits := upload.LimitsOf(w.mem.Profile(), firstPart)
	limits.SinglePut = largestPut
	l.up = upload.New(upload.Options{Store: l.wire, Limits: limits, Register: l.uploads, Log: log})
	o := tree.Options{Store: l.wire, Bucket: "b", TTL: w.h.TTL, Full: true, FileMode: 0o644, DirMode: 0o755, Copy: l.up.Copy, Now: time.Now, Log: log,
		Drain: l.drainNames, Finish: l.finishName,
		Attributes: Attributes(small, func() *content.Files { return l.files }, func(ctx context.Context, e tree.Entry) (s3client.Object, error) {
			return l.wire.Head(ctx, e.Bucket, e.Key)
		})}
	if w.h.Behind {
		o.Later = laterNames{l}
	}
	l.names = tree.New(o)
	l.files = content.New(content.Options{Store: l.wire, Blocks: l.blocks, Journal: j, Uploader: l.up, CheckAfter: w.h.TTL, Log: log, Host: "host",
		Headers: func(ctx context.Context, id content.ID, streaming bool) (s3client.Headers, error) {
			return l.names.UploadHeaders(ctx, id.Bucket, id.Key, streaming)
		},
		Outdated: func(v cache.Version) { l.names.Outdated(v.Bucket, v.Key, v.ETag) },
		Stored: func(id content.ID, o s3client.Object) {
			w.seam(l, "stored "+id.Key)
			l.names.Stored(id.Bucket, id.Key, o)
			w.seam(l, "told "+id.Key)
		},
		Behind: w.h.Behind, MaxLag: w.h.MaxLag, Settle: w.h.Settle, Hold: l.holdName, Guard: l.holdKey, Rewriting: l.rewriting})
	left := l.loadEarlier(log)
	root := newRoot(Options{Tree: l.names, Files: l.files, TTL: w.h.TTL, Timeout: time.Minute, Log: log, Ahead: small, Head: l.wire.Head,
		Behind: w.h.Behind, Forget: l.up.Forget, Kept: j.Sync, Outbox: l.box()})
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	e, err := l.names.Lookup(ctx, "")
	for err != nil && w.h.Faults && !l.isDead() {
		time.Sleep(time.Second)
		e, err = l.names.Lookup(ctx, "")
	}
	if err != nil && !l.isDead() {
		return err
	}
	root.know(e)
	l.server = &Server{face: root.face}
	l.raw = gofuse.NewNodeFS(root, root.face.library(fuse.MountOptions{}, w.h.TTL))
	l.kernel = newKernel(l)
	l.face.Store(l.server)
	l.files.Start(context.Background())
	l.tasks.Go(func() {
		if _, err := l.up.AbortLeft(ctx, left, func(u upload.Left) bool {
			return l.files.Holds(content.ID{Bucket: u.Bucket, Key: u.Key})
		}); err != nil {
			w.note("uploads of an earlier run: %v", err)
		}
	})
	l.tasks.Go(func() {
		n, failed := l.files.Recover(ctx)
		w.note("recovered %d, failed %v", n, failed)
	})
	return nil
}

func (l *life) box() Outbox {
	if l.outbox == nil {
		return nil
	}
	return l.outbox
}

func (l *life) loadEarlier(log *slog.Logger) []upload.Left {
	w := l.w
	left := l.uploads.earlier()
	l.up.Adopt(left)
	var ops []outbox.Op
	for _, n := range l.journal.Notes(outbox.NoteKind) {
		op, err := outbox.Decode(n.Seq, n.Data)
		if err != nil {
			w.find("a change that an earlier run left: %v", err)
			continue
		}
		w.note("  earlier: %s %s etag %s", op.Kind, op.Key, op.ETag)
		ops = append(ops, op)
		l.names.RecoveredChange(string(op.Kind), op.Bucket, op.Key, op.ETag, op.Size, op.Seq, op.Headers, op.Body, op.Time)
	}
	files, err := l.files.Load(context.Background())
	if err != nil {
		w.find("the journal cannot be read: %v", err)
	}
	for _, f := range files {
		w.note("  earlier: file %s of %d bytes over %s", f.ID.Key, f.Size, f.Base.ETag)
		l.names.RecoveredFile(f.ID.Bucket, f.ID.Key, f.Size, f.Time, s3client.Object{Bucket: f.Base.Bucket, Key: f.Base.Key,
			ETag: f.Base.ETag, Size: f.Base.Size}, f.Headers)
	}
	for _, op := range ops {
		if op.Kind == outbox.KindDelete {
			l.files.Replaces(content.ID{Bucket: op.Bucket, Key: op.Key}, op.ETag)
		}
		if op.Kind == outbox.KindHeaders {
			l.files.Rewrites(content.ID{Bucket: op.Bucket, Key: op.Key}, op.ETag, op.Headers)
		}
	}
	if w.h.Behind || len(ops) > 0 {
		l.outbox = outbox.New(outbox.Options{Journal: l.journal, Store: l.wire, Copy: l.up.Copy, Log: log, CheckAfter: w.h.TTL,
			Busy:    func(bucket, key string) bool { return l.files.Holds(content.ID{Bucket: bucket, Key: key}) },
			Settled: l.settled}, ops)
	}
	return left
}

func (l *life) settled(d outbox.Done) {
	if d.Err != nil {
		l.w.note("%s %s is given up: %v", d.Op.Kind, d.Op.Key, d.Err)
	}
	if d.Err == nil && d.Op.Kind == outbox.KindHeaders && d.Object.ETag != d.Op.ETag {
		id := content.ID{Bucket: d.Op.Bucket, Key: d.Op.Key}
		if s := l.face.Load(); s != nil {
			s.Rewritten(id, d.Object)
		} else {
			l.files.Moved(id, id, d.Object)
		}
	}
	l.names.Settled(d.Op.Bucket, d.Op.Key, d.Op.Seq, d.Object, d.Err)
}

func (l *life) holdName(ctx context.Context, id content.ID) (func(), error) {
	l.w.seam(l, "hold "+id.Key)
	if s := l.face.Load(); s != nil {
		return s.Hold(ctx, id)
	}
	return func() {}, nil
}

func (l *life) holdKey(ctx context.Context, id content.ID) (func(bool), error) {
	l.w.seam(l, "guard "+id.Key)
	if l.outbox == nil {
		return func(bool) {}, nil
	}
	return l.outbox.Hold(ctx, id.Bucket, id.Key)
}

func (l *life) rewriting(id content.ID) (etag string, h s3client.Headers, ok bool) {
	if l.outbox == nil {
		return "", h, false
	}
	op, ok := l.outbox.Rewriting(id.Bucket, id.Key)
	return op.ETag, op.Headers, ok
}

func (l *life) drainNames(ctx context.Context, bucket, prefix string) error {
	if l.outbox == nil {
		return nil
	}
	return l.outbox.Drain(ctx, bucket, prefix)
}

func (l *life) finishName(ctx context.Context, bucket, key string) error {
	if l.outbox == nil {
		return nil
	}
	return l.outbox.Finish(ctx, bucket, key)
}

// laterNames is tree's way to the outbox, as the command's is.
type laterNames struct{ l *life }

func (n laterNames) Delete(ctx context.Context, bucket, key, etag string) (uint64, error) {
	if at := n.l.up.MayLand(bucket, key); !at.IsZero() {
		return n.l.outbox.DeleteAfter(ctx, bucket, key, at)
	}
	if n.l.files.Uncertain(content.ID{Bucket: bucket, Key: key}) {
		etag = ""
	}
	return n.l.outbox.Delete(ctx, bucket, key, etag)
}

func (n laterNames) Put(ctx context.Context, bucket, key string, h s3client.Headers, body []byte) (uint64, error) {
	return n.l.outbox.Put(ctx, bucket, key, h, body)
}

func (n laterNames) SetHeaders(ctx context.Context, src s3client.Object, h s3client.Headers) (uint64, error) {
	return n.l.outbox.SetHeaders(ctx, src, h)
}

func (n laterNames) Drain(ctx context.Context, bucket, prefix string) error {
	return n.l.drainNames(ctx, bucket, prefix)
}

// close ends a process as umount does; what it could not store is an error.
func (l *life) close(ctx context.Context) error {
	l.cancel()
	l.closed.Wait()
	errs := []error{l.files.Close(ctx)}
	if l.outbox != nil {
		errs = append(errs, l.outbox.Close(ctx))
	}
	l.tasks.Wait()
	if l.worked != nil {
		<-l.worked // the kernel makes no request any more
	}
	l.names.Close()
	l.server.face.asks.close()
	errs = append(errs, l.up.Close(ctx), l.blocks.Close(ctx), l.journal.Close())
	l.late.Wait()
	l.isOpen = false
	return errors.Join(errs...)
}

// stop lets a dead process's goroutines end.
func (l *life) stop() {
	<-l.opened
	if !l.isOpen {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if l.cancel == nil {
		l.cancel = func() {}
	}
	l.close(ctx) // it is dead: nothing that it says counts
}

// uploadRegister is the command's account of multipart uploads.
type uploadRegister struct {
	j  *journal.Journal
	mu struct {
		sync.Mutex
		open map[uint64]upload.Left
	}
}

const uploadKind = "upload"

func (u *uploadRegister) earlier() (left []upload.Left) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mu.open = make(map[uint64]upload.Left)
	for _, n := range u.j.Notes(uploadKind) {
		var it upload.Left
		if err := json.Unmarshal(n.Data, &it); err != nil {
			panic(err)
		}
		it.Token = n.Seq
		u.mu.open[n.Seq] = it
		left = append(left, it)
	}
	return left
}

func (u *uploadRegister) Begins(bucket, key string) (uint64, error) {
	it := upload.Left{Bucket: bucket, Key: key, Begun: time.Now()}
	data, err := json.Marshal(it)
	if err != nil {
		return 0, err
	}
	seq, err := u.j.AddNote(uploadKind, data)
	if err != nil {
		return 0, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mu.open[seq] = it
	return seq, nil
}

func (u *uploadRegister) Has(token uint64, id string) error {
	return u.amend(token, func(it *upload.Left) { it.ID = id })
}

func (u *uploadRegister) Completes(token uint64) error {
	return u.amend(token, func(it *upload.Left) { it.Completing = true })
}

func (u *uploadRegister) amend(token uint64, change func(*upload.Left)) error {
	u.mu.Lock()
	it, ok := u.mu.open[token]
	if ok {
		change(&it)
		u.mu.open[token] = it
	}
	u.mu.Unlock()
	if !ok {
		return nil
	}
	data, err := json.Marshal(it)
	if err != nil {
		return err
	}
	return u.j.ReplaceNote(token, data)
}

func (u *uploadRegister) Ends(token uint64) error {
	u.mu.Lock()
	_, ok := u.mu.open[token]
	delete(u.mu.open, token)
	u.mu.Unlock()
	if !ok {
		return nil
	}
	return u.j.DropNote(token)
}

// traceLog writes what the rooms log into the history's trace.
type traceLog struct{ w *world }

func (t traceLog) Enabled(context.Context, slog.Level) bool { return true }
func (t traceLog) WithAttrs([]slog.Attr) slog.Handler       { return t }
func (t traceLog) WithGroup(string) slog.Handler            { return t }
func (t traceLog) Handle(_ context.Context, r slog.Record) error {
	var s strings.Builder
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&s, " %s=%v", a.Key, a.Value); return true })
	t.w.note("  log %s: %s%s", r.Level, r.Message, s.String())
	return nil
}

// kernel makes the requests that the kernel would make for a program's calls, with its locks.
type kernel struct {
	l     *life
	nodes map[string]uint64
	locks map[string]chan struct{}
}

func newKernel(l *life) *kernel {
	k := &kernel{l: l, nodes: make(map[string]uint64), locks: make(map[string]chan struct{})}
	for _, d := range dirs {
		k.locks[d] = make(chan struct{}, 1)
	}
	return k
}

// enter finds the directories; it is called before there are writers.
func (k *kernel) enter() syscall.Errno {
	for _, d := range dirs {
		var out fuse.EntryOut
		h := header(1)
		if st := k.l.raw.Lookup(nil, &h, d, &out); st != fuse.OK {
			return syscall.Errno(st)
		}
		k.nodes[d] = out.NodeId
	}
	return 0
}

func (k *kernel) lock(ds ...string) func() {
	slices.Sort(ds)
	ds = slices.Compact(ds)
	for _, d := range ds {
		k.locks[d] <- struct{}{}
	}
	return func() {
		for _, d := range ds {
			<-k.locks[d]
		}
	}
}

func splitName(name string) (dir, base string) {
	dir, base, _ = strings.Cut(name, "/")
	return dir, base
}

func (k *kernel) lookup(name string) (fuse.EntryOut, syscall.Errno) {
	dir, base := splitName(name)
	var out fuse.EntryOut
	h := header(k.nodes[dir])
	st := k.l.raw.Lookup(nil, &h, base, &out)
	if st == fuse.OK && out.NodeId == 0 {
		st = fuse.ENOENT
	}
	return out, syscall.Errno(st)
}

// open opens a file, making it where it is not there and flags say so. A stale answer is asked for again once, as the kernel does.
func (k *kernel) open(name string, flags uint32) (f open, created bool, errno syscall.Errno) {
	dir, base := splitName(name)
	for try := 0; ; try++ {
		if flags&syscall.O_CREAT != 0 {
			unlock := k.lock(dir)
			e, errno := k.lookup(name)
			if errno == syscall.ENOENT {
				var out fuse.CreateOut
				st := k.l.raw.Create(nil, &fuse.CreateIn{InHeader: header(k.nodes[dir]), Flags: flags, Mode: syscall.S_IFREG | 0o644}, base, &out)
				unlock()
				return open{out.NodeId, out.Fh}, true, syscall.Errno(st)
			}
			unlock()
			if errno != 0 {
				return open{}, false, errno
			}
			f.node = e.NodeId
		} else {
			e, errno := k.lookup(name)
			if errno != 0 {
				return open{}, false, errno
			}
			f.node = e.NodeId
		}
		var out fuse.OpenOut
		st := k.l.raw.Open(nil, &fuse.OpenIn{InHeader: header(f.node), Flags: flags &^ syscall.O_CREAT}, &out)
		if syscall.Errno(st) == syscall.ESTALE && try == 0 {
			continue
		}
		return open{f.node, out.Fh}, false, syscall.Errno(st)
	}
}

func (k *kernel) write(f open, off int, p []byte) syscall.Errno {
	n, st := k.l.raw.Write(nil, &fuse.WriteIn{InHeader: header(f.node), Fh: f.fh, Offset: uint64(off), Size: uint32(len(p))}, p)
	if st == fuse.OK && int(n) != len(p) {
		return syscall.EIO
	}
	return syscall.Errno(st)
}

func (k *kernel) read(f open, size int) ([]byte, syscall.Errno) {
	var all []byte
	for {
		buf := make([]byte, 32<<10)
		res, st := k.l.raw.Read(nil, &fuse.ReadIn{InHeader: header(f.node), Fh: f.fh, Offset: uint64(len(all)), Size: uint32(len(buf))}, buf)
		if st != fuse.OK {
			return nil, syscall.Errno(st)
		}
		p, st := res.Bytes(buf)
		if st != fuse.OK {
			return nil, syscall.Errno(st)
		}
		all = append(all, p...)
		n := len(p)
		res.Done()
		if n < len(buf) || len(all) > size+1<<20 {
			return all, 0
		}
	}
}

func (k *kernel) fsync(f open) syscall.Errno {
	return syscall.Errno(k.l.raw.Fsync(nil, &fuse.FsyncIn{InHeader: header(f.node), Fh: f.fh}))
}

// close is close(2). The kernel tells of the end of the description later, and waits for no answer.
func (k *kernel) close(f open) syscall.Errno {
	st := k.l.raw.Flush(nil, &fuse.FlushIn{InHeader: header(f.node), Fh: f.fh})
	k.release(f)
	return syscall.Errno(st)
}

func (k *kernel) release(f open) {
	n := k.l.w.nthOf("release")
	d := time.Duration(k.l.w.chance("release ", n).IntN(3000)) * time.Microsecond
	k.l.alive(&k.l.closed, func() {
		if d > 1500*time.Microsecond {
			time.Sleep(d - 1500*time.Microsecond)
		}
		k.l.raw.Release(nil, &fuse.ReleaseIn{InHeader: header(f.node), Fh: f.fh})
	})
}

func (k *kernel) setattr(node uint64, fh *uint64, set func(*fuse.SetAttrIn)) syscall.Errno {
	in := &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: header(node)}}
	set(in)
	if fh != nil {
		in.Valid |= fuse.FATTR_FH
		in.Fh = *fh
	}
	return syscall.Errno(k.l.raw.SetAttr(nil, in, &fuse.AttrOut{}))
}

func (k *kernel) unlink(name string) syscall.Errno {
	dir, base := splitName(name)
	defer k.lock(dir)()
	if _, errno := k.lookup(name); errno != 0 {
		return errno
	}
	h := header(k.nodes[dir])
	return syscall.Errno(k.l.raw.Unlink(nil, &h, base))
}

func (k *kernel) rename(from, to string) syscall.Errno {
	fd, fb := splitName(from)
	td, tb := splitName(to)
	defer k.lock(fd, td)()
	if _, errno := k.lookup(from); errno != 0 {
		return errno
	}
	if _, errno := k.lookup(to); errno != 0 && errno != syscall.ENOENT {
		return errno
	}
	return syscall.Errno(k.l.raw.Rename(nil, &fuse.RenameIn{InHeader: header(k.nodes[fd]), Newdir: k.nodes[td]}, fb, tb))
}
