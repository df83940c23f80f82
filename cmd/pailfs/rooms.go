package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"pailfs/cache"
	pfs "pailfs/fs"
	"pailfs/fs/content"
	"pailfs/fs/journal"
	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// mounted is a mount that answers, with its rooms.
type mounted struct {
	plan    *mountPlan
	log     *slog.Logger
	client  *s3client.Client
	journal *journal.Journal
	files   *content.Files
	server  *pfs.Server
	runtime *runtimeFile
	closers []func(context.Context) error // in the order of opening; closed in reverse
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
		StateDir: p.StateDir, LogFile: p.LogFile, Started: time.Now()})
	if err != nil {
		return m, err
	}
	if err := probe(ctx, p.store, p.bucket, p.prefix); err != nil {
		return m, err
	}
	names, err := m.openRooms()
	if err != nil {
		return m, err
	}
	m.server, err = pfs.Mount(ctx, pfs.Options{
		Tree: names, Files: m.files, Mountpoint: p.mountpoint, Source: p.source(),
		ReadOnly: p.ReadOnly, AllowOther: p.AllowOther, MountOptions: p.MountWords,
		TTL: p.MetadataTTL, Timeout: p.Timeout, Log: log, Debug: p.LogLevel <= slog.LevelDebug,
	})
	return m, err
}

// openRooms builds everything between the store and the face: client, cache, journal, upload, tree, content.
func (m *mounted) openRooms() (*tree.Tree, error) {
	p := m.plan
	client, err := s3client.Open(p.store)
	if err != nil {
		return nil, err
	}
	m.client = client
	m.closers = append(m.closers, func(context.Context) error { return client.Close() })
	kept, err := journal.Open(filepath.Join(p.StateDir, "mounts", escapeName(p.mountpoint)))
	if err != nil {
		return nil, err
	}
	m.journal = kept
	m.closers = append(m.closers, func(context.Context) error { return kept.Close() })
	blocks := cache.NewBlocks(cache.BlocksOptions{MemoryBytes: p.Memory, Fetch: fetchFrom(client)})
	m.closers = append(m.closers, blocks.Close)
	uploader := upload.New(upload.Options{Store: client, Limits: upload.LimitsOf(client.Profile(), p.PartSize), Log: m.log})
	m.closers = append(m.closers, uploader.Close)
	names := tree.New(tree.Options{
		Store: client, Bucket: p.bucket, Prefix: p.prefix,
		TTL: namesTTL(p.MetadataTTL), Full: p.FullAttributes,
		UID: p.UID, GID: p.GID, FileMode: p.FileMode, DirMode: p.DirMode,
		Copy: uploader.Copy, Now: time.Now, Log: m.log, ReadOnly: p.ReadOnly,
	})
	m.closers = append(m.closers, func(context.Context) error { names.Close(); return nil })
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	m.files = content.New(content.Options{
		Store: client, Blocks: blocks, Journal: kept, Uploader: uploader,
		Headers: func(id content.ID, streaming bool) s3client.Headers {
			if streaming {
				return names.StreamHeaders(id.Bucket, id.Key)
			}
			return names.Headers(id.Bucket, id.Key)
		},
		Stored:     func(id content.ID, o s3client.Object) { names.Stored(id.Bucket, id.Key, o) },
		CheckAfter: p.MetadataTTL, Log: m.log, Host: host,
	})
	return names, nil
}

// namesTTL is --metadata-ttl as tree takes it: there 0 means its default, and a negative one that nothing is trusted.
func namesTTL(ttl time.Duration) time.Duration {
	if ttl == 0 {
		return -1
	}
	return ttl
}

// fetchFrom reads a range of a version for the cache: the ETag pins it.
func fetchFrom(store s3client.Store) cache.Fetch {
	return func(ctx context.Context, v cache.Version, off, length int64) (io.ReadCloser, error) {
		body, _, err := store.Get(ctx, s3client.GetRequest{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Offset: off, Length: length})
		return body, err
	}
}

// kept lists what earlier runs left in the journal and this one has not stored either.
// A mount that is read-only stores nothing of theirs and has nothing to answer for.
func (m *mounted) kept() []unsavedFile {
	if m.plan.ReadOnly {
		return nil
	}
	return m.keptInJournal()
}

func (m *mounted) keptInJournal() []unsavedFile {
	pendings, err := m.journal.Pendings()
	if err != nil {
		m.log.Error("a part of the journal cannot be read", "err", err)
	}
	var list []unsavedFile
	for _, p := range pendings {
		if _, err := os.Lstat(p.Name()); errors.Is(err, os.ErrNotExist) {
			continue // stored, and dropped from the journal
		}
		list = append(list, unsavedFile{Path: p.Bucket + "/" + p.Key, Bytes: p.Size, Since: p.Time, Error: p.Reason})
	}
	return list
}

// recover stores what earlier runs kept; a mount that is read-only only says that there is something.
func (m *mounted) recover(ctx context.Context) (stored int, failed []error) {
	if !m.plan.ReadOnly {
		return m.files.Recover(ctx)
	}
	if n := len(m.keptInJournal()); n > 0 {
		m.log.Warn("an earlier run has kept data that a mount without read-only would store", "files", n)
	}
	return 0, nil
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
