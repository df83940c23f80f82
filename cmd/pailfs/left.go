package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"pailfs/fs/journal"
	"pailfs/fs/wired"
)

// leftCommand is for the packages' scripts: what mounts have left on this host that the store does not have. Hidden: `pailfs
// status` and `pailfs umount` tell users.
func leftCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name: "left", Usage: "what mounts have left that the store does not have", ArgsUsage: "[STATE_DIR]", Hidden: true,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "tidy", Usage: "remove the state of mounts that have left nothing"}},
		Action: func(c *cli.Context) error {
			dir := c.Args().First()
			if dir == "" {
				var err error
				if dir, err = defaultStateDir(); err != nil {
					return err
				}
			}
			return printLeft(std.out, dir, c.Bool("tidy"))
		},
	}
}

// printLeft names the directories with something left, a line each.
func printLeft(out io.Writer, stateDir string, tidy bool) error {
	dirs, _ := filepath.Glob(filepath.Join(globEscape(stateDir), "mounts", "*")) // the pattern is well-formed
	for _, dir := range dirs {
		says, err := leftIn(dir, tidy)
		if err != nil {
			says = err.Error()
		}
		if says == "" {
			continue
		}
		if _, err := fmt.Fprintf(out, "%s: %s\n", shown(dir), says); err != nil {
			return err
		}
	}
	return nil
}

// leftIn says what the state of one mount has that the store does not have, "" for nothing. With tidy, a state with nothing goes.
func leftIn(dir string, tidy bool) (says string, err error) {
	j, err := journal.OpenWith(journal.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if errors.Is(err, journal.ErrLocked) {
		return "in use", nil
	}
	if err != nil {
		return "", err
	}
	gone := false
	defer func() {
		if closing := j.Close(); !gone { // what is gone cannot be closed in order, and need not be
			err = errors.Join(err, closing)
		}
	}()
	kept, err := wired.KeptIn(j)
	if err != nil {
		return "", err
	}
	damaged, err := os.ReadDir(filepath.Join(dir, "damaged"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	stats := j.Stats()
	switch {
	case kept.Len() > 0:
		var bytes int64
		for _, f := range kept.Files {
			bytes += f.Size
		}
		return fmt.Sprintf("not stored: files %d (%s), names %d", len(kept.Files), formatSize(bytes), len(kept.Names)+len(kept.Renames)), nil
	case len(damaged) > 0:
		return "what could not be read is in damaged/", nil
	case stats.Records > 0 || stats.Notes > 0:
		return "notes of requests that had no answer", nil
	case tidy:
		gone = true
		return "", os.RemoveAll(dir) // while it is locked: no mount can begin in it
	}
	return "", nil
}
