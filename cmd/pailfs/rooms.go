package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/cache"
	pfs "pailfs/fs"
	"pailfs/fs/ahead"
	"pailfs/fs/content"
	"pailfs/fs/journal"
	"pailfs/fs/outbox"
	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// mounted is a mount that answers, with its rooms.
type mounted struct {
	plan     *mountPlan
	log      *slog.Logger
	client   *s3client.Client
	journal  *journal.Journal
	uploads  *uploadNotes
	renames  *renameNotes
	uploader *upload.Uploader
	files    *content.Files
	disk     *cache.Disk // nil: no disk cache
	blocks   *cache.Blocks
	archive  *cache.Archive // nil: what HEADs say is not kept for the next mount
	names    *tree.Tree
	outbox   *outbox.Outbox // nil: every change of a name is in the store when its call returns
	server   *pfs.Server
	face     atomic.Pointer[pfs.Server] // the same, for what runs in the background before it is there
	runtime  *runtimeFile
	earlier  earlierRun
	lost     []unsavedFile                 // what earlier runs left and nobody can read
	closers  []func(context.Context) error // in the order of opening; closed in reverse
}

// open takes the mount point, proves that the store answers, builds the rooms and mounts.
func (p *mountPlan) open(ctx context.Context, log *slog.Logger) (m *mounted, err error) {
	m = &mounted{plan: p, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.closeRooms(context.WithoutCancel(ctx)), m.discardRuntime())
			m = nil
		}
	}()
	m.runtime, err = openRuntime(runDir(), runtimeState{PID: os.Getpid(), Mountpoint: p.mountpoint, Source: p.source(),
		StateDir: p.StateDir, LogFile: p.LogFile, Started: time.Now(), Options: p.written()})
	if err != nil {
		return m, err
	}
	if err := probe(ctx, p.store, p.bucket, p.prefix); err != nil {
		return m, err
	}
	small := ahead.New(budgetOf(p.Memory).ahead)
	if err := m.openRooms(ctx, small); err != nil {
		return m, err
	}
	left := m.loadEarlier(ctx)
	if err := m.mount(ctx, small); err != nil {
		return m, err
	}
	if !p.ReadOnly {
		m.files.Start(context.WithoutCancel(ctx))
		m.abortLeft(context.WithoutCancel(ctx), left)
		m.abortOrphans(context.WithoutCancel(ctx))
	}
	return m, nil
}

func (m *mounted) mount(ctx context.Context, small *ahead.Dirs) (err error) {
	p := m.plan
	whole, off := m.passthrough()
	head := m.client.Head
	if !p.FullAttributes {
		head = nil
	}
	var box pfs.Outbox
	if m.outbox != nil {
		box = m.outbox
	}
	m.server, err = pfs.Mount(ctx, pfs.Options{
		Tree: m.names, Files: m.files, Mountpoint: p.mountpoint, Source: p.source(),
		ReadOnly: p.ReadOnly, AllowOther: p.AllowOther, XAttr: p.XAttr, MountOptions: p.MountWords,
		Ahead: small, Head: head, Whole: whole, PassthroughOff: off, Outbox: box, Behind: p.behind(), Forget: m.uploader.Forget, Kept: m.journal.Sync,
		TTL: p.MetadataTTL, Timeout: p.Timeout, Log: m.log, Debug: p.LogLevel <= slog.LevelDebug,
	})
	m.face.Store(m.server)
	return err
}

// openRooms builds everything between the store and the face: client, cache, journal, upload, tree, content.
func (m *mounted) openRooms(ctx context.Context, small *ahead.Dirs) error {
	p, share := m.plan, budgetOf(m.plan.Memory)
	client, err := s3client.Open(p.store)
	if err != nil {
		return err
	}
	m.client = client
	m.closers = append(m.closers, func(context.Context) error { return client.Close() })
	kept, err := openJournal(ctx, journal.Options{Dir: journalDir(p.StateDir, p.mountpoint),
		MemoryBytes: share.spools, Log: m.log})
	if err != nil {
		return err
	}
	m.journal = kept
	if err := p.bindState(kept); err != nil {
		return errors.Join(err, kept.Close())
	}
	m.closers = append(m.closers, func(context.Context) error { return kept.Close() })
	if err := m.openDisk(); err != nil {
		return err
	}
	m.blocks = cache.NewBlocks(cache.BlocksOptions{MemoryBytes: share.blocks, Disk: m.disk, Fetch: m.fetch})
	m.closers = append(m.closers, m.blocks.Close)
	verify, err := upload.ParseVerify(p.Verify)
	if err != nil {
		return err
	}
	m.uploads = newUploadNotes(kept, p.storeID())
	m.renames = newRenameNotes(kept, m.log)
	uploader := upload.New(upload.Options{Store: client, Limits: upload.LimitsOf(client.Profile(), p.PartSize), Verify: verify,
		Register: m.uploads, Log: m.log})
	m.uploader = uploader
	m.closers = append(m.closers, uploader.Close)
	m.openArchive()
	m.names = tree.New(tree.Options{
		Archive: m.archive,
		Store:   client, Bucket: p.bucket, Prefix: p.prefix,
		TTL: namesTTL(p.MetadataTTL), Full: p.FullAttributes, MaxEntries: share.namesWith(p.FullAttributes),
		UID: p.UID, GID: p.GID, FileMode: p.FileMode, DirMode: p.DirMode,
		Copy: uploader.Copy, Now: time.Now, Log: m.log, ReadOnly: p.ReadOnly, Later: m.later(), Drain: m.drainNames, Finish: m.finishName, Intents: m.renames, BucketPattern: p.BucketPattern,
		Attributes: pfs.Attributes(small, func() *content.Files { return m.files }, func(ctx context.Context, e tree.Entry) (s3client.Object, error) {
			return client.Head(ctx, e.Bucket, e.Key)
		}),
	})
	m.closers = append(m.closers, func(context.Context) error { m.names.Close(); return nil })
	m.files = content.New(m.contentOptions(share))
	return nil
}

