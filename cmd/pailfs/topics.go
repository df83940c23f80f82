package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// topics are the commands in the order in which a reader meets them; the help and the manual page follow it.
var topics = []struct {
	name     string
	commands []string
}{
	{"Mount", []string{"mount", "umount", "fstab", "mount-helper"}},
	{"See and steer what is mounted", []string{"status", "flush", "refresh", "warm", "limit", "log-level"}},
	{"The store", []string{"bucket", "uploads", "credentials"}},
	{"This host", []string{"doctor", "bench", "config", "version", "completion", "man"}},
}

// helpExamples are the first steps, and what comes after them.
var helpExamples = []example{
	{"pailfs doctor --region KR1 photos", "can this host, with these access keys, use the bucket?"},
	{"pailfs mount --region KR1 photos /mnt/photos", "a bucket as a directory"},
	{"pailfs mount --region KR1 /mnt/account", "all buckets of the account"},
	{"pailfs status", "what is not stored yet, and how the store answers"},
	{"pailfs flush /mnt/photos", "store now what is not stored yet"},
	{"pailfs umount /mnt/photos", "comes back when everything is stored"},
	{"pailfs fstab --region KR1 photos /mnt/photos", "the line of /etc/fstab for it"},
}

// example is a command line, and what it is for where that is not plain.
type example struct{ line, about string }

// appHelp is the help of the program itself. The library takes it for a template: there is no action in it.
func appHelp(app *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, "NAME:\n   %s - %s\n\nUSAGE:\n   %s\n\nCOMMANDS:\n", app.Name, app.Usage, app.UsageText)
	for _, topic := range topics {
		fmt.Fprintf(&b, "   %s\n", topic.name)
		for _, name := range topic.commands {
			if c := commandNamed(app.Commands, name); c != nil {
				fmt.Fprintf(&b, "     %-17s %s\n", strings.Join(c.Names(), ", "), c.Usage)
			}
		}
		b.WriteByte('\n')
	}
	b.WriteString("EXAMPLES:\n")
	for _, e := range helpExamples {
		fmt.Fprintf(&b, "   %-50s %s\n", e.line, e.about)
	}
	b.WriteString("\n   `pailfs COMMAND --help` shows the options and examples of one; they may stand before or after the arguments.\n" +
		"   Manual pages, where they are installed: pailfs(1), mount.pailfs(8), umount.pailfs(8), pailfs-config(5).\n")
	return b.String()
}

// commandNamed finds one of several commands; nil where none is called so.
func commandNamed(commands []*cli.Command, name string) *cli.Command {
	i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(name) })
	if i < 0 {
		return nil
	}
	return commands[i]
}
