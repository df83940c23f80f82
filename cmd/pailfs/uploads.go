package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"pailfs/s3client"
)

// abortAge is how old an upload must be for `uploads abort` unless told otherwise: younger ones may belong to a mount
// that is writing.
const abortAge = "24h"

func uploadsCommand(std stdio) *cli.Command {
	prefix := &cli.StringFlag{Name: "prefix", Usage: "only keys that begin so; of uploads begun before its last start MinIO shows only those of exactly this key, and without it none"}
	return &cli.Command{
		Name: "uploads", Usage: "list and abort unfinished multipart uploads, which cost storage until then",
		Subcommands: []*cli.Command{
			storeCommand(&cli.Command{Name: "list", Usage: "list unfinished uploads", ArgsUsage: "BUCKET",
				Flags: []cli.Flag{jsonFlag(), prefix,
					&cli.StringFlag{Name: "older-than", Usage: "only those begun longer ago than this (default: all)"},
					&cli.BoolFlag{Name: "sizes", Usage: "say how many parts and bytes the store has of each, which costs a request for each"}}},
				1, 1, "list the uploads of", listUploads(std.out, time.Now)),
			storeCommand(&cli.Command{Name: "abort", Usage: "abort unfinished uploads", ArgsUsage: "BUCKET",
				Flags: []cli.Flag{jsonFlag(), prefix,
					&cli.StringFlag{Name: "older-than", Usage: "only those begun longer ago than this; what a mount of this host is writing stays all the same; 0 takes all, also of mounts that are writing (default: " + abortAge + ")"},
					&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be aborted"}}},
				1, 1, "abort uploads of", abortUploads(std.out, time.Now)),
		},
	}
}

// uploadJSON is an upload in `pailfs uploads list --json`.
type uploadJSON struct {
	Key       string    `json:"key"`
	ID        string    `json:"id"`
	Initiated time.Time `json:"initiated"`
	Age       int64     `json:"age_seconds"`
	Parts     *int      `json:"parts,omitempty"` // with --sizes
	Bytes     *int64    `json:"bytes,omitempty"`
	Mount     string    `json:"mount,omitempty"` // of this host, that is at it
}

// print writes a line: when, how long ago, how much where it is known, id, key, whose.
func (u uploadJSON) print(out io.Writer) error {
	size := ""
	if u.Bytes != nil {
		size = fmt.Sprintf("%d parts, %s  ", *u.Parts, formatSize(*u.Bytes))
	}
	use := ""
	if u.Mount != "" {
		use = "  (being written by the mount at " + shown(u.Mount) + ")"
	}
	_, err := fmt.Fprintf(out, "%s  %s  %s%s  %s%s\n", u.Initiated.UTC().Format(time.RFC3339), shortTime(time.Duration(u.Age)*time.Second), size, shown(u.ID), shown(u.Key), use)
	return err
}

// oldUploads are those begun longer ago than age; 0 is all, those that a wrong clock puts into the future as well.
func oldUploads(c *cli.Context, store s3client.Store, bucket string, age time.Duration, now time.Time) ([]uploadJSON, error) {
	uploads, err := store.Uploads(c.Context, bucket, c.String("prefix"))
	if err != nil {
		return nil, err
	}
	list := make([]uploadJSON, 0, len(uploads))
	use := uploadsInUse(c.Context, runDirs())
	for _, u := range uploads {
		since := now.Sub(u.Initiated)
		if age > 0 && since < age {
			continue
		}
		list = append(list, uploadJSON{Key: u.Key, ID: u.ID, Initiated: u.Initiated, Age: int64(max(since, 0) / time.Second),
			Mount: use[runningUpload{bucket, u.Key, u.ID}]})
	}
	return list, nil
}

// olderThan reads the flag; "" is the default given.
func olderThan(c *cli.Context, def string) (time.Duration, error) {
	given := c.String("older-than")
	if given == "" {
		given = def
	}
	age, err := parseDuration(given)
	if err != nil || age < 0 {
		return 0, usagef(doing(c), "--older-than: %q is no time: 90s, 2h, 0", given)
	}
	return age, nil
}

func listUploads(out io.Writer, now func() time.Time) storeAction {
	return func(c *cli.Context, store s3client.Store, bucket string) error {
		age, err := olderThan(c, "0")
		if err != nil {
			return err
		}
		list, err := oldUploads(c, store, bucket, age, now())
		if err != nil {
			return err
		}
		if c.Bool("sizes") {
			if list, err = sizedUploads(c.Context, store, bucket, list); err != nil {
				return err
			}
		}
		return printUploads(out, list, c.Bool("json"))
	}
}

func printUploads(out io.Writer, list []uploadJSON, asJSON bool) error {
	if asJSON {
		return printJSON(out, list)
	}
	for _, u := range list {
		if err := u.print(out); err != nil {
			return err
		}
	}
	return nil
}

// sizedUploads asks what the store has of each. One that has ended meanwhile is left out.
func sizedUploads(ctx context.Context, store s3client.Store, bucket string, list []uploadJSON) ([]uploadJSON, error) {
	const atOnce = 16
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range list {
		u := &list[i]
		group.Go(func() error {
			parts, err := store.Parts(ctx, bucket, u.Key, u.ID)
			switch {
			case errors.Is(err, s3client.NotFound):
				return nil
			case err != nil:
				return err
			}
			n, bytes := len(parts), int64(0)
			for _, p := range parts {
				bytes += p.Size
			}
			u.Parts, u.Bytes = &n, &bytes
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	left := make([]uploadJSON, 0, len(list))
	for _, u := range list {
		if u.Parts != nil {
			left = append(left, u)
		}
	}
	return left, nil
}

// abortUploads leaves those alone that a mount of this host is at, unless all are to go (an age of 0). It goes on after an upload that cannot be aborted, and reports the first such error at the end.
func abortUploads(out io.Writer, now func() time.Time) storeAction {
	return func(c *cli.Context, store s3client.Store, bucket string) error {
		age, err := olderThan(c, abortAge)
		if err != nil {
			return err
		}
		list, err := oldUploads(c, store, bucket, age, now())
		if err != nil {
			return err
		}
		aborted := make([]uploadJSON, 0, len(list))
		var first error
		for _, u := range list {
			if u.Mount != "" && age > 0 {
				continue
			}
			if !c.Bool("dry-run") {
				err := store.AbortUpload(c.Context, bucket, u.Key, u.ID)
				if errors.Is(err, s3client.NotFound) { // finished or aborted meanwhile
					continue
				}
				if err != nil {
					if first == nil {
						first = err
					}
					continue
				}
			}
			if aborted = append(aborted, u); !c.Bool("json") {
				if err := u.print(out); err != nil {
					return err
				}
			}
		}
		if c.Bool("json") {
			if err := printJSON(out, aborted); err != nil {
				return err
			}
		}
		return first
	}
}