func (m *mounted) contentOptions(share budget) content.Options {
	p := m.plan
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return content.Options{
		Store: m.client, Blocks: m.blocks, Journal: m.journal, Uploader: m.uploader,
		Headers: func(ctx context.Context, id content.ID, streaming bool) (s3client.Headers, error) {
			return m.names.UploadHeaders(ctx, id.Bucket, id.Key, streaming)
		},
		Outdated:   func(v cache.Version) { m.names.Outdated(v.Bucket, v.Key, v.ETag) },
		Stored:     func(id content.ID, o s3client.Object) { m.names.Stored(id.Bucket, id.Key, o) },
		CheckAfter: p.MetadataTTL, Log: m.log, Host: host,
		Readahead: min(mostReadahead, share.readahead), ReadaheadTotal: share.readahead,
		Behind: p.behind(), MaxLag: p.MaxLag, Hold: m.holdName, Guard: m.holdKey, Rewriting: m.rewriting,
	}
}

// openDisk opens the disk cache where one is wanted: a directory of this mount point's own.
func (m *mounted) openDisk() error {
	p := m.plan
	if p.CacheSize <= 0 {
		return nil
	}
	disk, err := cache.OpenDisk(cache.DiskOptions{Dir: p.cachePlace(), SizeBytes: p.CacheSize, MinFreeBytes: p.CacheMinFree,
		Store: storeName(p.store.Region, p.store.Endpoint), Log: m.log})
	if err != nil {
		return fmt.Errorf("open the disk cache: %w", err)
	}
	m.disk = disk
	m.closers = append(m.closers, disk.Close)
	return nil
}

// passthrough gives the files of whole objects in the disk cache, or why the kernel cannot read them by itself.
func (m *mounted) passthrough() (whole func(cache.Version) (pfs.Backing, bool), off string) {
	switch {
	case m.disk == nil:
		return nil, "off: no disk cache"
	case m.plan.Passthrough == "off":
		return nil, "off: by option"
	case os.Geteuid() != 0:
		return nil, "off: it needs root"
	}
	if off := stacked(m.plan.cachePlace()); off != "" {
		return nil, off
	}
	return func(v cache.Version) (pfs.Backing, bool) {
		w, ok := m.disk.Whole(v)
		return w, ok
	}, ""
}

// stacked says why the kernel would refuse files of a directory: it reads only from file systems that stand by themselves,
// and the first refusal turns passthrough off for the whole mount.
func stacked(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "off: " + err.Error()
	}
	switch st.Type {
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "off: the disk cache lies on overlayfs"
	case unix.FUSE_SUPER_MAGIC:
		return "off: the disk cache lies on a FUSE file system"
	}
	return ""
}

// fetch reads a range of a version for the cache: the ETag pins it. The answer has the attributes as well.
func (m *mounted) fetch(ctx context.Context, v cache.Version, off, length int64) (io.ReadCloser, error) {
	body, o, err := m.client.Get(ctx, s3client.GetRequest{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Offset: off, Length: length})
	if err == nil && o.Headers != nil {
		m.names.Learn(v.Bucket, v.Key, o)
	}
	return body, err
}

// namesTTL is --metadata-ttl as tree takes it: there 0 means its default, and a negative one that nothing is trusted.
func namesTTL(ttl time.Duration) time.Duration {
	if ttl == 0 {
		return -1
	}
	return ttl
}

// recover stores what earlier runs kept, and completes the renames that they had begun.
func (m *mounted) recover(ctx context.Context) (stored int, failed []error) {
	if m.plan.ReadOnly {
		return 0, nil
	}
	var renames []error
	var renaming sync.WaitGroup
	renaming.Go(func() { renames = m.renames.complete(ctx, m.server.CompleteRename) })
	stored, failed = m.files.Recover(ctx)
	renaming.Wait()
	return stored, append(failed, renames...)
}

// closeRooms closes in reverse what was opened.
func (m *mounted) closeRooms(ctx context.Context) error {
	var errs []error
	for i := len(m.closers) - 1; i >= 0; i-- {
		errs = append(errs, m.closers[i](ctx))
	}
	m.closers = nil
	return errors.Join(errs...)
}

func (m *mounted) discardRuntime() error {
	if m.runtime == nil {
		return nil
	}
	return m.runtime.Discard()
}
