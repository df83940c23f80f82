package main

import "github.com/urfave/cli/v2"

// configExample is the example of pailfs-config(5); contrib/config has a longer one.
var configExample = []string{
	"options:",
	"  region: KR1",
	"  credentials-file: /etc/pailfs/credentials",
	"",
	"mounts:",
	"  photos:                 # pailfs mount photos",
	"    source: photos/2026",
	"    mountpoint: /mnt/photos",
	"    allow-other: true",
	"    metadata-ttl: forever # nobody changes them any more",
	"  account:                # pailfs mount account",
	"    mountpoint: /mnt/account",
	"    o: [ro, noexec]",
	`    bucket-pattern: ["data-*", "logs-??"]`,
}

// configKeys are the names that are no options of `pailfs mount`.
var configKeys = []manualText{
	{"options", "What counts for all mounts, and for the commands that talk to the store."},
	{"mounts", "Named mounts: `pailfs mount NAME` and the service pailfs@NAME. A name is a word without slashes and blanks."},
	{"source", "In a mount: BUCKET or BUCKET/PREFIX. Without it all buckets of the account are mounted."},
	{"mountpoint", "In a mount: the directory, an absolute path."},
	{"o", "In a mount: words for mount(8) and the kernel, such as ro or noexec."},
	{"access-key, secret-key, session-token", "Access keys, in options or in a mount. A file with one in it must be readable by its owner alone."},
}

// configPage is pailfs-config(5).
func configPage(r *roff, _ *cli.App) {
	r.named("configuration files of pailfs", "pailfs-config")
	r.section("DESCRIPTION")
	for _, p := range []string{
		"`" + systemConfig + "` is for the whole host, `~/.config/pailfs/config.yaml` for one user; --config names another file in place of both. Neither has to be there. They are YAML.",
		"The user's file comes before the host's, option by option; a mount of the same name replaces the host's as a whole. " +
			"A mount's own options come before those of all. A flag wins over -o, -o over PAILFS_* variables, these over the files. " +
			"`pailfs mount --dry-run NAME` shows where each value is from, and `pailfs config check` what is wrong in the files.",
		"Values are written as on the command line: sizes as 10GiB, times as 5s or 2m, switches as true or false.",
	} {
		r.paragraph(p)
	}
	r.section("NAMES")
	r.texts(configKeys)
	r.paragraph("Every other name is that of an option of `pailfs mount`, without the dashes in front:")
	for _, g := range groups {
		r.sub(g)
		for _, o := range options {
			if o.group == g && o.name != "config" { // a file cannot name another
				value := o.value
				if o.isSwitch() {
					value = "true|false"
				}
				r.tableItem(bold(o.name+":")+" "+italic(value), o)
			}
		}
	}
	r.section("FILES")
	r.texts(manualFiles[:2])
	r.section("EXAMPLES")
	r.verbatim(configExample...)
	r.see("pailfs(1)", "mount.pailfs(8)")
}
