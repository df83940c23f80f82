package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// manualPage is one page: pailfs.1 is pailfs in section 1.
type manualPage struct {
	name, section string
	manual        string // what the section is called
	write         func(*roff, *cli.App)
}

// manualPages are all of them. One without a writer is the page before it, by another name.
var manualPages = []manualPage{
	{"pailfs", "1", "User Commands", pailfsPage},
	{"pailfs-config", "5", "File Formats", configPage},
	{"mount.pailfs", "8", "System Administration", mountPage},
	{"mount.fuse.pailfs", "8", "", nil},
	{"umount.pailfs", "8", "System Administration", umountPage},
	{"umount.fuse.pailfs", "8", "", nil},
}

func (p manualPage) file() string { return p.name + "." + p.section }

// manCommand is `pailfs docs man`: what the packages' manual pages are made of.
func manCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "a manual page in roff, or the names of all", ArgsUsage: "[PAGE.SECTION]",
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return usagef(doing(c), "one page at most, not %d arguments", c.NArg())
			}
			text, err := manual(c.App, c.Args().First(), buildInfo())
			if err != nil {
				return usagef(doing(c), "%v", err)
			}
			_, err = io.WriteString(std.out, text)
			return err
		},
	}
}

// manual is the page of a file name, or the file names of all pages, a line each.
func manual(app *cli.App, file string, b build) (string, error) {
	var names strings.Builder
	last := ""
	for _, p := range manualPages {
		names.WriteString(p.file() + "\n")
		switch {
		case p.file() != file:
		case p.write == nil:
			return fmt.Sprintf(".so man%s/%s\n", p.section, last), nil
		default:
			var r roff
			day, _, _ := strings.Cut(b.Date, "T")
			r.title(p.name, p.section, day, b.Version, p.manual)
			p.write(&r, app)
			return r.b.String(), nil
		}
		last = p.file()
	}
	if file == "" {
		return names.String(), nil
	}
	return "", fmt.Errorf("no page %q: %s", file, strings.Join(strings.Fields(names.String()), ", "))
}

// named begins a page with its names and what they do in a line.
func (r *roff) named(what string, names ...string) {
	r.section("NAME")
	r.line(roffEscape(strings.Join(names, ", ")) + ` \- ` + roffEscape(what))
}

// about are the paragraphs of a help's text.
func (r *roff) about(paragraphs [][]string) {
	for _, p := range paragraphs {
		r.paragraph(strings.Join(p, " "))
	}
}

// items are the options of a help.
func (r *roff) items(items []helpItem) {
	for _, i := range items {
		r.item(roffHead(i.head), strings.TrimSuffix(i.text, ".")+".")
	}
}

// roffHead is an option as a help shows it: "--region NAME", "--watch[=VALUE]", "--foreground, -f".
func roffHead(head string) string {
	words := strings.Fields(head)
	for i, w := range words {
		bare, comma := strings.CutSuffix(w, ",")
		switch {
		case !strings.HasPrefix(w, "-"):
			words[i] = italic(w)
		case comma:
			words[i] = bold(bare) + ","
		default:
			words[i] = roffTerm(w)
		}
	}
	return strings.Join(words, " ")
}

// tableItem is an option of the table: what it is called, what it does and what it is when nobody says.
func (r *roff) tableItem(term string, o option) {
	text := o.help
	switch {
	case o.isSwitch():
	case o.def != "":
		text += " (default: " + o.def + ")"
	}
	r.item(term, text+".")
}

// codes are exit codes.
func (r *roff) code(code int, text string) { r.item(bold(strconv.Itoa(code)), text+".") }

// examples are command lines, each with what it is for.
func (r *roff) examples(list []example) {
	for _, e := range list {
		if e.about == "" {
			r.verbatim(e.line)
			continue
		}
		r.item(bold(e.line), e.about)
	}
}

// see are other pages.
func (r *roff) see(pages ...string) {
	r.section("SEE ALSO")
	for i, p := range pages {
		name, section, _ := strings.Cut(strings.TrimSuffix(p, ")"), "(")
		pages[i] = bold(name) + "(" + section + ")"
	}
	r.fresh = false
	for i, p := range pages {
		if i < len(pages)-1 {
			p += ","
		}
		r.line(p)
	}
}

// sentence is a usage, which begins small and ends without a stop, as one.
func sentence(usage string) string {
	if usage == "" {
		return ""
	}
	return strings.ToUpper(usage[:1]) + usage[1:] + "."
}
