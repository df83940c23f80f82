package fs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/cache"
	"pailfs/fs/content"
	"pailfs/fs/journal"
	"pailfs/fs/outbox"
	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// rig is the face over real rooms and a store in memory. The test is the kernel: it calls the library's bridge as the
// kernel would.
type rig struct {
	t      *testing.T
	mem    *s3mem.Store
	fault  *s3fault.Store
	files  *content.Files
	tree   *tree.Tree
	outbox *outbox.Outbox
	server *Server
	raw    fuse.RawFileSystem
	kept   atomic.Int64          // syncs of the journal that the face has asked for
	disk   atomic.Pointer[error] // the journal's, when it writes
}

// never is longer than any test: what rests so long is stored only when somebody asks for it.
const never = 24 * time.Hour

// newRig is a mount of bucket b. behind is journal durability; then what has rested for settle is stored in the background.
func newRig(t *testing.T, behind bool, settle time.Duration) *rig {
	r := &rig{t: t, mem: s3mem.New(s3mem.WithBuckets("b"))}
	r.fault = s3fault.New(r.mem)
	log := slog.New(slog.DiscardHandler)
	blocks := cache.NewBlocks(cache.BlocksOptions{MemoryBytes: 64 << 20,
		Fetch: func(ctx context.Context, v cache.Version, off, n int64) (io.ReadCloser, error) {
			body, _, err := r.fault.Get(ctx, s3client.GetRequest{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Offset: off, Length: n})
			return body, err
		}})
	j, err := journal.OpenWith(journal.Options{Dir: t.TempDir(), Log: log, Hooks: journal.Hooks{Refuse: func() error {
		if err := r.disk.Load(); err != nil {
			return *err
		}
		return nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	up := upload.New(upload.Options{Store: r.fault, Limits: upload.LimitsOf(r.fault.Profile(), 0), Log: log})
	box := outbox.New(outbox.Options{Journal: j, Store: r.fault, Copy: up.Copy, CheckAfter: time.Minute, Log: log,
		Busy:  func(bucket, key string) bool { return r.files.Holds(content.ID{Bucket: bucket, Key: key}) },
		Delay: settle, MaxDelay: settle, Settled: func(d outbox.Done) { r.tree.Settled(d.Op.Bucket, d.Op.Key, d.Op.Seq, d.Object, d.Err) }}, nil)
	o := tree.Options{Store: r.fault, Bucket: "b", Full: true, FileMode: 0o644, DirMode: 0o755, Copy: up.Copy, Now: time.Now, Log: log}
	guard := func(context.Context, content.ID) (func(bool), error) { return func(bool) {}, nil }
	if behind {
		o.Later = box
		guard = func(ctx context.Context, id content.ID) (func(bool), error) { return box.Hold(ctx, id.Bucket, id.Key) }
	}
	r.tree = tree.New(o)
	r.files = content.New(content.Options{Store: r.fault, Blocks: blocks, Journal: j, Uploader: up, CheckAfter: time.Minute, Log: log,
		Headers: func(ctx context.Context, id content.ID, streaming bool) (s3client.Headers, error) {
			return r.tree.UploadHeaders(ctx, id.Bucket, id.Key, streaming)
		},
		Stored: func(id content.ID, o s3client.Object) { r.tree.Stored(id.Bucket, id.Key, o) },
		Lost: func(id content.ID) {
			if p, ok := r.tree.PathOf(id.Bucket, id.Key); ok {
				r.tree.Discard(p)
			}
		},
		Behind: behind, Settle: settle, MaxLag: never, Guard: guard,
		Hold: func(ctx context.Context, id content.ID) (func(), error) { return r.server.Hold(ctx, id) }})
	root := newRoot(Options{Tree: r.tree, Files: r.files, TTL: time.Minute, Timeout: time.Minute, Log: log, Outbox: box, Behind: behind,
		Kept: func() error { r.kept.Add(1); return j.Sync() }})
	root.know(tree.Entry{Mode: syscall.S_IFDIR | 0o755, Full: true})
	r.server = &Server{face: root.face}
	r.outbox = box
	r.raw = gofuse.NewNodeFS(root, root.face.library(fuse.MountOptions{}, time.Minute))
	r.files.Start(context.Background())
	t.Cleanup(func() {
		r.fault.Clear()
		ctx := context.Background()
		if err := errors.Join(r.files.Close(ctx), box.Close(ctx)); err != nil {
			t.Error(err)
		}
		r.tree.Close()
		root.face.asks.close()
		if err := errors.Join(up.Close(ctx), blocks.Close(ctx), j.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// open is an open file: the inode's number and the handle's.
type open struct{ node, fh uint64 }

func header(node uint64) fuse.InHeader {
	return fuse.InHeader{NodeId: node, Caller: fuse.Caller{Owner: fuse.Owner{Uid: 1, Gid: 1}}}
}

func (r *rig) ok(what string, status fuse.Status) {
	r.t.Helper()
	if status != fuse.OK {
		r.t.Fatalf("%s: %v", what, status)
	}
}

func (r *rig) create(name string) open {
	r.t.Helper()
	var out fuse.CreateOut
	r.ok("create "+name, r.raw.Create(nil, &fuse.CreateIn{InHeader: header(1), Flags: syscall.O_RDWR, Mode: 0o644}, name, &out))
	return open{out.NodeId, out.Fh}
}

func (r *rig) lookup(name string) fuse.EntryOut {
	r.t.Helper()
	var out fuse.EntryOut
	h := header(1)
	r.ok("lookup "+name, r.raw.Lookup(nil, &h, name, &out))
	return out
}

func (r *rig) open(name string, flags uint32) (open, fuse.Status) {
	r.t.Helper()
	var out fuse.OpenOut
	e := r.lookup(name)
	status := r.raw.Open(nil, &fuse.OpenIn{InHeader: header(e.NodeId), Flags: flags}, &out)
	return open{e.NodeId, out.Fh}, status
}

func (r *rig) write(f open, off int, p string) {
	r.t.Helper()
	n, status := r.raw.Write(nil, &fuse.WriteIn{InHeader: header(f.node), Fh: f.fh, Offset: uint64(off)}, []byte(p))
	r.ok("write", status)
	if int(n) != len(p) {
		r.t.Fatalf("wrote %d of %d bytes", n, len(p))
	}
}

// close is close(2): flush and release.
func (r *rig) close(f open) fuse.Status {
	status := r.raw.Flush(nil, &fuse.FlushIn{InHeader: header(f.node), Fh: f.fh})
	r.raw.Release(nil, &fuse.ReleaseIn{InHeader: header(f.node), Fh: f.fh})
	return status
}

func (r *rig) file(name, content string) {
	r.t.Helper()
	f := r.create(name)
	r.write(f, 0, content)
	r.ok("close "+name, r.close(f))
}

func (r *rig) unlink(name string) {
	r.t.Helper()
	h := header(1)
	r.ok("unlink "+name, r.raw.Unlink(nil, &h, name))
}

func (r *rig) rename(from, to string) {
	r.t.Helper()
	r.ok("rename "+from, r.raw.Rename(nil, &fuse.RenameIn{InHeader: header(1), Newdir: 1}, from, to))
}

// stored is an object's content in the store; false when there is none.
func (r *rig) stored(key string) (string, bool) {
	p, ok := r.mem.Bytes("b", key)
	return string(p), ok
}

// calls are the calls of the store that an action makes, by method.
func (r *rig) calls(do func()) map[string]int64 {
	before := r.fault.Calls()
	do()
	after := r.fault.Calls()
	for name, n := range after {
		if after[name] -= before[name]; n == before[name] {
			delete(after, name)
		}
	}
	return after
}

// missing looks a name up that is not there, so that creating it costs no request.
func (r *rig) missing(name string) {
	r.t.Helper()
	h := header(1)
	var out fuse.EntryOut
	if status := r.raw.Lookup(nil, &h, name, &out); status != fuse.ENOENT && (status != fuse.OK || out.NodeId != 0) {
		r.t.Fatalf("lookup %s: %v, inode %d", name, status, out.NodeId)
	}
}

func (r *rig) chmod(node uint64, mode uint32) {
	r.t.Helper()
	in := &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: header(node), Valid: fuse.FATTR_MODE, Mode: mode}}
	r.ok("chmod", r.raw.SetAttr(nil, in, &fuse.AttrOut{}))
}

// drain stores everything.
func (r *rig) drain() {
	r.t.Helper()
	if err := r.server.Flush(context.Background(), "", nil); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) read(f open, n int) string {
	r.t.Helper()
	buf := make([]byte, n)
	res, status := r.raw.Read(nil, &fuse.ReadIn{InHeader: header(f.node), Fh: f.fh, Size: uint32(n)}, buf)
	r.ok("read", status)
	p, status := res.Bytes(buf)
	r.ok("read", status)
	got := string(p)
	res.Done()
	return got
}

// copyRange is copy_file_range(2) as the file system sees it; an error is a negative number.
func (r *rig) copyRange(from open, fromOff int, to open, toOff, n int) int {
	in := &fuse.CopyFileRangeIn{InHeader: header(from.node), FhIn: from.fh, OffIn: uint64(fromOff), NodeIdOut: to.node, FhOut: to.fh,
		OffOut: uint64(toOff), Len: uint64(n)}
	copied, status := r.raw.CopyFileRange(nil, in)
	if status != fuse.OK {
		return -int(status)
	}
	return int(copied)
}
