package main

import (
	"context"
	"fmt"
	"os/signal"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

func flushCommand(std stdio) *cli.Command {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "timeout", Usage: "wait no longer than this in all; what is left then is named, and stored in the background (default: no limit)"},
		&cli.BoolFlag{Name: "json", Usage: "print a summary as JSON: files, names, bytes, seconds, failed (path, change, bytes, error), paths"},
	}
	return &cli.Command{
		Name: "flush", Usage: "store now what is not stored yet, and wait for it", ArgsUsage: "PATH...",
		Flags: flags,
		CustomHelpTemplate: plainHelp(flags, `   PATH is a file or a directory on a mount, or was one; the mount point stands for all of it. What was written there and
   below, and what was made, removed or changed, is in the store when the command ends with 0: with
   --durability=journal before its time, with --durability=store for files that are still open. Files that are written
   meanwhile are stored as they are then.

   What cannot be stored is named on standard error, with the reason, and makes the exit code 8: it is kept, and tried
   again in the background. Ctrl-C and --timeout only end the waiting.
`),
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				f := usagef("flush", "a path inside a mount is needed")
				f.hint = "pailfs flush [--timeout TIME] [--json] PATH...; the mount point itself for all of it"
				return f
			}
			f := &flush{find: locateFor("flush"), json: c.Bool("json"), std: std, now: time.Now}
			if v := c.String("timeout"); v != "" {
				d, err := parseDuration(v)
				if err != nil || d <= 0 || d > forever {
					return usagef("flush", "--timeout: %q is no time: 90s, 2m, 1h30m", v)
				}
				f.timeout = d
			}
			return f.run(c.Context, c.Args().Slice())
		},
	}
}

// flush is one run of `pailfs flush`.
type flush struct {
	find    locator
	timeout time.Duration // for all paths together; 0: none
	json    bool
	std     stdio
	now     func() time.Time

	began time.Time
	sum   flushSummary
	show  *progressShow
}

// flushSummary is what `pailfs flush --json` prints.
type flushSummary struct {
	Files   int64         `json:"files"` // stored
	Names   int64         `json:"names"` // changes of names: made, removed, attributes
	Bytes   int64         `json:"bytes"`
	Seconds float64       `json:"seconds"`
	Failed  []unsavedFile `json:"failed"`
	More    int64         `json:"failed_more,omitempty"`
	Paths   []pathResult  `json:"paths"`
}

// run goes on after a path that fails. Ctrl-C ends the waiting.
func (f *flush) run(ctx context.Context, paths []string) error {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	f.began = f.now()
	f.show = newProgressShow("storing", f.std.err, f.now)
	f.sum.Failed, f.sum.Paths = []unsavedFile{}, []pathResult{}
	var failed failures
	for _, given := range paths {
		if err := f.path(ctx, given); err != nil {
			failed.add(f.std, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	f.sum.Seconds = f.now().Sub(f.began).Seconds()
	if err := f.print(); err != nil {
		return err
	}
	return failed.result()
}

func (f *flush) path(ctx context.Context, given string) error {
	result := pathResult{Path: given}
	var last flushProgress
	err := f.find.in(given, func(p *place) error {
		result.Mountpoint = p.mountpoint
		ctx, left, cancel, err := f.patience(ctx)
		if err != nil {
			return err
		}
		defer cancel()
		last, err = p.daemon("flush").Flush(ctx, p.path, left, f.show.flush)
		return err
	})
	f.show.clear()
	f.sum.Files, f.sum.Names, f.sum.Bytes = f.sum.Files+last.FilesDone, f.sum.Names+last.NamesDone, f.sum.Bytes+last.BytesDone
	f.sum.Failed, f.sum.More = append(f.sum.Failed, last.Left...), f.sum.More+last.LeftMore
	printUnsaved(f.std.err, last.Left)
	if err != nil {
		result.Error = failureOf(err).message
	}
	f.sum.Paths = append(f.sum.Paths, result)
	return err
}

// patience is how long the process may take, and a context for one that does not keep to it.
func (f *flush) patience(ctx context.Context) (context.Context, time.Duration, context.CancelFunc, error) {
	if f.timeout == 0 {
		return ctx, 0, func() {}, nil
	}
	left := f.timeout - f.now().Sub(f.began)
	if left <= 0 {
		return ctx, 0, nil, &failure{code: exitUnsaved, command: "flush", message: fmt.Sprintf("not tried: %v are over", f.timeout)}
	}
	ctx, cancel := context.WithTimeout(ctx, left+answerPatience)
	return ctx, left, cancel, nil
}

func (f *flush) print() error {
	if f.json {
		return printJSON(f.std.out, f.sum)
	}
	if noneReached(f.sum.Paths) {
		return nil // "stored: 0 files" would read like an answer of a mount
	}
	text := fmt.Sprintf("stored: %s, %s", files(int(f.sum.Files)), formatSize(f.sum.Bytes))
	if f.sum.Names > 0 {
		text += ", " + names(f.sum.Names)
	}
	_, err := fmt.Fprintf(f.std.out, "%s in %.1f s\n", text, f.sum.Seconds)
	return err
}
