package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/cache"
	pfs "pailfs/fs"
	"pailfs/fs/journal"
	"pailfs/fs/lend"
	"pailfs/fs/upload"
	"pailfs/fs/wired"
	"pailfs/s3client"
)

// mounted is a mount that answers, with its rooms.
type mounted struct {
	*wired.Rooms
	plan    *mountPlan
	log     *slog.Logger
	client  *s3client.Client
	disk    *cache.Disk    // nil: no disk cache
	archive *cache.Archive // nil: what HEADs say is not kept for the next mount
	runtime *runtimeFile
	loan    *lend.Loan // nil: the mount is no mount-helper's
	device  string     // of the mount in this process's mount table, "" where it is not there
	watched *observer  // who scrapes and probes it
	probe   *storeProbe
	pulse   pulse
	ending  atomic.Bool // unmounted, or about to be
	stays   atomic.Bool // its mount point is gone, and it goes on
	tuning  tuning
	closers []func(context.Context) error // of what the rooms are built of, in the order of opening; closed in reverse
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
		StateDir: p.StateDir, LogFile: p.LogFile, Started: time.Now(), Options: p.written(), Lent: p.lent()})
	if err != nil {
		return m, err
	}
	empty, err := probe(ctx, p.store, p.bucket, p.prefix)
	if err != nil {
		return m, err
	}
	if empty && p.prefix != "" {
		log.Info("nothing is below the prefix yet", "bucket", p.bucket, "prefix", p.prefix)
		p.notes = append(p.notes, fmt.Sprintf("nothing is below %s/%s yet: a directory of that name comes with its first file", shown(p.bucket), shown(p.prefix)))
	}
	if err := m.openRooms(ctx); err != nil {
		return m, err
	}
	if err := context.Cause(ctx); err != nil { // perhaps not all of what an earlier run left was read
		return m, err
	}
	sayEarlier(m.log, m.Earlier)
	if err := m.mount(ctx); err != nil {
		return m, err
	}
	m.device = deviceOf(p.mountpoint)
	m.noteInUtab()
	m.Start(ctx)
	return m, nil
}

func (m *mounted) mount(ctx context.Context) error {
	p := m.plan
	whole, off := m.passthrough()
	o := pfs.Options{
		Mountpoint: p.mountpoint, Source: p.source(), AllowOther: p.AllowOther, XAttr: p.XAttr, MountOptions: p.MountWords,
		Whole: whole, PassthroughOff: off, Timeout: p.Timeout, MaxInodes: budgetOf(p.Memory).inodes,
	}
	if err := m.borrow(ctx, &o); err != nil {
		return err
	}
	if err := m.Mount(ctx, o, pfs.Mount); err != nil {
		return err
	}
	m.tellLender()
	return nil
}

// openRooms builds everything between the store and the face: client, journal, caches, and the rooms themselves.
func (m *mounted) openRooms(ctx context.Context) error {
	p := m.plan
	cfg := p.store
	cfg.Trace = traceTo(m.log)
	cfg.Credentials.Log = m.log
	client, err := s3client.Open(cfg)
	if err != nil {
		return err
	}
	m.client = client
	m.probe = m.newStoreProbe()
	m.closers = append(m.closers, func(context.Context) error { return client.Close() })
	kept, err := wired.OpenJournal(ctx, journal.Options{Dir: journalDir(p.StateDir, p.mountpoint),
		MemoryBytes: budgetOf(p.Memory).spools, Log: m.log})
	if err != nil {
		return err
	}
	m.closers = append(m.closers, func(context.Context) error { return kept.Close() })
	if err := errors.Join(p.bindState(kept), p.bindKeys(kept, client.Keys, m.log)); err != nil {
		return err
	}
	if err := m.openDisk(); err != nil {
		return err
	}
	verify, err := upload.ParseVerify(p.Verify)
	if err != nil {
		return err
	}
	m.openArchive()
	m.Rooms = wired.Open(ctx, m.roomsOptions(kept, verify))
	return nil
}

func (m *mounted) roomsOptions(kept *journal.Journal, verify upload.Verify) wired.Options {
	p, share := m.plan, budgetOf(m.plan.Memory)
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	journals, own := filepath.Split(journalDir(p.StateDir, p.mountpoint))
	return wired.Options{
		Store: m.client, Journal: kept, Disk: m.disk, Archive: m.archive, Log: m.log,
		Bucket: p.bucket, Prefix: p.prefix, BucketPattern: p.BucketPattern, StoreID: p.storeID(), Journals: journals, Own: own, Host: host,
		ReadOnly: p.ReadOnly, Behind: p.behind(), Full: p.FullAttributes, UID: p.UID, GID: p.GID, FileMode: p.FileMode, DirMode: p.DirMode,
		TTL: p.MetadataTTL, MaxLag: p.MaxLag, Limits: upload.LimitsOf(m.client.Profile(), p.PartSize), Verify: verify,
		Memory: wired.Memory{Blocks: share.blocks, Ahead: share.ahead, Readahead: min(mostReadahead, share.readahead),
			ReadaheadTotal: share.readahead, Names: share.namesWith(p.FullAttributes)},
	}
}

// behind says whether calls return before the store has what they changed.
func (p *mountPlan) behind() bool { return p.Durability == durabilityJournal && !p.ReadOnly }

// storeID tells stores apart in the state directory.
func (p *mountPlan) storeID() string { return storeName(p.store.Region, p.store.Endpoint) }

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

// closeRooms closes the rooms, and then in reverse what they were built of.
func (m *mounted) closeRooms(ctx context.Context) error {
	var errs []error
	if m.Rooms != nil {
		errs = append(errs, m.Rooms.Close(ctx))
	}
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
