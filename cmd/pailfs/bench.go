package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// The usual work of `pailfs bench`: a minute at most over a line of some 10 MiB/s.
const (
	benchSize     = "256MiB"
	benchFiles    = 200
	benchFileSize = "64KiB"
	benchJobs     = 16
	mostBenchJobs = 256
)

func benchCommand(std stdio) *cli.Command {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "size", Usage: "size of the large file (default: " + benchSize + ")"},
		&cli.StringFlag{Name: "files", Usage: fmt.Sprintf("number of small files (default: %d)", benchFiles)},
		&cli.StringFlag{Name: "file-size", Usage: "size of each (default: " + benchFileSize + ")"},
		&cli.StringFlag{Name: "jobs", Usage: fmt.Sprintf("small files written or read at once (default: %d)", benchJobs)},
		&cli.BoolFlag{Name: "json", Usage: "print JSON: path, mountpoint, steps (step, seconds, files, bytes, requests, sent, received)"},
	}
	return &cli.Command{
		Name: "bench", Usage: "measure how fast a directory is, as programs see it", ArgsUsage: "PATH",
		Flags: flags,
		CustomHelpTemplate: plainHelp(flags, `   PATH is a directory, on a mount or on any other file system to compare with. A large file and many small ones are
   made in a directory of their own below it, .pailfs-bench-..., read again and removed, also after Ctrl-C. What was
   read is compared with what was written.

   On a mount each step tells what the store was asked meanwhile: a read without requests came from the cache of this
   host. A write ends with close: with --durability=journal the store has the file later.
`),
		Action: func(c *cli.Context) error {
			b, err := benchOf(c.String, c.Args().Slice())
			if err != nil {
				return err
			}
			b.json, b.std, b.now = c.Bool("json"), std, time.Now
			return b.run(c.Context)
		},
	}
}

// bench is one run of `pailfs bench`.
type bench struct {
	path           string
	size, fileSize int64
	files, jobs    int
	json           bool
	std            stdio
	now            func() time.Time

	dir    string // of its own, below path
	asked  func(context.Context) (storeWork, bool)
	report benchReport
}

// benchReport is what `pailfs bench --json` prints.
type benchReport struct {
	Path       string      `json:"path"`
	Mountpoint string      `json:"mountpoint,omitempty"` // "" where it is no mount of pailfs
	Steps      []benchStep `json:"steps"`
}

// benchStep is one kind of work. A step that moves no bytes of files has none.
type benchStep struct {
	Step    string  `json:"step"`
	Seconds float64 `json:"seconds"`
	Files   int     `json:"files"`
	Bytes   int64   `json:"bytes"`
	*storeWork
}

// storeWork is what the process of a mount has asked of the store.
type storeWork struct {
	Requests int64 `json:"requests"`
	Sent     int64 `json:"sent"`
	Received int64 `json:"received"`
}

// benchOf reads the command line. value gives an option as it was given, "" for none.
func benchOf(value func(string) string, args []string) (*bench, error) {
	if err := checkArguments("bench", "pailfs bench [--size SIZE] [--files N] [--file-size SIZE] [--jobs N] [--json] PATH", args, 1, 1); err != nil {
		return nil, err
	}
	b := &bench{path: args[0]}
	for _, o := range []struct {
		name, usual string
		least, most int64
		to          *int64
	}{{"size", benchSize, 1, 1 << 40, &b.size}, {"file-size", benchFileSize, 0, 1 << 30, &b.fileSize}} {
		text := o.usual
		if v := value(o.name); v != "" {
			text = v
		}
		n, err := parseSize(text)
		if err == nil && (n < o.least || n > o.most) {
			err = fmt.Errorf("%s is not between %s and %s", text, formatSize(o.least), formatSize(o.most))
		}
		if err != nil {
			return nil, usagef("bench", "--%s: %v", o.name, err)
		}
		*o.to = n
	}
	for _, o := range []struct {
		name        string
		usual, most int
		to          *int
	}{{"files", benchFiles, 100_000, &b.files}, {"jobs", benchJobs, mostBenchJobs, &b.jobs}} {
		*o.to = o.usual
		if v := value(o.name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 || n > o.most {
				return nil, usagef("bench", "--%s: %q is no number between 1 and %d", o.name, v, o.most)
			}
			*o.to = n
		}
	}
	return b, nil
}

