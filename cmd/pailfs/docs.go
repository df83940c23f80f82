package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// docsCommand prints the parts of documents that are made of the program's own tables. Hidden: it is for who writes them.
func docsCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name: "docs", Usage: "print tables for the documents", Hidden: true,
		Subcommands: []*cli.Command{
			{Name: "options", Usage: "the options of a mount, in Markdown",
				Action: noArguments(func(*cli.Context) error { return optionsMarkdown(std.out) })},
			{Name: "helper", Usage: "the help of mount.pailfs",
				Action: noArguments(func(*cli.Context) error { _, err := io.WriteString(std.out, helperHelp()); return err })},
			{Name: "umounthelper", Usage: "the help of umount.fuse.pailfs",
				Action: noArguments(func(*cli.Context) error { _, err := io.WriteString(std.out, umountHelperHelp()); return err })},
			{Name: "exitcodes", Usage: "the exit codes, in Markdown",
				Action: noArguments(func(*cli.Context) error { return exitCodesMarkdown(std.out) })},
			{Name: "commands", Usage: "the commands, in Markdown",
				Action: noArguments(func(c *cli.Context) error { return commandsMarkdown(std.out, c.App) })},
			manCommand(std),
			{Name: "status", Usage: "the fields of `pailfs status --json`, in Markdown",
				Action: noArguments(func(*cli.Context) error { return statusMarkdown(std.out) })},
		},
	}
}

// optionsMarkdown is the table of options for README.
func optionsMarkdown(w io.Writer) error {
	var b strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&b, "### %s\n\n| Flag | `-o` | Environment | Default | What it does |\n|---|---|---|---|---|\n", g)
		for _, o := range options {
			if o.group != g {
				continue
			}
			flag, word, def := "--"+o.name, o.key(), o.def
			if o.short != "" {
				flag += ", -" + o.short
			}
			if !o.isSwitch() {
				flag += " " + o.value
				word += "=" + o.value
			} else {
				def = "off"
			}
			if def == "" {
				def = "none"
			}
			fmt.Fprintf(&b, "| `%s` | `%s` | `%s` | %s | %s |\n", cell(flag), cell(word), o.env(), cell(def), cell(o.help))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func exitCodesMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| Code | Meaning |\n|---|---|\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, "| %d | %s |\n", e.code, cell(e.text))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell keeps a bar inside a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// helpWidth is where help texts break.
const helpWidth = 100

// mountHelp is the whole help of `pailfs mount`, made of the table. It is a template of the cli library without actions.
func mountHelp() string {
	var b strings.Builder
	b.WriteString(`NAME:
   pailfs mount - mount a bucket, a part of one, or all buckets of the account

USAGE:
   pailfs mount [OPTIONS] [BUCKET[/PREFIX]] MOUNTPOINT
   pailfs mount [OPTIONS] NAME

   Without BUCKET the whole account is mounted, a directory for each bucket. NAME is a mount that a configuration file
   names (a directory of that name is ./NAME). Options may stand before or after the arguments. The command returns
   when the mount answers; it is then served in the background.

EXAMPLES:
   pailfs mount --region KR1 photos /mnt/photos          one bucket
   pailfs mount --region KR1 photos/2026 /mnt/photos     what lies under 2026/ in it
   pailfs mount --region KR1 /mnt/account                all buckets
   pailfs mount data /mnt -o region=KR1,ro,allow_other   options as mount(8) and fstab write them
   pailfs mount --dry-run "$(grep /mnt/photos /etc/fstab)"   what a line of fstab means
   pailfs mount --endpoint http://127.0.0.1:9000 --provider minio data /mnt
   pailfs umount /mnt/photos                             waits until everything is stored

CREDENTIALS:
   From AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, --credentials-file, ~/.aws/credentials (--profile), or the
   role of a container or instance. They are never given on the command line.

OPTIONS:
`)
	for _, g := range groups {
		fmt.Fprintf(&b, "   %s\n", g)
		for _, o := range options {
			if o.group == g {
				helpLine(&b, o)
			}
		}
		if g == groupRunning {
			helpText(&b, "--dry-run", "mount nothing: "+dryRunHelp)
			helpText(&b, "-o OPTION[,OPTION...]", "any option above by its name with - or _ (metadata_ttl=5s, read_only), and the generic "+
				"mount options ro, rw, nosuid, nodev, noexec, allow_other; x-mount.mkdir makes the mount point; _netdev, nofail, noauto and other x-* are "+
				`left to mount(8) and systemd; "\," is a comma inside a value, or one between double quotes`)
		}
		b.WriteByte('\n')
	}
	b.WriteString("   Each option is also an environment variable, --metadata-ttl is PAILFS_METADATA_TTL, and a line of a configuration\n" +
		"   file, metadata-ttl: 5s. A flag wins over -o, -o over the environment, that over the files; --dry-run shows which.\n" +
		"   Runtime files lie in /run/pailfs ($XDG_RUNTIME_DIR/pailfs for users), or PAILFS_RUN_DIR.\n\nEXIT CODES:\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, "   %3d  %s\n", e.code, e.text)
	}
	return b.String()
}

