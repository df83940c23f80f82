package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"pailfs/s3client"
)

// completing is the first word of a command line that asks what may stand in the place of its last one: `pailfs __complete
// WORDS... PART`. PART is what has been typed of that word, and may be empty. The answer's first line is a kind and a tab, and
// behind it what is left of PART where a file's name begins; the lines below are words that begin with PART, each with a
// tab and what it is. The kinds are: words, nothing else may stand there; files and directories, such may as well.
const completing = "__complete"

const (
	kindWords       = "words"
	kindFiles       = "files"
	kindDirectories = "directories"
)

// offer is a word that may stand there.
type offer struct{ word, about string }

// offers are all of them.
type offers struct {
	kind string
	list []offer
	part string // of a file's name
}

// complete answers such a line. Nothing to offer is no error.
func complete(app *cli.App, words []string, out io.Writer) int {
	if len(words) == 0 {
		words = []string{""}
	}
	part := words[len(words)-1]
	o := offersFor(app, words[:len(words)-1], part)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\t%s\n", o.kind, o.part)
	for _, w := range o.list {
		if strings.HasPrefix(w.word, part) && !strings.ContainsAny(w.word, "\t\n") {
			fmt.Fprintf(&b, "%s\t%s\n", w.word, strings.Join(strings.Fields(w.about), " "))
		}
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return exitGeneral
	}
	return exitOK
}

func offersFor(app *cli.App, before []string, part string) offers {
	command, rest := commandOf(app, before)
	flags, commands := app.Flags, app.Commands
	if command != nil {
		flags, commands = command.Flags, command.Subcommands
	}
	last := ""
	if len(rest) > 0 {
		last = rest[len(rest)-1]
	}
	name, value, hasValue := strings.Cut(part, "=")
	switch dashes := slices.Index(rest, "--"); {
	case dashes >= 0: // arguments alone
	case isFlag(last) && valueOf(flags, last):
		return valuesOf(strings.TrimLeft(last, "-"), "", part)
	case isFlag(part) && hasValue && valueOf(flags, name):
		return valuesOf(strings.TrimLeft(name, "-"), name+"=", value)
	case strings.HasPrefix(part, "-"):
		return offers{kind: kindWords, list: flagsLike(flags, part)}
	}
	switch {
	case len(commands) > 0 && len(rest) == 0:
		return offers{kind: kindWords, list: commandOffers(commands)}
	case command != nil && len(commands) == 0:
		return argumentsOf(command, rest, flags, part)
	}
	return offers{kind: kindWords}
}

// commandOf is the command that the words lead to, nil for none, and the words behind it.
func commandOf(app *cli.App, words []string) (*cli.Command, []string) {
	var command *cli.Command
	commands := app.Commands
	for i, w := range words {
		next := commandNamed(commands, w)
		if next == nil {
			return command, words[i:]
		}
		command, commands = next, next.Subcommands
	}
	return command, nil
}

func commandOffers(commands []*cli.Command) []offer {
	var all []offer
	for _, c := range commands {
		if !c.Hidden {
			all = append(all, offer{c.Name, c.Usage})
		}
	}
	return all
}

func isFlag(word string) bool { return len(word) > 1 && word[0] == '-' && word != "--" }

// valueOf says whether the word behind a flag is its value.
func valueOf(flags []cli.Flag, word string) bool {
	return valuedFlags(&cli.Command{Flags: flags})[strings.TrimLeft(word, "-")]
}

// flagsLike are the flags that a word is the beginning of; of short ones a word tells nothing.
func flagsLike(flags []cli.Flag, word string) []offer {
	all := []offer{{"--help", "show help"}}
	for _, f := range flags {
		about := ""
		if d, ok := f.(cli.DocGenerationFlag); ok {
			about = d.GetUsage()
		}
		for _, name := range f.Names() {
			if long := "--" + name; len(name) > 1 && strings.HasPrefix(long, word) {
				all = append(all, offer{long, about})
			}
		}
	}
	slices.SortFunc(all, func(a, b offer) int { return strings.Compare(a.word, b.word) })
	return all
}

// valuesOf are the values of an option of which part has been typed; before is what stands in the same word before it.
func valuesOf(name, before, part string) offers {
	if name == "o" {
		return mountWordsLike(before, part)
	}
	if list := choices(name); list != nil {
		return offers{kind: kindWords, list: prefixed(before, "", list)}
	}
	o, _ := optionNamed(options, name)
	switch {
	case o.value == "DIR":
		return offers{kind: kindDirectories, part: part}
	case o.value == "FILE", o.value == "PATH", name == "socket", name == "bundle":
		return offers{kind: kindFiles, part: part}
	}
	return offers{kind: kindWords}
}

