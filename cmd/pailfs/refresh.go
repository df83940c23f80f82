package main

import (
	"context"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

func refreshCommand(std stdio) *cli.Command {
	flags := []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON: an array with path, mountpoint and error for each PATH"}}
	return &cli.Command{
		Name: "refresh", Usage: "forget what is cached of names, so that changes made elsewhere are seen at once", ArgsUsage: "PATH...",
		Flags: flags,
		CustomHelpTemplate: plainHelp(flags, `   PATH is a file or directory on a mount, or was one; the mount point stands for all of it. All that is cached of its
   name and of the names below it is asked of the store again, whatever --metadata-ttl says. Content is kept: it
   belongs to a version, and another version is another content. Of a directory in which a program waits for the store, the
   kernel may keep what it knows for 10 s more.
`),
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				f := usagef("refresh", "a path inside a mount is needed")
				f.hint = "pailfs refresh [--json] PATH...; the mount point itself for all of it"
				return f
			}
			return refreshPaths(c.Context, std, locateFor("refresh"), c.Args().Slice(), c.Bool("json"))
		},
	}
}

// pathResult is a path in the JSON of refresh and warm.
type pathResult struct {
	Path       string `json:"path"`
	Mountpoint string `json:"mountpoint,omitempty"`
	Error      string `json:"error,omitempty"`
}

// noneReached tells whether all paths were given in vain: none is on a mount that answers.
func noneReached(paths []pathResult) bool {
	return !slices.ContainsFunc(paths, func(p pathResult) bool { return p.Mountpoint != "" })
}

// refreshPaths goes on after a path that fails, and returns the first failure.
func refreshPaths(ctx context.Context, std stdio, find locator, paths []string, asJSON bool) error {
	var failed failures
	results := []pathResult{}
	for _, given := range paths {
		result := pathResult{Path: given}
		err := find.in(given, func(p *place) error {
			result.Mountpoint = p.mountpoint
			return p.daemon("refresh").Refresh(ctx, p.path)
		})
		if err != nil {
			result.Error = failureOf(err).message
			failed.add(std, err)
		}
		results = append(results, result)
	}
	if asJSON {
		if err := printJSON(std.out, results); err != nil {
			return err
		}
	}
	return failed.result()
}

// locator finds the place of an argument.
type locator func(given string) (*place, error)

// locateFor finds places for a command, by the mount table as it is then. The working directory is looked up once: a
// refresh makes the kernel forget names, those that lead there too.
func locateFor(command string) locator {
	dirs, wd := runDirs(), workingDirectory()
	return func(given string) (*place, error) {
		if !utf8.ValidString(given) {
			return nil, &failure{code: exitNotFound, command: command, message: fmt.Sprintf("%s: no object has that name: it is not UTF-8", shown(given))}
		}
		table, err := readMounts()
		if err != nil {
			return nil, &failure{code: exitHost, command: command, message: fmt.Sprintf("the mount table cannot be read: %v", err)}
		}
		return table.locate(dirs, command, wd, mountpointOf(given))
	}
}

func (find locator) in(given string, do func(*place) error) error {
	p, err := find(given)
	if err != nil {
		return err
	}
	defer p.Close()
	return do(p)
}

// failures are those of several arguments: each is printed, the first decides the exit code.
type failures struct {
	first *failure
}

func (l *failures) add(std stdio, err error) {
	f := failureOf(err)
	f.print(std.err)
	if l.first == nil {
		l.first = f
	}
}

func (l *failures) result() error {
	if l.first == nil {
		return nil
	}
	return &failure{code: l.first.code, command: l.first.command, message: l.first.message, silent: true}
}
