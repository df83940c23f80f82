package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// pageCommand is `pailfs man`: the manual where it is not installed.
func pageCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "show a page of the manual", ArgsUsage: "[PAGE]",
		Description: "PAGE is pailfs, pailfs-config, mount.pailfs or umount.pailfs (default: pailfs). man(1) shows it on a terminal; elsewhere\n" +
			"it is printed in roff.",
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return usagef(doing(c), "one page at most, not %d arguments", c.NArg())
			}
			page := pageNamed(c.Args().First())
			text, err := manual(c.App, page, buildInfo())
			if err != nil {
				return usagef(doing(c), "%v", err)
			}
			return showPage(std, page, text)
		},
	}
}

// pageNamed is the file name of a page that is named with or without its section.
func pageNamed(name string) string {
	if name == "" {
		name = manualPages[0].name
	}
	for _, p := range manualPages {
		if p.name == name {
			return p.file()
		}
	}
	return name
}

func showPage(std stdio, page, text string) error {
	out, ok := std.out.(*os.File)
	man, err := exec.LookPath("man")
	if !ok || !term.IsTerminal(int(out.Fd())) || err != nil {
		_, err := io.WriteString(std.out, text)
		return err
	}
	dir, err := os.MkdirTemp("", "pailfs-man-")
	if err != nil {
		return fmt.Errorf("show the page: %w", err)
	}
	defer os.RemoveAll(dir)
	file := dir + "/" + page
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return fmt.Errorf("show the page: %w", err)
	}
	show := exec.Command(man, "-l", file)
	show.Stdin, show.Stdout, show.Stderr = os.Stdin, out, std.err
	for _, word := range os.Environ() { // a pager has no need of access keys
		if !strings.HasPrefix(word, "AWS_") && !strings.HasPrefix(word, "OS_") {
			show.Env = append(show.Env, word)
		}
	}
	if err := show.Run(); err != nil {
		return fmt.Errorf("show the page by %s: %w", man, err)
	}
	return nil
}
