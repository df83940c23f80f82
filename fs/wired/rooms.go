package wired

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"pailfs/cache"
	"pailfs/fs"
	"pailfs/fs/ahead"
	"pailfs/fs/content"
	"pailfs/fs/journal"
	"pailfs/fs/late"
	"pailfs/fs/opid"
	"pailfs/fs/outbox"
	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// Rooms are the rooms of one mount. All but Server are there after Open and stay.
type Rooms struct {
	Journal  *journal.Journal
	Register *Uploads
	Renames  *Renames
	Uploader *upload.Uploader
	Blocks   *cache.Blocks
	Tree     *tree.Tree
	Files    *content.Files
	Outbox   *outbox.Outbox // nil: every change of a name is in the store when its call returns
	Server   *fs.Server     // after Mount
	Earlier  Earlier        // what earlier runs left

	o       Options
	changes *late.Store // Store, for who makes and deletes objects
	small   *ahead.Dirs
	face    atomic.Pointer[fs.Server]     // Server, for what runs in the background before it is there
	left    []upload.Left                 // uploads that earlier runs did not end
	closers []func(context.Context) error // in the order of opening; closed in reverse
}

// Open builds the rooms and takes over what earlier runs left.
func Open(ctx context.Context, o Options) *Rooms {
	r := &Rooms{Journal: o.Journal, o: o, small: ahead.New(o.Memory.Ahead),
		Register: newUploads(o.Journal, o.StoreID), Renames: newRenames(o.Journal, o.Log)}
	r.changes = late.New(late.Options{Store: o.Store, Log: o.Log, Journal: o.Journal, StoreID: o.StoreID})
	r.Blocks = cache.NewBlocks(cache.BlocksOptions{MemoryBytes: o.Memory.Blocks, Disk: o.Disk, Fetch: r.fetch, Carry: opid.Carry})
	o.Journal.BorrowFrom(r.Blocks.Lend, r.Blocks.Lendable())
	r.Uploader = upload.New(upload.Options{Store: r.changes, Limits: o.Limits, Verify: o.Verify, Register: r.Register, Log: o.Log,
		Settled: r.changes.Settled})
	r.Tree = tree.New(r.treeOptions())
	r.Files = content.New(r.contentOptions())
	r.closers = append(r.closers, r.changes.Close, r.Blocks.Close, r.Uploader.Close, func(context.Context) error { r.Tree.Close(); return nil })
	r.loadEarlier(ctx)
	return r
}

func (r *Rooms) treeOptions() tree.Options {
	o := &r.o
	return tree.Options{
		Store: r.changes, Archive: o.Archive, Bucket: o.Bucket, Prefix: o.Prefix, BucketPattern: o.BucketPattern,
		TTL: o.namesTTL(), MaxEntries: o.Memory.Names, Full: o.Full, ReadOnly: o.ReadOnly,
		UID: o.UID, GID: o.GID, FileMode: o.FileMode, DirMode: o.DirMode,
		Copy: r.Uploader.Copy, Put: r.Uploader.Put, Later: r.later(), Drain: r.drainNames, Finish: r.finishName, Intents: r.Renames, Now: time.Now, Log: o.Log,
		Attributes: fs.Attributes(r.small, func() *content.Files { return r.Files }, func(ctx context.Context, e tree.Entry) (s3client.Object, error) {
			return o.Store.Head(ctx, e.Bucket, e.Key)
		}),
	}
}

func (r *Rooms) contentOptions() content.Options {
	o := &r.o
	return content.Options{
		Store: r.changes, Blocks: r.Blocks, Journal: o.Journal, Uploader: r.Uploader, Log: o.Log, Host: o.Host,
		Headers: r.uploadHeaders, Outdated: r.outdated, Lost: r.lost, Stored: r.stored, Hold: r.holdName, Guard: r.holdKey, Rewriting: r.rewriting,
		CheckAfter: o.TTL, Readahead: o.Memory.Readahead, ReadaheadTotal: o.Memory.ReadaheadTotal,
		Behind: o.Behind, MaxLag: o.MaxLag, Settle: o.Settle,
	}
}

// fetch reads a range of a version for the cache: the ETag pins it. The answer has the attributes as well.
func (r *Rooms) fetch(ctx context.Context, v cache.Version, off, length int64) (io.ReadCloser, error) {
	body, o, err := r.o.Store.Get(ctx, s3client.GetRequest{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Offset: off, Length: length})
	if err == nil && o.Headers != nil {
		r.Tree.Learn(v.Bucket, v.Key, o)
	}
	return body, err
}

// Mount lets the kernel in: f says where and how, what the rooms are to the face is filled in here. how is fs.Mount, but in
// tests that are the kernel themselves.
func (r *Rooms) Mount(ctx context.Context, f fs.Options, how func(context.Context, fs.Options) (*fs.Server, error)) error {
	o := &r.o
	f.Tree, f.Files, f.Ahead, f.Forget, f.Kept = r.Tree, r.Files, r.small, r.Uploader.Forget, r.Journal.Sync
	f.ReadOnly, f.Behind, f.TTL, f.Log = o.ReadOnly, o.Behind, o.TTL, o.Log
	if o.Full {
		f.Head = o.Store.Head
	}
	if r.Outbox != nil {
		f.Outbox = r.Outbox
	}
	server, err := how(ctx, f)
	if err != nil {
		return err
	}
	r.Server = server
	r.face.Store(server)
	return nil
}

// Start begins what nobody waits for: files are stored, uploads that earlier runs left are ended.
func (r *Rooms) Start(ctx context.Context) {
	if r.o.ReadOnly {
		return
	}
	ctx = context.WithoutCancel(ctx)
	r.Files.Start(ctx)
	r.beside(ctx, func(ctx context.Context) { r.Renames.serve(ctx, r.completeRename) })
	r.abortLeft(ctx)
	r.abortOrphans(ctx)
}

func (r *Rooms) completeRename(ctx context.Context, token uint64, in tree.Intent) error {
	return r.Server.CompleteRename(ctx, token, in)
}

// Recover stores what earlier runs kept, and completes the renames that they had begun.
func (r *Rooms) Recover(ctx context.Context) (stored int, failed []error) {
	if r.o.ReadOnly {
		return 0, nil
	}
	var renames []error
	var renaming sync.WaitGroup
	renaming.Go(func() { renames = r.Renames.complete(ctx, r.completeRename) })
	stored, failed = r.Files.Recover(ctx)
	renaming.Wait()
	return stored, append(failed, renames...)
}

// Close closes in reverse what was opened and begun. The kernel is gone, and Files closed, if there was a Mount.
func (r *Rooms) Close(ctx context.Context) error {
	var errs []error
	for i := len(r.closers) - 1; i >= 0; i-- {
		errs = append(errs, r.closers[i](ctx))
	}
	r.closers = nil
	return errors.Join(errs...)
}

// beside runs something in the background until Close.
func (r *Rooms) beside(ctx context.Context, do func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { do(ctx) })
	r.closers = append(r.closers, func(context.Context) error { cancel(); running.Wait(); return nil })
}
