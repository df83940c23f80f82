package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	pfs "pailfs/fs"
	"pailfs/fs/lend"
)

const lendAbout = `   It is the small privileged part of a mount whose process has no privilege, as in a container: it opens /dev/fuse,
   mounts MOUNTPOINT and passes the descriptor to the first ` + "`pailfs mount --fd-socket PATH`" + ` of the user of --user that asks.
   It knows no keys and speaks to no store. Either of the two may start first. When the other one ends, its mount is taken
   away; when it starts again, it gets a fresh one. SIGTERM asks it to store what is left, waits for it, and unmounts;
   a second one does not wait.

EXAMPLE:
   pailfs mount-helper --socket /run/lend/photos.sock --user 65534 -o allow_other /mnt/photos    # as root
   pailfs mount --fd-socket /run/lend/photos.sock photos /mnt/photos                             # as user 65534
`

// mountHelperCommand is `pailfs mount-helper`. What mount(8) calls a helper is in mounthelper.go.
func mountHelperCommand(std stdio) *cli.Command {
	var logOptions []option
	for _, name := range []string{"log-level", "log-format"} {
		o, _ := optionNamed(options, name)
		logOptions = append(logOptions, o)
	}
	flags := append([]cli.Flag{
		&cli.StringFlag{Name: "socket", Usage: "where the other process asks: a socket that is made with mode 0600"},
		&cli.StringFlag{Name: "user", Usage: "who may ask, by number or name (default: who runs this); root always may"},
		&cli.StringSliceFlag{Name: "o", Usage: "how to mount: allow_other, ro, nosuid, nodev, noexec and their opposites, source=NAME, max_read=SIZE, " +
			"context=LABEL and its like, x-mount.mkdir to make the mount point (default: rw,nosuid,nodev; default_permissions always)"},
	}, cliFlags(logOptions)...)
	return &cli.Command{
		Name: "mount-helper", Usage: "mount for a pailfs that may not, and pass it the descriptor", ArgsUsage: "MOUNTPOINT",
		Flags: flags, CustomHelpTemplate: plainHelp(flags, lendAbout),
		Action: func(c *cli.Context) error {
			s, err := resolve(doing(c), logOptions, sources{flag: requestOf(c, logOptions).flag, getenv: os.Getenv})
			if err != nil {
				return err
			}
			h, err := newLending(c, newLog(std.err, s))
			if err != nil {
				return err
			}
			return h.run(c.Context)
		},
	}
}

// lending is one run of `pailfs mount-helper`.
type lending struct {
	socket string
	user   uint32
	lender *lend.Lender
	log    *slog.Logger
}

func newLending(c *cli.Context, log *slog.Logger) (*lending, error) {
	const usage = "pailfs mount-helper --socket PATH [--user USER] [-o OPTIONS] MOUNTPOINT"
	wrong := func(format string, args ...any) error {
		f := usagef(doing(c), format, args...)
		f.hint = usage
		return f
	}
	if err := checkArguments(doing(c), usage, c.Args().Slice(), 1, 1); err != nil {
		return nil, err
	}
	s := settings{UID: uint32(os.Geteuid())}
	if err := parseFDSocket(&s, c.String("socket")); err != nil {
		return nil, wrong("--socket: %v", err)
	}
	if s.FDSocket == "" {
		return nil, wrong("--socket is missing")
	}
	if v := c.String("user"); v != "" {
		if err := userID(func(s *settings) *uint32 { return &s.UID })(&s, v); err != nil {
			return nil, wrong("--user: %v", err)
		}
	}
	how, left, err := parseLendOptions(c.StringSlice("o"))
	if err != nil {
		return nil, wrong("-o %v", err)
	}
	if err := makeMountpoint(doing(c), c.Args().First(), left); err != nil {
		return nil, err
	}
	h := &lending{socket: s.FDSocket, user: s.UID, log: log}
	h.lender = &lend.Lender{Options: how, Dead: dead, Serving: pfs.RaiseReadAhead, Log: log,
		May: func(uid uint32) bool { return uid == 0 || uid == h.user }}
	h.lender.Mountpoint, err = h.mountpoint(c.Args().First())
	return h, err
}

