package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// logLevelCommand changes how much a mount logs.
func logLevelCommand(std stdio) *cli.Command {
	cmd := &cli.Command{
		Name: "log-level", Usage: "change how much a mount logs, while it is mounted", ArgsUsage: "[MOUNTPOINT] [LEVEL]",
		CustomHelpTemplate: plainHelp(nil, `   LEVEL is debug, info, warn or error; without it the level is shown. Without MOUNTPOINT the only mount of this user
   is meant. debug logs each request of the kernel and each to the store: much, and quickly.
`),
		Action: func(c *cli.Context) error {
			given, level, err := levelArguments(c.Args().Slice())
			if err != nil {
				return err
			}
			change := map[string]string{}
			if level != "" {
				change[optionLogLevel] = level
			}
			return tuned(c.Context, "log-level", given, change, func(now map[string]string) {
				fmt.Fprintln(std.out, now[optionLogLevel])
			})
		},
	}
	return cmd
}

// levelArguments tells a mount point from a level: a directory of a level's name is ./debug.
func levelArguments(args []string) (given, level string, err error) {
	isLevel := func(word string) bool { return parseLevel(&settings{}, word) == nil }
	switch {
	case len(args) == 0:
		return "", "", nil
	case len(args) == 1 && isLevel(args[0]):
		return "", args[0], nil
	case len(args) == 1:
		return args[0], "", nil
	case len(args) == 2 && isLevel(args[1]):
		return args[0], args[1], nil
	}
	f := usagef("log-level", "%s is no level: debug, info, warn or error", shown(args[len(args)-1]))
	f.hint = "pailfs log-level [MOUNTPOINT] [LEVEL]"
	return "", "", f
}

// limitCommand changes how much of the network and of the store's patience a mount takes.
func limitCommand(std stdio) *cli.Command {
	flags := []cli.Flag{}
	for _, name := range liveOptions {
		if o, ok := optionNamed(options, name); ok && o.group == groupLimits {
			flags = append(flags, &cli.StringFlag{Name: o.name, Usage: o.help})
		}
	}
	cmd := &cli.Command{
		Name: "limit", Usage: "change a mount's limits, while it is mounted", ArgsUsage: "[MOUNTPOINT]", Flags: flags,
		CustomHelpTemplate: plainHelp(flags, `   Without options the limits are shown. Without MOUNTPOINT the only mount of this user is meant. What is on its way
   follows at once, and what waits for its turn. The next mount begins with its own options again. mount(8) does the
   same: mount -o remount,bandwidth=10MiB MOUNTPOINT.
`),
		Action: func(c *cli.Context) error {
			const usage = "pailfs limit [--bandwidth SIZE[:SIZE]] [--write-rate N] [--max-requests N] [MOUNTPOINT]"
			if err := checkArguments("limit", usage, c.Args().Slice(), 0, 1); err != nil {
				return err
			}
			change := map[string]string{}
			for _, name := range liveOptions {
				if c.IsSet(name) {
					change[name] = c.String(name)
				}
			}
			return tuned(c.Context, "limit", c.Args().First(), change, func(now map[string]string) {
				fmt.Fprintln(std.out, limitsText(now))
			})
		},
	}
	return cmd
}

// limitsText says the limits in a line.
func limitsText(now map[string]string) string {
	var s settings
	text := "bandwidth: "
	if err := parseBandwidth(&s, now[optionBandwidth]); err == nil {
		text += s.Bandwidth.words()
	}
	rate := "no limit"
	if n, err := strconv.ParseFloat(now[optionWriteRate], 64); err == nil && n > 0 {
		rate = now[optionWriteRate] + " a second"
	}
	return fmt.Sprintf("%s; writes: %s; requests: %s in flight", text, rate, now[optionMaxRequests])
}

// tuned changes options of the mount that a path lies in, and shows what they are then.
func tuned(ctx context.Context, command, given string, change map[string]string, show func(map[string]string)) error {
	p, err := placeOrOnly(command, given)
	if err != nil {
		return err
	}
	defer p.Close()
	now, err := p.daemon(command).Tune(ctx, change)
	if err == nil {
		show(now)
	}
	return err
}

// placeOrOnly is the place of a path, or the only mount when there is none.
func placeOrOnly(command, given string) (*place, error) {
	if given != "" {
		return locateFor(command)(given)
	}
	var found []*place
	for _, v := range knownMounts(runDirs()) {
		if s, err := v.Read(); err == nil && !v.Ended() {
			found = append(found, &place{mountpoint: s.Mountpoint, view: v})
			continue
		}
		v.Close()
	}
	if len(found) == 1 {
		return found[0], nil
	}
	names := []string{}
	for _, p := range found {
		names = append(names, shown(p.mountpoint))
		p.Close()
	}
	if len(names) == 0 {
		return nil, &failure{code: exitMountPoint, command: command, message: "nothing is mounted"}
	}
	f := usagef(command, "which of %d mounts?", len(names))
	f.hint = "one of " + strings.Join(names, ", ")
	return nil, f
}
