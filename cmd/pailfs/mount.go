package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	pfs "pailfs/fs"
	"pailfs/s3client"
)

// mountPlan is a mount command, parsed and checked: all that is needed to carry it out.
type mountPlan struct {
	*settings
	given          string // what is mounted, as it was written
	bucket, prefix string // "" bucket: the whole account; prefix "" or "a/b/"
	mountpoint     string // absolute, symbolic links resolved
	store          s3client.Config
	utabByMount8   bool // libmount notes the mount in its table
	about          subject
	notes          []string // what a user should know of a mount that works
}

func mountCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name: "mount", Usage: "mount a bucket, a part of one, or all buckets of the account",
		ArgsUsage:          "[BUCKET[/PREFIX]] MOUNTPOINT",
		Flags:              mountFlags(),
		CustomHelpTemplate: mountHelp(),
		Action: func(c *cli.Context) error {
			r := requestOf(c, options)
			if c.Bool("dry-run") {
				return dryRun(r, std.out)
			}
			return r.carryOut(c.Context, std)
		},
	}
}

// carryOut mounts, in the foreground or in the background, or changes a mount that is there.
func (r *mountRequest) carryOut(ctx context.Context, std stdio) error {
	pipe, isChild := readyPipe()
	err := r.configure()
	if err == nil && r.words.remount && !isChild {
		return r.remount(ctx)
	}
	var plan *mountPlan
	if err == nil {
		plan, err = r.plan()
	}
	if err == nil {
		plan.notes = unknownVariables(os.Environ())
	}
	switch {
	case isChild:
		return serveInBackground(ctx, plan, err, pipe)
	case err != nil:
		return err
	case plan.Foreground, unitProcess(os.Getenv, os.Getpid()):
		return serveInForeground(ctx, plan, std.err)
	}
	return startDaemon(ctx, plan, std)
}

// plan checks everything that needs no network.
func (r *mountRequest) plan() (*mountPlan, error) {
	p, err := r.planned()
	if err == nil && !p.lent() {
		err = makeMountpoint(r.command, p.mountpoint, r.words.left)
	}
	if err != nil {
		return nil, err
	}
	return p, p.checkHost()
}

// planned is all that the words say; nothing of the host is looked at.
func (r *mountRequest) planned() (*mountPlan, error) {
	source, mountpoint, err := r.target()
	if err != nil {
		return nil, err
	}
	s, err := r.settings()
	if err != nil {
		return nil, err
	}
	p := &mountPlan{settings: s, utabByMount8: r.byMount8 && userWords(r.words.left), given: source}
	if p.bucket, p.prefix, err = parseTarget(source); err != nil {
		f := usagef(r.command, "%v", err)
		f.hint = "BUCKET, BUCKET/PREFIX or s3://BUCKET/PREFIX, s3:// is the whole account; " + hintBucketName
		if filepath.IsAbs(source) {
			f.hint = "mount(8) makes a path of a source that is also the name of a file in the working directory: write s3://" + filepath.Base(source)
		}
		return nil, f
	}
	if err := p.settleMountpoint(r.command, mountpoint); err != nil {
		return nil, err
	}
	client, cfg, about, err := openStore(r.command, "mount "+p.what(), p.bucket, s)
	if err != nil {
		return nil, err
	}
	p.store, p.about = cfg, about
	if err := client.Close(); err != nil {
		return nil, err
	}
	return p, p.planCache()
}

// checkHost looks at the mount point, and for what a user needs to mount.
func (p *mountPlan) checkHost() error {
	switch {
	case p.FD > 0:
		if err := pfs.CheckDevice(p.FD); err != nil {
			return p.failure(err, "serve "+p.mountpoint)
		}
		return nil
	case p.lent():
		return nil
	}
	if err := pfs.CheckMountpoint(p.mountpoint); err != nil {
		return p.failure(err, "mount on "+p.mountpoint)
	}
	return checkHost(os.Geteuid(), p.AllowOther, "/")
}

// defaultCacheSize is that of a disk cache whose directory alone was given.
const defaultCacheSize = 10 << 30

// planCache settles whether there is a disk cache, and where.
func (p *mountPlan) planCache() error {
	if p.CacheSize < 0 {
		p.CacheSize = 0
		if p.CacheDir != "" {
			p.CacheSize = defaultCacheSize
		}
	}
	if p.CacheSize == 0 || p.CacheDir != "" {
		return nil
	}
	var err error
	if p.CacheDir, err = defaultCacheDir(); err != nil {
		return &failure{code: exitHost, command: "mount", message: fmt.Sprintf("no place for the disk cache: %v", err), hint: "give --cache-dir"}
	}
	return nil
}

// cachePlace is the disk cache's own directory: mounts share nothing, so that each has the size it was given.
func (p *mountPlan) cachePlace() string {
	return filepath.Join(p.CacheDir, "mounts", escapeName(p.mountpoint))
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

// wholeAccount is the source of a mount of all buckets.
const wholeAccount = "s3://"

// source is what df, findmnt and mount show: what was written, so that `mount -a` finds the line of fstab in the mount table
// and does not mount again. There is no secret in it.
func (p *mountPlan) source() string {
	if p.bucket == "" {
		return wholeAccount
	}
	return cleanSource(strings.TrimRight(p.given, "/"))
}

// cleanSource escapes control characters; what the mount table cannot hold the kernel escapes.
func cleanSource(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f {
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

// parseTarget reads BUCKET, BUCKET/PREFIX or s3://BUCKET/PREFIX; s3:// alone is the whole account. The prefix comes
// back with one slash at its end.
func parseTarget(arg string) (bucket, prefix string, err error) {
	if arg == wholeAccount {
		return "", "", nil
	}
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