// mountpoint checks the place. Where a mount of ours answers, one of an earlier run is still served: it is waited for.
func (h *lending) mountpoint(given string) (string, error) {
	about := subject{command: "mount-helper", cannot: "mount on " + given}
	where, err := realPath(given)
	if err != nil {
		return "", about.hostFailure(fmt.Errorf("%w: %w", pfs.ErrNoMountpoint, err), given, "")
	}
	err = pfs.CheckMountpoint(where)
	if errors.Is(err, pfs.ErrMounted) {
		if info, tableErr := pfs.TopMount(where); tableErr == nil && info != nil && info.FSType == mountType {
			err = nil
		}
	}
	if err == nil {
		return where, nil
	}
	if f := about.hostFailure(err, where, ""); f != nil {
		return "", f
	}
	return "", about.fail(exitMountPoint, err.Error(), "")
}

func (h *lending) run(ctx context.Context) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(signals)
	stopping, stop := context.WithCancel(ctx)
	defer stop()
	leaving, leave := context.WithCancel(ctx)
	defer leave()
	listener, err := lend.Listen(ctx, h.socket, int(h.user), os.Getegid())
	if err != nil {
		return &failure{code: exitHost, command: "mount-helper", message: fmt.Sprintf("cannot listen on %s: %v", h.socket, err),
			hint: "its directory must exist; as root, or without --user"}
	}
	ended := make(chan error, 1)
	go func() { ended <- h.lender.Run(stopping, leaving, listener) }()
	h.log.Info("ready to mount", "mountpoint", h.lender.Mountpoint, "socket", h.socket, "user", h.user)
	for once := false; ; once = true {
		select {
		case sig := <-signals:
			h.log.Info("stopping", "signal", sig.String(), "waiting", !once)
			stop()
			if once {
				leave()
			}
		case err := <-ended:
			if err != nil {
				return &failure{code: exitGeneral, command: "mount-helper", message: err.Error()}
			}
			return nil
		}
	}
}

// parseLendOptions reads the values of -o of a mount-helper. The words that are mount(8)'s and systemd's are left.
func parseLendOptions(lists []string) (o lend.Options, left []string, err error) {
	o = lend.Options{Flags: unix.MS_NOSUID | unix.MS_NODEV, MaxRead: pfs.MaxRequest}
	for _, list := range lists {
		words, err := splitOptions(list)
		if err != nil {
			return o, nil, err
		}
		for _, word := range words {
			name, _, _ := strings.Cut(word, "=")
			if leftWords[name] || strings.HasPrefix(strings.ToLower(name), "x-") {
				left = append(left, word)
			} else if err := readLendOption(&o, word); err != nil {
				return o, nil, err
			}
		}
	}
	return o, left, nil
}

func readLendOption(o *lend.Options, word string) error {
	name, value, hasValue := strings.Cut(word, "=")
	switch {
	case word == "", word == "default_permissions":
	case word == "rw":
		o.Flags &^= unix.MS_RDONLY
	case mountBits[word] != 0:
		o.Flags |= mountBits[word]
	case mountBits[kernelWords[word]] != 0:
		o.Flags &^= mountBits[kernelWords[word]]
	case word == "allow_other":
		if !slices.Contains(o.Words, word) {
			o.Words = append(o.Words, word)
		}
	case labelWords[name] && hasValue:
		o.Words = append(o.Words, name+"="+quoted(value))
	case (name == "source" || name == "fsname") && value != "":
		o.Source = cleanSource(value)
	case name == "max_read" && hasValue:
		return readMaxRead(o, value)
	default:
		return fmt.Errorf("%s: unknown mount option", shown(name))
	}
	return nil
}

func readMaxRead(o *lend.Options, value string) error {
	const least = 4096
	n, err := parseSize(value)
	if err != nil {
		return fmt.Errorf("max_read: %w", err)
	}
	if n < least || n > pfs.MaxRequest {
		return fmt.Errorf("max_read: %s is not between %s and %s", strconv.FormatInt(n, 10), formatSize(least), formatSize(pfs.MaxRequest))
	}
	o.MaxRead = int(n)
	return nil
}
