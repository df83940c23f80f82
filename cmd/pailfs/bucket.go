package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"pailfs/s3client"
)

// storeAction is the body of a command that talks to the store: name is its first argument (a bucket), "" without one.
type storeAction func(c *cli.Context, store s3client.Store, name string) error

// storeCommand makes a command of a storeAction that takes between least and most arguments. cannot says what failed, with
// the first argument behind it.
func storeCommand(c *cli.Command, least, most int, cannot string, action storeAction) *cli.Command {
	c.CustomHelpTemplate = storeHelp(c.Flags)
	c.Flags = append(c.Flags, cliFlags(storeOptions())...)
	c.Action = func(ctx *cli.Context) error {
		if err := checkArguments(doing(ctx), usageOf(ctx), ctx.Args().Slice(), least, most); err != nil {
			return err
		}
		s, err := settingsOf(ctx, storeOptions())
		if err != nil {
			return err
		}
		name := ctx.Args().First()
		what := cannot
		if name != "" {
			what += " " + name
		}
		client, _, about, err := openStore(doing(ctx), what, name, s)
		if err != nil {
			return err
		}
		defer client.Close()
		if err := action(ctx, client, name); err != nil {
			return about.storeFailure(err)
		}
		return nil
	}
	return c
}

func usageOf(ctx *cli.Context) string {
	return strings.TrimSpace(fmt.Sprintf("%s [OPTIONS] %s", ctx.Command.HelpName, ctx.Command.ArgsUsage))
}

func bucketCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name: "bucket", Usage: "list, create and delete buckets, and their access rights",
		Subcommands: []*cli.Command{
			storeCommand(&cli.Command{Name: "list", Usage: "list the account's buckets", Flags: []cli.Flag{jsonFlag()}},
				0, 0, "list the buckets", listBuckets(std.out)),
			storeCommand(&cli.Command{Name: "create", Usage: "create a bucket", ArgsUsage: "BUCKET"}, 1, 1, "create bucket",
				func(c *cli.Context, store s3client.Store, name string) error {
					return store.CreateBucket(c.Context, name)
				}),
			storeCommand(&cli.Command{Name: "delete", Usage: "delete an empty bucket", ArgsUsage: "BUCKET"}, 1, 1, "delete bucket",
				func(c *cli.Context, store s3client.Store, name string) error {
					return store.DeleteBucket(c.Context, name)
				}),
			{Name: "acl", Usage: "show or set who may use a bucket", Subcommands: []*cli.Command{
				storeCommand(&cli.Command{Name: "get", Usage: "show a bucket's grants", ArgsUsage: "BUCKET", Flags: []cli.Flag{jsonFlag()}},
					1, 1, "read the ACL of bucket", getACL(std.out)),
				storeCommand(&cli.Command{Name: "set", Usage: "set one of the ready-made ACLs",
					ArgsUsage: "BUCKET private|public-read|public-read-write|authenticated-read"}, 2, 2, "set the ACL of bucket",
					func(c *cli.Context, store s3client.Store, name string) error {
						return store.SetBucketACL(c.Context, name, c.Args().Get(1))
					}),
			}},
			storeCommand(&cli.Command{Name: "location", Usage: "show a bucket's region", ArgsUsage: "BUCKET"}, 1, 1, "find the region of bucket",
				bucketLocation(std.out)),
		},
	}
}

// bucketJSON is a bucket in `pailfs bucket list --json`.
type bucketJSON struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"` // as the store says; Swift says the same of every bucket
}

func listBuckets(out io.Writer) storeAction {
	return func(c *cli.Context, store s3client.Store, _ string) error {
		buckets, err := store.Buckets(c.Context)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			list := make([]bucketJSON, 0, len(buckets))
			for _, b := range buckets {
				list = append(list, bucketJSON{b.Name, b.Created})
			}
			return printJSON(out, list)
		}
		for _, b := range buckets {
			if _, err := fmt.Fprintln(out, shown(b.Name)); err != nil {
				return err
			}
		}
		return nil
	}
}

// aclJSON is `pailfs bucket acl get --json`.
type aclJSON struct {
	Owner  string      `json:"owner"`
	Grants []grantJSON `json:"grants"`
}

type grantJSON struct {
	Grantee    string `json:"grantee"`
	Permission string `json:"permission"`
}

func getACL(out io.Writer) storeAction {
	return func(c *cli.Context, store s3client.Store, name string) error {
		acl, err := store.BucketACL(c.Context, name)
		if err != nil {
			return err
		}
		list := aclJSON{Owner: acl.Owner, Grants: []grantJSON{}}
		for _, g := range acl.Grants {
			list.Grants = append(list.Grants, grantJSON{g.Grantee, g.Permission})
		}
		if c.Bool("json") {
			return printJSON(out, list)
		}
		if _, err := fmt.Fprintf(out, "owner %s\n", oneLine(list.Owner)); err != nil {
			return err
		}
		for _, g := range list.Grants {
			if _, err := fmt.Fprintf(out, "%-12s %s\n", oneLine(g.Permission), oneLine(g.Grantee)); err != nil {
				return err
			}
		}
		return nil
	}
}

func bucketLocation(out io.Writer) storeAction {
	return func(c *cli.Context, store s3client.Store, name string) error {
		where, err := store.BucketLocation(c.Context, name)
		if err != nil {
			return err
		}
		if where == "" { // the store's default region has no name there
			where = store.Profile().Region
		}
		_, err = fmt.Fprintln(out, oneLine(where))
		return err
	}
}

// printJSON writes JSON that may as well stand on a terminal.
func printJSON(out io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := out.Write(quietJSON(b.Bytes()))
	return err
}

// quietJSON escapes what encoding/json leaves as it is and a terminal does not: all that disturbs it has no more than 16 bits.
func quietJSON(text []byte) []byte {
	loud := func(r rune) bool { return r != '\n' && disturbs(r) }
	if !bytes.ContainsFunc(text, loud) {
		return text
	}
	out := make([]byte, 0, len(text)+64)
	for _, r := range string(text) {
		if loud(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}