// groupHelp is the help of a command that has commands of its own.
func groupHelp(c *cli.Command) string {
	var b strings.Builder
	b.WriteString("NAME:\n   {{.HelpName}} - {{.Usage}}\n\nUSAGE:\n   {{.HelpName}} COMMAND [OPTIONS] [ARGUMENTS]\n\nCOMMANDS:\n")
	for _, sub := range c.Subcommands {
		if !sub.Hidden {
			fmt.Fprintf(&b, "   %-10s %s\n", sub.Name, sub.Usage)
		}
	}
	return b.String()
}

// storeHelp is the help of a command that talks to the store: its own flags and the options of the table, in the same
// form. It is a template: the library fills in the names.
func storeHelp(own []cli.Flag) string {
	var b strings.Builder
	b.WriteString("NAME:\n   {{.HelpName}} - {{.Usage}}\n\nUSAGE:\n   {{.HelpName}} [OPTIONS]{{with .ArgsUsage}} {{.}}{{end}}\n\nOPTIONS:\n")
	if len(own) > 0 {
		ownLines(&b, own)
		b.WriteByte('\n')
	}
	storeLines(&b, storeOptions())
	return b.String()
}

// ownLines are the flags that a command alone has.
func ownLines(b *strings.Builder, own []cli.Flag) {
	for _, f := range own {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		head := "--" + f.Names()[0]
		if len(f.Names()[0]) == 1 {
			head = head[1:]
		}
		switch {
		case standsAlone(f):
			head += "[=VALUE]"
		case d.TakesValue():
			head += " VALUE"
		}
		helpText(b, head, d.GetUsage())
	}
}

// storeLines are options in the words of a command that mounts nothing.
func storeLines(b *strings.Builder, opts []option) {
	for _, o := range opts {
		if o.alone != "" {
			o.help = o.alone
		}
		helpLine(b, o)
	}
}

func helpLine(b *strings.Builder, o option) {
	head := "--" + o.name
	if o.short != "" {
		head += ", -" + o.short
	}
	if !o.isSwitch() {
		head += " " + o.value
	}
	text := o.help
	if o.def != "" {
		text += " (default: " + o.def + ")"
	}
	helpText(b, head, text)
}

// helpText writes an option and what it does, broken into lines.
func helpText(b *strings.Builder, head, text string) {
	const indent = 32
	line := "     " + head
	if len(line)+2 > indent {
		b.WriteString(line + "\n")
		line = ""
	}
	line += strings.Repeat(" ", indent-len(line))
	empty := true
	for _, word := range strings.Fields(text) {
		if !empty && len(line)+1+len(word) > helpWidth {
			b.WriteString(line + "\n")
			line, empty = strings.Repeat(" ", indent), true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	b.WriteString(line + "\n")
}
