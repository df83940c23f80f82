package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// reorder moves the flags of a command before its arguments, because the cli library stops looking for flags at the
// first argument, and mount(8) calls `mount.pailfs BUCKET DIR -o ...`. Everything behind "--" is an argument. A word
// after a flag that takes a value is that value. "-oX" is "-o X".
func reorder(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	head, leaf := leafOf(app, args)
	if leaf == nil {
		return args
	}
	valued := valuedFlags(leaf)
	var flags, positional []string
	rest := args[head:]
	for i := 0; i < len(rest); i++ {
		a := rest[i]
		switch {
		case a == "--":
			positional = append(positional, rest[i+1:]...)
			i = len(rest)
		case len(a) < 2 || a[0] != '-':
			positional = append(positional, a)
		case valued["o"] && len(a) > 2 && strings.HasPrefix(a, "-o") && a[2] != '=':
			flags = append(flags, "-o", a[2:])
		default:
			flags = append(flags, a)
			name := strings.TrimLeft(a, "-")
			if valued[name] && i+1 < len(rest) {
				i++
				flags = append(flags, rest[i])
			}
		}
	}
	out := append([]string{}, args[:head]...)
	out = append(out, flags...)
	if len(positional) > 0 {
		out = append(append(out, "--"), positional...)
	}
	return out
}

// leafOf finds the command that args call and where its own words begin. Nil when no command is named, or when the
// command is a group without one of its own: the library then says what is wrong.
func leafOf(app *cli.App, args []string) (int, *cli.Command) {
	cmds := app.Commands
	var leaf *cli.Command
	for i := 1; i < len(args); i++ {
		var found *cli.Command
		for _, c := range cmds {
			if c.HasName(args[i]) {
				found = c
			}
		}
		if found == nil {
			return 0, nil
		}
		leaf, cmds = found, found.Subcommands
		if len(cmds) == 0 {
			return i + 1, leaf
		}
	}
	return 0, nil
}

// valuedFlags are the names of a command's flags that take a value.
func valuedFlags(c *cli.Command) map[string]bool {
	valued := map[string]bool{}
	for _, f := range c.Flags {
		if d, ok := f.(cli.DocGenerationFlag); ok && d.TakesValue() && !standsAlone(f) {
			for _, n := range f.Names() {
				valued[n] = true
			}
		}
	}
	return valued
}

// standsAlone says whether a flag's value, if any, is behind a "=": the next word never is.
func standsAlone(f cli.Flag) bool {
	g, ok := f.(*cli.GenericFlag)
	if !ok {
		return false
	}
	b, ok := g.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}