// run makes a directory, works in it, and takes it away again.
func (b *bench) run(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)() // what is going on cannot be broken off: a second Ctrl-C ends the process
	b.asked = func(context.Context) (storeWork, bool) { return storeWork{}, false }
	b.report = benchReport{Path: b.path, Steps: []benchStep{}}
	if p, err := locateFor("bench")(b.path); err == nil {
		defer p.Close()
		b.report.Mountpoint = p.mountpoint
		b.asked = func(ctx context.Context) (storeWork, bool) { return workOf(ctx, p.daemon("bench")) }
	}
	var err error
	if b.dir, err = os.MkdirTemp(b.path, ".pailfs-bench-"); err != nil {
		return b.failure(err)
	}
	if !b.json {
		fmt.Fprintln(b.std.out, b.title())
	}
	err = b.steps(ctx)
	if left := os.RemoveAll(b.dir); left != nil {
		err = errors.Join(err, left)
	}
	switch {
	case ctx.Err() != nil:
		return &failure{code: exitInterrupted, command: "bench", message: "interrupted"}
	case err != nil:
		return b.failure(err)
	case b.json:
		return printJSON(b.std.out, b.report)
	}
	return nil
}

func (b *bench) failure(err error) *failure {
	f := &failure{code: exitGeneral, command: "bench", message: fmt.Sprintf("%s: %v", shown(b.path), err)}
	switch {
	case errors.Is(err, os.ErrNotExist):
		f.code = exitNotFound
	case errors.Is(err, unix.ENOTDIR):
		f.hint = "PATH is a directory"
	case errors.Is(err, unix.EROFS), errors.Is(err, os.ErrPermission):
		f.hint = "it must be possible to make files there"
	}
	return f
}

// workOf asks a mount what it has asked.
func workOf(ctx context.Context, d daemon) (storeWork, bool) {
	s, err := d.Status(ctx)
	if err != nil || s.Requests == nil {
		return storeWork{}, false
	}
	return storeWork{Requests: s.Requests.Total(), Sent: s.Requests.BytesOut, Received: s.Requests.BytesIn}, true
}

func (b *bench) title() string {
	where := "no mount of pailfs"
	if b.report.Mountpoint != "" {
		where = "a mount of pailfs"
	}
	return fmt.Sprintf("%s (%s): a file of %s, and %d of %s, %d at once", shown(b.path), where, formatSize(b.size), b.files, formatSize(b.fileSize), b.jobs)
}

// measure does one step and tells of it.
func (b *bench) measure(ctx context.Context, name string, files int, bytes int64, do func(context.Context) error) error {
	before, known := b.asked(ctx)
	began := b.now()
	if err := do(ctx); err != nil {
		return err
	}
	s := benchStep{Step: name, Seconds: b.now().Sub(began).Seconds(), Files: files, Bytes: bytes}
	if after, ok := b.asked(ctx); known && ok {
		s.storeWork = &storeWork{after.Requests - before.Requests, after.Sent - before.Sent, after.Received - before.Received}
	}
	b.report.Steps = append(b.report.Steps, s)
	if b.json {
		return nil
	}
	_, err := fmt.Fprintln(b.std.out, s)
	return err
}

// String is a line: what, how long, how fast, and what the store was asked.
func (s benchStep) String() string {
	rate := ""
	switch {
	case s.Seconds <= 0:
	case s.Files > 1:
		rate = fmt.Sprintf("%.0f files/s", float64(s.Files)/s.Seconds)
	default:
		rate = formatSize(int64(float64(s.Bytes)/s.Seconds)) + "/s"
	}
	line := fmt.Sprintf("  %-20s %8.2f s  %14s", s.Step, s.Seconds, rate)
	if s.storeWork != nil {
		line += fmt.Sprintf("  store: %d requests, %s sent, %s received", s.Requests, formatSize(s.Sent), formatSize(s.Received))
	}
	return strings.TrimRight(line, " ")
}
