package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
)

// cliFlags makes the library's flags from the table. The library neither reads the environment nor fills in defaults:
// resolve does, so that -o can stand between a flag and a variable.
func cliFlags(opts []option) []cli.Flag {
	var flags []cli.Flag
	for _, o := range opts {
		var aliases []string
		if o.short != "" {
			aliases = []string{o.short}
		}
		if o.isSwitch() {
			flags = append(flags, &cli.BoolFlag{Name: o.name, Aliases: aliases, Category: o.group, Usage: o.help})
		} else {
			flags = append(flags, &cli.StringFlag{Name: o.name, Aliases: aliases, Category: o.group, Usage: o.help})
		}
	}
	return flags
}

// mountFlags are all options of a mount and -o itself.
func mountFlags() []cli.Flag {
	return append(cliFlags(options),
		&cli.StringSliceFlag{Name: "o", Category: groupRunning, Usage: "mount options, separated by commas"},
		&cli.BoolFlag{Name: "dry-run", Category: groupRunning, Usage: "mount nothing: " + dryRunHelp})
}

// settingsOf resolves the options of a command from its flags, -o, the environment and the configuration files.
func settingsOf(c *cli.Context, opts []option) (*settings, error) {
	for _, n := range unknownVariables(os.Environ()) {
		if _, err := fmt.Fprintf(c.App.ErrWriter, "pailfs: note: %s\n", n); err != nil {
			return nil, err
		}
	}
	r := requestOf(c, opts)
	if err := r.configure(); err != nil {
		return nil, err
	}
	return r.settings()
}
