package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// manualText is a term and what it means, where no other table has it.
type manualText struct{ term, text string }

var manualVariables = []manualText{
	{"PAILFS_*", "Each option of `pailfs mount`: --metadata-ttl is PAILFS_METADATA_TTL. " +
		"An empty variable counts as not set. A flag wins over -o, -o over the environment, the environment over configuration files."},
	{"PAILFS_RUN_DIR", "Directory of the runtime files, in place of /run/pailfs and $XDG_RUNTIME_DIR/pailfs."},
	{"AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN", "Access keys. They come before every file."},
	{"AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE, AWS_PROFILE", "Files with access keys, and the profile in them, in place of ~/.aws/credentials, ~/.aws/config and default."},
	{"OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_TENANT_ID, OS_PROJECT_NAME, OS_CLOUD and their like", "Who signs in to the identity service: `pailfs credentials`."},
	{"HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "The proxy on the way to the store."},
	{"XDG_CONFIG_HOME, XDG_CACHE_HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR", "Where the files of an ordinary user lie, in place of ~/.config, ~/.cache and ~/.local/state."},
}

var manualFiles = []manualText{
	{"/etc/pailfs/config.yaml, ~/.config/pailfs/config.yaml", "Options and named mounts: pailfs-config(5)."},
	{"/etc/pailfs/credentials", "Access keys that the service pailfs@.service reads, in the form of ~/.aws/credentials. Its mode is 0600."},
	{"/var/lib/pailfs, ~/.local/state/pailfs", "What the store does not have yet, and the logs (--state-dir). What lies here may be the only copy: it has to outlive the host's restart, and is deleted by nobody."},
	{"/var/cache/pailfs, ~/.cache/pailfs", "The disk cache (--cache-dir). It holds copies alone and may be deleted at any time."},
	{"/run/pailfs, $XDG_RUNTIME_DIR/pailfs", "Sockets and state of the mounts that are there."},
	{"pailfs@.service", "The unit that serves a mount which a configuration file names: `systemctl enable --now pailfs@NAME`."},
}

// pailfsPage is pailfs(1).
func pailfsPage(r *roff, app *cli.App) {
	r.named(app.Usage, app.Name)
	r.section("SYNOPSIS")
	r.synopsis(roffCall("pailfs mount [OPTIONS] [BUCKET[/PREFIX]] MOUNTPOINT"), roffCall("pailfs mount [OPTIONS] NAME"),
		roffCall("pailfs umount MOUNTPOINT"), roffCall("pailfs status [MOUNTPOINT]"), roffCall("pailfs COMMAND [OPTIONS] [ARGUMENTS]"))
	r.section("DESCRIPTION")
	for _, p := range []string{
		"`pailfs` mounts the buckets of an S3-compatible object storage as directories. " +
			"One object is one file, readable by every other S3 tool; nothing of a format of its own is stored.",
		"When close(2) or fsync(2) has returned without an error, the store has the file. With --durability=journal close(2) returns when " +
			"the file is safe on this host's disk; it is stored in the background, and fsync(2) or `pailfs flush` wait for the store. " +
			"What was acknowledged and is not stored yet outlives a crash: the next mount of the same mount point stores it.",
		"A reader sees one version of an object, whole, or the error ESTALE. What this host does, it sees at once; what others do, after --metadata-ttl. " +
			"When the store does not answer, cached data stays readable; everything else is an error within --timeout, never a file that is not there.",
	} {
		r.paragraph(p)
	}
	r.pailfsOptions(app)
	r.section("ACCESS KEYS")
	r.about(sectionNamed(helpSections(commandNamed(app.Commands, "mount").CustomHelpTemplate), "CREDENTIALS").paragraphs())
	had := &said{examples: slices.Clone(helpExamples)}
	r.section("COMMANDS")
	for _, topic := range topics {
		r.sub(topic.name)
		for _, name := range topic.commands {
			r.command("pailfs", commandNamed(app.Commands, name), had)
			had.options, had.about = nil, nil
		}
	}
	r.fstabSection("`pailfs fstab` prints a line of `/etc/fstab` for a mount, and `pailfs mount --dry-run 'LINE'` says what one means: mount.pailfs(8).")
	r.section("ENVIRONMENT")
	r.texts(manualVariables)
	r.section("FILES")
	r.texts(manualFiles)
	r.section("EXIT STATUS")
	for _, e := range exitCodes {
		r.code(e.code, e.text)
	}
	r.section("EXAMPLES")
	r.examples(had.examples)
	r.see("pailfs-config(5)", "mount.pailfs(8)", "umount.pailfs(8)", "fusermount3(1)", "fstab(5)", "systemd.automount(5)", "mount(8)")
}

// pailfsOptions are those of a mount.
func (r *roff) pailfsOptions(app *cli.App) {
	r.section("OPTIONS")
	r.paragraph("These are the options of `pailfs mount`. The commands that talk to the store take those that concern it, and each command some of its own: " +
		"`pailfs COMMAND --help` lists them. Options may stand before or after the arguments.")
	help := sectionNamed(helpSections(commandNamed(app.Commands, "mount").CustomHelpTemplate), "OPTIONS")
	for _, g := range groups {
		r.sub(g)
		for _, o := range options {
			if o.group == g {
				r.tableItem(roffHead(optionHead(o)), o)
			}
		}
		if g == groupRunning {
			r.items(help.items(optionHeads()...)) // --dry-run and -o
		}
	}
}

// optionHead is an option as its help shows it.
func optionHead(o option) string {
	head := "--" + o.name
	if o.short != "" {
		head += ", -" + o.short
	}
	if !o.isSwitch() {
		head += " " + o.value
	}
	return head
}

func optionHeads() []string {
	var all []string
	for _, o := range options {
		all = append(all, optionHead(o))
	}
	return all
}

// said is what the commands before have said already: a reader of one page need not read it twice.
type said struct {
	examples []example
	options  []helpItem
	about    []string
}

// command is a command with its own options; a group of them is its commands. Its examples are gathered for the end.
func (r *roff) command(before string, c *cli.Command, had *said) {
	name := before + " " + c.Name
	for _, sub := range c.Subcommands {
		if !sub.Hidden && sub.Name != "help" {
			r.command(name, sub, had)
		}
	}
	if len(c.Subcommands) > 0 {
		return
	}
	r.item(roffCall(strings.TrimSpace(name+" "+c.ArgsUsage)), sentence(c.Usage))
	help := helpSections(c.CustomHelpTemplate)
	usage := sectionNamed(help, "USAGE").paragraphs()
	for _, p := range usage[min(1, len(usage)):] { // the first is the call itself
		if text := strings.Join(p, " "); !slices.Contains(had.about, text) {
			r.more(text)
			had.about = append(had.about, text)
		}
	}
	if c.Name == "mount" {
		r.more("The options are above.")
	} else {
		r.ownOptions(sectionNamed(help, "OPTIONS").items(optionHeads()...), had)
	}
	for _, e := range sectionNamed(help, "EXAMPLES", "EXAMPLE").examples() {
		if !slices.ContainsFunc(had.examples, func(shown example) bool { return shown.line == e.line }) {
			had.examples = append(had.examples, e)
		}
	}
}

func (r *roff) ownOptions(items []helpItem, had *said) {
	var again []string
	begun := false
	for _, i := range items {
		if slices.Contains(had.options, i) {
			again = append(again, "`"+i.head+"`")
			continue
		}
		if !begun {
			r.b.WriteString(".RS\n")
		}
		begun = true
		r.items([]helpItem{i})
		had.options = append(had.options, i)
	}
	if begun {
		r.b.WriteString(".RE\n")
	}
	if len(again) > 0 {
		r.more("As above: " + strings.Join(again, ", ") + ".")
	}
}

func (r *roff) texts(list []manualText) {
	for _, t := range list {
		r.item(bold(t.term), t.text)
	}
}
