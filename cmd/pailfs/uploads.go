package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

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
				Flags: []cli.Flag{jsonFlag(), prefix}}, 1, 1, "list the uploads of", listUploads(std.out)),
			storeCommand(&cli.Command{Name: "abort", Usage: "abort unfinished uploads", ArgsUsage: "BUCKET",
				Flags: []cli.Flag{prefix,
					&cli.StringFlag{Name: "older-than", Usage: "only those begun longer ago than this; 0 takes all, also of mounts that are writing (default: " + abortAge + ")"},
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
}

func listUploads(out io.Writer) storeAction {
	return func(c *cli.Context, store s3client.Store, bucket string) error {
		uploads, err := store.Uploads(c.Context, bucket, c.String("prefix"))
		if err != nil {
			return err
		}
		if c.Bool("json") {
			list := make([]uploadJSON, 0, len(uploads))
			for _, u := range uploads {
				list = append(list, uploadJSON{u.Key, u.ID, u.Initiated})
			}
			return printJSON(out, list)
		}
		for _, u := range uploads {
			if err := printUpload(out, u); err != nil {
				return err
			}
		}
		return nil
	}
}

func printUpload(out io.Writer, u s3client.Upload) error {
	_, err := fmt.Fprintf(out, "%s  %s  %s\n", u.Initiated.UTC().Format(time.RFC3339), u.ID, oneLine(u.Key))
	return err
}

// abortUploads goes on after an upload that cannot be aborted, and reports the first such error at the end.
func abortUploads(out io.Writer, now func() time.Time) storeAction {
	return func(c *cli.Context, store s3client.Store, bucket string) error {
		given := c.String("older-than")
		if given == "" {
			given = abortAge
		}
		age, err := parseDuration(given)
		if err != nil || age < 0 {
			return usagef(doing(c), "--older-than: %q is no time: 90s, 2h, 0", given)
		}
		uploads, err := store.Uploads(c.Context, bucket, c.String("prefix"))
		if err != nil {
			return err
		}
		var first error
		for _, u := range uploads {
			if age > 0 && now().Sub(u.Initiated) < age {
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
			if err := printUpload(out, u); err != nil {
				return err
			}
		}
		return first
	}
}
