package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func main() {
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// stdio is what a command talks through.
type stdio struct {
	args     []string // the command line as given, program name included
	in       io.Reader
	out, err io.Writer
}

// run is the whole program but for os.Exit: it carries args out and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	std := stdio{args, stdin, stdout, stderr}
	if len(args) > 1 && args[1] == completing {
		return complete(newApp(std), args[2:], stdout)
	}
	if h := mountHelperCalled(args); h != nil {
		return h.run(ctx, std)
	}
	if h := umountHelperCalled(args); h != nil {
		return h.run(ctx, std)
	}
	app := newApp(std)
	if len(args) == 2 && slices.Contains([]string{"--version", "-version", "-v", "-V"}, args[1]) {
		args = []string{args[0], "version"}
	}
	err := app.RunContext(ctx, reorder(app, args))
	if err == nil {
		return exitOK
	}
	f := failureOf(err)
	f.print(stderr)
	return f.code
}

// newApp builds the command line.
func newApp(std stdio) *cli.App {
	app := &cli.App{
		Name:                      "pailfs",
		Usage:                     "buckets of an S3-compatible object storage as directories",
		UsageText:                 "pailfs COMMAND [OPTIONS] [ARGUMENTS]",
		Reader:                    std.in,
		Writer:                    std.out,
		ErrWriter:                 std.err,
		HideVersion:               true,
		Suggest:                   true,
		DisableSliceFlagSeparator: true, // -o values are split by splitOptions, which knows \,
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              usageError,
		Action:                    noCommand,
		Commands: []*cli.Command{
			mountCommand(std), mountHelperCommand(std), umountCommand(std), statusCommand(std), flushCommand(std), refreshCommand(std), warmCommand(std),
			limitCommand(std), logLevelCommand(std),
			bucketCommand(std), uploadsCommand(std), doctorCommand(std), benchCommand(std), configCommand(std), fstabCommand(std), credentialsCommand(std),
			versionCommand(std), completionCommand(std), pageCommand(std), docsCommand(std), answersCommand(), leftCommand(std),
		},
	}
	leafDefaults(app.Commands)
	app.CustomAppHelpTemplate = appHelp(app)
	return app
}

// leafDefaults gives every command the same behaviour on wrong usage. A command that takes arguments has no "help"
// subcommand: it would shadow a bucket of that name.
func leafDefaults(cmds []*cli.Command) {
	for _, c := range cmds {
		c.OnUsageError = usageError
		c.HideHelpCommand = true
		if len(c.Subcommands) > 0 {
			c.Action = noSubcommand
			c.CustomHelpTemplate = groupHelp(c)
		}
		leafDefaults(c.Subcommands)
	}
}

// usageError turns a parse error of the flag package into a failure with a hint.
func usageError(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	command := strings.TrimSpace(c.Command.HelpName)
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: "); ok {
		name = "--" + strings.TrimLeft(name, "-")
		f := usagef(doing(c), "unknown option %s", name)
		f.hint = fmt.Sprintf("`%s --help` lists the options", command)
		if name == "--version" || name == "--v" {
			f.hint = "`pailfs version` says what this program is built from"
			return f
		}
		if near := nearest(strings.TrimLeft(name, "-"), flagNames(c.Command.Flags)); near != "" {
			f.hint = fmt.Sprintf("did you mean --%s? %s", near, f.hint)
		}
		return f
	}
	f := usagef(doing(c), "%s", text)
	f.hint = fmt.Sprintf("`%s --help` shows how it is used", command)
	return f
}

func flagNames(flags []cli.Flag) []string {
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	return names
}

// noCommand answers `pailfs` alone and a command nobody knows.
func noCommand(c *cli.Context) error {
	if !c.Args().Present() {
		return cli.ShowAppHelp(c)
	}
	f := usagef("", "unknown command %q", c.Args().First())
	f.hint = "`pailfs help` lists the commands"
	if near := nearest(c.Args().First(), commandNames(c.App.Commands)); near != "" {
		f.hint = fmt.Sprintf("did you mean `pailfs %s`? %s", near, f.hint)
	}
	return f
}

// noSubcommand answers a group of commands (bucket, uploads) called without one of its own.
func noSubcommand(c *cli.Context) error {
	if !c.Args().Present() {
		return cli.ShowSubcommandHelp(c)
	}
	f := usagef(doing(c), "unknown command %q", c.Args().First())
	f.hint = fmt.Sprintf("one of: %s", strings.Join(commandNames(c.Command.Subcommands), ", "))
	return f
}

func commandNames(cmds []*cli.Command) []string {
	var names []string
	for _, c := range cmds {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}

// doing is the command's name without the program's: "mount", "bucket acl set".
func doing(c *cli.Context) string {
	if c == nil || c.Command == nil {
		return ""
	}
	name := strings.TrimPrefix(c.Command.HelpName, c.App.HelpName)
	return strings.TrimSpace(strings.TrimPrefix(name, c.App.Name))
}

// failureOf makes any error a failure.
func failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return &failure{code: exitGeneral, message: err.Error()}
}
