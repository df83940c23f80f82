package main

import (
	"context"
	"fmt"
	"os/signal"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// warmJobs is how many files `pailfs warm` has fetched at once.
const warmJobs = 16

func warmCommand(std stdio) *cli.Command {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "jobs", Usage: fmt.Sprintf("files fetched at once (default: %d)", warmJobs)},
		&cli.BoolFlag{Name: "json", Usage: "print a summary as JSON: files, bytes, failed, seconds, failures (path, error), paths"},
	}
	return &cli.Command{
		Name: "warm", Usage: "fetch files ahead into the cache, with progress", ArgsUsage: "PATH...",
		Flags: flags,
		CustomHelpTemplate: plainHelp(flags, `   PATH is a file or a directory on a mount. What of it is not in the cache yet is fetched by the process of the mount:
   to disk with --cache-dir, else to memory. Ctrl-C ends it; what was fetched stays. Files that cannot be fetched are
   named on standard error, and make the exit code 1.
`),
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				f := usagef("warm", "a path inside a mount is needed")
				f.hint = "pailfs warm [--jobs N] [--json] PATH...; the mount point itself for all of it"
				return f
			}
			jobs := warmJobs
			if v := c.String("jobs"); v != "" {
				n, err := strconv.Atoi(v)
				if err != nil || n < 1 || n > mostJobs {
					return usagef("warm", "--jobs: %q is no number between 1 and %d", v, mostJobs)
				}
				jobs = n
			}
			w := &warm{find: locateFor("warm"), jobs: jobs, json: c.Bool("json"), std: std, now: time.Now}
			return w.run(c.Context, c.Args().Slice())
		},
	}
}

// warm is one run of `pailfs warm`.
type warm struct {
	find locator
	jobs int
	json bool
	std  stdio
	now  func() time.Time

	sum  warmSummary
	show *progressShow
}

// warmSummary is what `pailfs warm --json` prints.
type warmSummary struct {
	Files    int64         `json:"files"` // fetched, or found in the cache
	Bytes    int64         `json:"bytes"`
	Failed   int64         `json:"failed"`
	Seconds  float64       `json:"seconds"`
	Failures []warmFailure `json:"failures"`
	Paths    []pathResult  `json:"paths"`
}

// run goes on after a path that fails. Ctrl-C ends it: closing the connection tells the process of the mount.
func (w *warm) run(ctx context.Context, paths []string) error {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	began := w.now()
	w.show = newProgressShow("warming", w.std.err, w.now)
	w.sum.Failures, w.sum.Paths = []warmFailure{}, []pathResult{}
	var failed failures
	for _, given := range paths {
		if err := w.path(ctx, given); err != nil {
			failed.add(w.std, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	w.sum.Seconds = w.now().Sub(began).Seconds()
	if err := w.print(); err != nil {
		return err
	}
	if err := failed.result(); err != nil {
		return err
	}
	if w.sum.Failed > 0 {
		return &failure{code: exitGeneral, command: "warm", message: fmt.Sprintf("%s could not be fetched", files(int(w.sum.Failed)))}
	}
	return nil
}

func (w *warm) path(ctx context.Context, given string) error {
	result := pathResult{Path: given}
	before := w.sum
	var last warmProgress
	err := w.find.in(given, func(p *place) error {
		result.Mountpoint = p.mountpoint
		var err error
		last, err = p.daemon("warm").Warm(ctx, p.path, w.jobs, func(line warmLine) {
			w.failures(line.Failed)
			w.show.warm(plus(before, line.Progress))
		})
		return err
	})
	w.show.clear()
	w.sum.Files, w.sum.Bytes, w.sum.Failed = before.Files+last.FilesDone, before.Bytes+last.BytesDone, before.Failed+last.Failed
	if err != nil {
		result.Error = failureOf(err).message
	}
	w.sum.Paths = append(w.sum.Paths, result)
	return err
}

// plus adds what earlier paths brought, so that one bar runs over all of them.
func plus(s warmSummary, p warmProgress) warmProgress {
	p.Files, p.FilesDone = p.Files+s.Files, p.FilesDone+s.Files
	p.Bytes, p.BytesDone = p.Bytes+s.Bytes, p.BytesDone+s.Bytes
	p.Failed += s.Failed
	return p
}

// failures names each file that fails, at once and in the summary.
func (w *warm) failures(list []warmFailure) {
	for _, f := range list {
		w.show.clear()
		line := "not fetched: " + shown(f.Path)
		if f.Error != "" {
			line += ": " + oneLine(f.Error)
		}
		fmt.Fprintln(w.std.err, line)
	}
	w.sum.Failures = append(w.sum.Failures, list...)
}

func (w *warm) print() error {
	if more := w.sum.Failed - int64(len(w.sum.Failures)); more > 0 {
		fmt.Fprintf(w.std.err, "not fetched: %d more\n", more)
	}
	if w.json {
		return printJSON(w.std.out, w.sum)
	}
	if noneReached(w.sum.Paths) {
		return nil
	}
	text := fmt.Sprintf("%s, %s in %.1f s", files(int(w.sum.Files)), formatSize(w.sum.Bytes), w.sum.Seconds)
	if w.sum.Failed > 0 {
		text += fmt.Sprintf(", %d failed", w.sum.Failed)
	}
	_, err := fmt.Fprintln(w.std.out, text)
	return err
}
