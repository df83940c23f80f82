package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pailfs/cache"
	pfs "pailfs/fs"
	"pailfs/fs/content"
	"pailfs/fs/journal"
	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// mountPlan is a mount command, parsed and checked: all that is needed to carry it out.
type mountPlan struct {
	*settings
	bucket, prefix string // "" bucket: the whole account; prefix "" or "a/b/"
	mountpoint     string // absolute, symbolic links resolved
	store          s3client.Config
	about          subject
}

func mountCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name: "mount", Usage: "mount a bucket, a part of one, or all buckets of the account",
		ArgsUsage:          "[BUCKET[/PREFIX]] MOUNTPOINT",
		Flags:              mountFlags(),
		CustomHelpTemplate: mountHelp(),
		Action: func(c *cli.Context) error {
			pipe, isChild := readyPipe()
			plan, err := planMount(c)
			switch {
			case isChild:
				return serveInBackground(c.Context, plan, err, pipe)
			case err != nil:
				return err
			case plan.Foreground:
				return serveInForeground(c.Context, plan, std.err)
			}
			return startDaemon(c.Context, plan, std)
		},
	}
}

// planMount parses and checks everything that needs no network.
func planMount(c *cli.Context) (*mountPlan, error) {
	s, err := settingsOf(c, options)
	if err != nil {
		return nil, err
	}
	p := &mountPlan{settings: s}
	args := c.Args().Slice()
	switch len(args) {
	case 1:
	case 2:
		if p.bucket, p.prefix, err = parseTarget(args[0]); err != nil {
			f := usagef("mount", "%v", err)
			f.hint = "BUCKET or BUCKET/PREFIX; " + hintBucketName
			return nil, f
		}
	default:
		f := usagef("mount", "one or two arguments are needed, not %d", len(args))
		f.hint = "pailfs mount [BUCKET[/PREFIX]] MOUNTPOINT"
		return nil, f
	}
	if p.mountpoint, err = realPath(args[len(args)-1]); err != nil {
		p.mountpoint, err = filepath.Abs(args[len(args)-1])
		if err != nil {
			return nil, err
		}
	}
	client, cfg, about, err := openStore("mount", "mount "+p.what(), p.bucket, s)
	if err != nil {
		return nil, err
	}
	p.store, p.about = cfg, about
	if err := client.Close(); err != nil {
		return nil, err
	}
	if err := pfs.CheckMountpoint(p.mountpoint); err != nil {
		return nil, p.failure(err, "mount on "+p.mountpoint)
	}
	if err := checkHost(os.Geteuid(), s.AllowOther, "/"); err != nil {
		return nil, err
	}
	return p, nil
}

// what names what is mounted.
func (p *mountPlan) what() string {
	switch {
	case p.bucket == "":
		return "the account"
	case p.prefix == "":
		return "bucket " + p.bucket
	}
	return p.bucket + "/" + strings.TrimSuffix(p.prefix, "/")
}

// source is what df shows: where the store is and what of it, without a secret.
func (p *mountPlan) source() string {
	where := hostOf(p.store.Endpoint)
	if r, ok := s3client.RegionByName(p.store.Region); ok && strings.EqualFold(r.Endpoint, p.store.Endpoint) {
		where = r.Name
	}
	return cleanSource(fmt.Sprintf("pailfs#%s:%s", where, strings.TrimSuffix(p.bucket+"/"+p.prefix, "/")))
}

// cleanSource escapes what the mount table and fusermount's options cannot hold.
func cleanSource(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == ',' || c == '\\' || c == '%' || c == 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// failure says any error of mounting as a user needs it. doing replaces what could not be done, "" keeps it.
func (p *mountPlan) failure(err error, doing string) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	about := p.about
	if doing != "" {
		about.cannot = doing
	}
	if f := about.hostFailure(err, p.mountpoint, p.StateDir); f != nil {
		return f
	}
	return about.storeFailure(err)
}

// logFailure is for a log that cannot be opened.
func (p *mountPlan) logFailure(err error, name string) *failure {
	about := p.about
	about.cannot = "open the log " + name
	if f := about.hostFailure(err, p.mountpoint, p.StateDir); f != nil {
		return f
	}
	return about.fail(exitHost, err.Error(), "give another --log-file or --state-dir")
}

// parseTarget reads BUCKET, BUCKET/PREFIX or s3://BUCKET/PREFIX. The prefix comes back with one slash at its end.
func parseTarget(arg string) (bucket, prefix string, err error) {
	bucket, prefix, _ = strings.Cut(strings.TrimPrefix(arg, "s3://"), "/")
	switch {
	case bucket == "":
		return "", "", fmt.Errorf("%q names no bucket", arg)
	case len(bucket) > 255 || strings.ContainsFunc(bucket, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return "", "", fmt.Errorf("%q is no name of a bucket", bucket)
	}
	prefix = strings.TrimRight(prefix, "/")
	if prefix == "" {
		return bucket, "", nil
	}
	for _, part := range strings.Split(prefix, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsRune(part, 0) || len(part) > 255 {
			return "", "", fmt.Errorf("prefix %q cannot be a directory", prefix)
		}
	}
	if len(prefix) > 1023 {
		return "", "", errors.New("the prefix is longer than a key may be (1024 bytes)")
	}
	return bucket, prefix + "/", nil
}

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
		TTL: p.MetadataTTL, Full: p.FullAttributes,
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
			return names.Headers(id.Bucket, id.Key, streaming)
		},
		Stored:     func(id content.ID, o s3client.Object) { names.Stored(id.Bucket, id.Key, o) },
		CheckAfter: p.MetadataTTL, Log: m.log, Host: host,
	})
	return names, nil
}

// fetchFrom reads a range of a version for the cache: the ETag pins it.
func fetchFrom(store s3client.Store) cache.Fetch {
	return func(ctx context.Context, v cache.Version, off, length int64) (io.ReadCloser, error) {
		body, _, err := store.Get(ctx, s3client.GetRequest{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Offset: off, Length: length})
		return body, err
	}
}

// kept lists what earlier runs left in the journal and this one has not stored either.
func (m *mounted) kept() []unsavedFile {
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
