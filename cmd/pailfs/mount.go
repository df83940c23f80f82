package main

import (
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
	if err := p.planCache(); err != nil {
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

// source is what df shows: where the store is and what of it, without a secret.
func (p *mountPlan) source() string {
	return cleanSource(fmt.Sprintf("pailfs#%s:%s", storeName(p.store.Region, p.store.Endpoint), strings.TrimSuffix(p.bucket+"/"+p.prefix, "/")))
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