// choices are the values of an option that has a set of them.
func choices(name string) []string {
	switch name {
	case "region":
		var all []string
		for _, r := range s3client.Regions {
			all = append(all, r.Name)
		}
		return all
	case "provider":
		return s3client.Providers
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	}
	o, _ := optionNamed(options, name)
	if strings.Contains(o.value, "|") && !strings.Contains(o.value, ":") {
		return strings.Split(o.value, "|")
	}
	return nil
}

func prefixed(before, about string, words []string) []offer {
	var all []offer
	for _, w := range words {
		all = append(all, offer{before + w, about})
	}
	return all
}

// genericWords are the words of -o that are no options of pailfs and that people write.
var genericWords = []offer{
	{"ro", "read-only"}, {"rw", "for reading and writing"}, {"nosuid", "no set-user-ID programs"}, {"nodev", "no devices"}, {"noexec", "no programs"},
	{"_netdev", "in fstab: not before there is a network"}, {"nofail", "in fstab: the host comes up without it"}, {"noauto", "in fstab: not at boot"},
	{"x-systemd.automount", "in fstab: at the first use"}, {"x-mount.mkdir", "make the mount point"},
}

// mountWordsLike are words of -o: the last one of a list that commas part.
func mountWordsLike(before, part string) offers {
	if i := strings.LastIndexByte(part, ','); i >= 0 && !strings.HasSuffix(part[:i], `\`) {
		before, part = before+part[:i+1], part[i+1:]
	}
	if name, value, ok := strings.Cut(part, "="); ok {
		return valuesOf(dashed(name), before+name+"=", value)
	}
	var all []offer
	for _, o := range options {
		word := o.key()
		if !o.isSwitch() {
			word += "="
		}
		all = append(all, offer{before + word, o.help})
	}
	for _, w := range genericWords {
		all = append(all, offer{before + w.word, w.about})
	}
	return offers{kind: kindWords, list: all}
}

// argumentsOf are what an argument of a command may be, by what its usage calls it.
func argumentsOf(command *cli.Command, rest []string, flags []cli.Flag, part string) offers {
	places := strings.Fields(command.ArgsUsage)
	given := argumentsIn(rest, flags)
	if n := len(places); n > 0 && given >= n && strings.HasSuffix(places[n-1], "...") {
		given = n - 1
	}
	if given >= len(places) {
		return offers{kind: kindWords}
	}
	switch place := strings.Trim(places[given], "[]."); {
	case strings.Contains(place, "|"):
		return offers{kind: kindWords, list: prefixed("", "", strings.Split(place, "|"))}
	case command.Name == "mount" && given == 0:
		return offers{kind: kindDirectories, list: namedMounts(), part: part}
	case slices.Contains([]string{"mount", "mount-helper", "fstab"}, command.Name):
		return offers{kind: kindDirectories, part: part}
	case command.Name == "log-level":
		list := prefixed("", "", choices("log-level"))
		if given == 0 {
			list = append(mountPoints(part), list...)
		}
		return offers{kind: kindWords, list: list}
	case place == "MOUNTPOINT":
		if list := mountPoints(part); len(list) > 0 {
			return offers{kind: kindWords, list: list}
		}
		return offers{kind: kindDirectories, part: part}
	case place == "PATH":
		return offers{kind: kindFiles, list: mountPoints(part), part: part}
	case place == "FILE":
		return offers{kind: kindFiles, part: part}
	}
	return offers{kind: kindWords} // a bucket: the store would have to be asked
}

// argumentsIn counts the arguments among words.
func argumentsIn(words []string, flags []cli.Flag) (n int) {
	for i := 0; i < len(words); i++ {
		switch {
		case words[i] == "--":
			return n + len(words) - i - 1
		case isFlag(words[i]):
			if valueOf(flags, words[i]) {
				i++
			}
		default:
			n++
		}
	}
	return n
}

// mountPoints are those of mounts that this user may see and whose names begin so.
func mountPoints(part string) []offer {
	var all []offer
	for _, v := range knownMounts(runDirs()) {
		if s, err := v.Read(); err == nil && shown(s.Mountpoint) == s.Mountpoint && strings.HasPrefix(s.Mountpoint, part) {
			all = append(all, offer{s.Mountpoint, shown(s.Source)})
		}
		v.Close()
	}
	return all
}

// namedMounts are those of the configuration files. Files that cannot be read have none.
func namedMounts() []offer {
	c, err := loadConfig(os.Getenv("PAILFS_CONFIG"), os.Getenv, os.Geteuid())
	if err != nil {
		return nil
	}
	var all []offer
	for _, name := range c.names() {
		if m := c.mount(name); shown(name) == name {
			all = append(all, offer{name, "mounted on " + shown(m.mountpoint)})
		}
	}
	return all
}
