package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// fstabLines are the examples of the pages; contrib/fstab has them as well.
var fstabLines = []string{
	"s3://photos /mnt/photos pailfs _netdev,nofail,region=KR1,credentials_file=/etc/pailfs/credentials,allow_other 0 0",
	"s3://photos/2026 /mnt/2026 pailfs _netdev,noauto,x-systemd.automount,ro,region=KR1,credentials_file=/etc/pailfs/credentials 0 0",
	"s3:// /mnt/account pailfs _netdev,noauto,region=KR1,credentials_file=/etc/pailfs/credentials 0 0",
}

// fstabSection is what every page says of /etc/fstab, and what one says besides.
func (r *roff) fstabSection(more ...string) {
	r.section("FSTAB")
	r.paragraph("One bucket at boot, a part of one at its first use, and all buckets by hand:")
	for _, l := range fstabLines {
		r.verbatim(l)
	}
	for _, p := range more {
		r.paragraph(p)
	}
}

// mountPage is mount.pailfs(8).
func mountPage(r *roff, app *cli.App) {
	help := helpSections(helperHelp())
	r.named("mount a bucket of an S3-compatible object storage", helperNames...)
	r.section("SYNOPSIS")
	usage := sectionNamed(help, "USAGE").paragraphs()
	r.calls(usage)
	r.section("DESCRIPTION")
	r.paragraph("mount(8) calls this program for the types pailfs and fuse.pailfs. It is `pailfs` by another name.")
	r.about(usage[1:])
	r.section("OPTIONS")
	r.items(sectionNamed(help, "OPTIONS").items())
	r.section("MOUNT OPTIONS")
	r.paragraph("A switch stands alone, or with =true or =false. Names may be written with - in place of _. " +
		"Access keys are no mount options: everybody could read them.")
	for _, g := range groups {
		r.sub(g)
		for _, o := range options {
			switch {
			case o.group != g:
			case o.isSwitch():
				r.tableItem(bold(o.key()), o)
			default:
				r.tableItem(bold(o.key()+"=")+italic(o.value), o)
			}
		}
	}
	r.sub("Generic options")
	for _, i := range sectionNamed(helpSections(commandNamed(app.Commands, "mount").CustomHelpTemplate), "OPTIONS").items() {
		if strings.HasPrefix(i.head, "-o ") {
			r.paragraph(sentence(i.text))
		}
	}
	r.paragraph("`mount -o remount,OPTION` changes an option of a mount that is there; these can be changed: " + strings.ReplaceAll(strings.Join(liveOptions, ", "), "-", "_") + ".")
	r.fstabSection(
		"_netdev: not before there is a network, and unmounted before that goes. nofail: the host comes up without it. "+
			"Write s3://BUCKET in place of BUCKET: mount(8) takes a bucket's name for a file of that name in the directory it runs in. "+
			`A blank inside a field is \040, a comma inside a value \134, (a backslash, escaped, and the comma).`,
		"What stands in the environment of a shell is not there at boot: access keys come from credentials_file, from `/etc/pailfs/config.yaml` or from root's ~/.aws/credentials.",
		"`pailfs fstab` prints a line, and `pailfs mount --dry-run 'LINE'` says what one means and where each value is from.")
	r.section("EXIT STATUS")
	for _, e := range helperCodes {
		r.code(e.code, e.text)
	}
	r.see("pailfs(1)", "fstab(5)", "pailfs-config(5)", "systemd.automount(5)", "mount(8)", "umount.pailfs(8)")
}

// umountPage is umount.pailfs(8).
func umountPage(r *roff, _ *cli.App) {
	help := helpSections(umountHelperHelp())
	r.named("unmount a mount of pailfs, and wait until everything is stored", "umount.pailfs", "umount.fuse.pailfs")
	r.section("SYNOPSIS")
	usage := sectionNamed(help, "USAGE").paragraphs()
	r.calls(usage)
	r.section("DESCRIPTION")
	r.paragraph("umount(8) calls this program for mounts of pailfs. It is `pailfs` by another name.")
	r.about(usage[1:])
	r.section("OPTIONS")
	r.items(sectionNamed(help, "OPTIONS").items())
	r.section("EXIT STATUS")
	for _, e := range umountHelperCodes {
		r.code(e.code, e.text)
	}
	r.see("pailfs(1)", "mount.pailfs(8)", "umount(8)")
}

// calls are the first paragraph of a usage.
func (r *roff) calls(usage [][]string) {
	for i, call := range usage[0] {
		usage[0][i] = roffCall(call)
	}
	r.synopsis(usage[0]...)
}
