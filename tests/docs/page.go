// Package docs reads the pages of docs/ and README.md as their tests do: every fenced block says how it is checked.
//
// A block of language console is run, in the order of the page, on a host made for the page: lines that begin with "# " as root,
// with "$ " as the user me; a line that ends in a backslash, or the next of which begins with "> ", goes on there. What follows
// is what the command prints. Nothing below a command: what it prints is not compared. A command ends with 0.
//
// A comment on the line before the fence says something else:
//
//	<!-- check: exit 8 -->              run; the last command ends with 8
//	<!-- check: terminal -->            run at a terminal, where questions are answered: `question: answer`
//	<!-- check: file /etc/x 0600 -->    no command: the block is the content of that file from here on
//	<!-- check: system -->              run by tests/system in a booted systemd (files: `system /etc/x`)
//	<!-- check: container -->           run by tests/container, with podman
//	<!-- check: install -->             packages and targets of make that exist; tests install them, in their own way
//	<!-- check: message -->             messages of the program: each is in its source
//	<!-- check: part of FILE -->        lines of a file of the repository, which has a test of its own
//	<!-- check: manifest -->            kubectl or podman-compose, with files of the repository that have a test
//
// Lines of language fstab are, beside that, given to `pailfs mount --dry-run`.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Page is a file of Markdown.
type Page struct {
	Name   string // file name
	Lines  []string
	Blocks []Block
}

// Block is what stands between two fences.
type Block struct {
	Page     string
	Line     int    // of the opening fence, from 1
	Language string // "console"
	Check    string // "run", "file", ...
	Argument string // what follows the check's word
	Lines    []string
}

// Command is one of a console, with what it prints.
type Command struct {
	Line   int
	Root   bool
	Text   string // several lines where it goes on
	Output []string
}

// Read reads a page.
func Read(file string) (Page, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return Page{}, err
	}
	return Parse(filepath.Base(file), string(b))
}

// Parse reads a page's text. A block without a check is an error.
func Parse(name, text string) (Page, error) {
	p := Page{Name: name, Lines: strings.Split(text, "\n")}
	var open *Block
	check := ""
	for i, line := range p.Lines {
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			b := Block{Page: name, Line: i + 1, Language: language}
			if err := b.checkedBy(check); err != nil {
				return p, fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
			open = &b
		case fence:
			p.Blocks = append(p.Blocks, *open)
			open = nil
		case open != nil:
			open.Lines = append(open.Lines, line)
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			return p, fmt.Errorf("%s:%d: an indented fence is not read", name, i+1)
		}
		check = comment(line)
	}
	if open != nil {
		return p, fmt.Errorf("%s:%d: the block does not end", name, open.Line)
	}
	return p, nil
}

// comment is what stands in a line `<!-- check: ... -->`.
func comment(line string) string {
	text, ok := strings.CutPrefix(line, "<!-- check: ")
	if text, closed := strings.CutSuffix(text, " -->"); ok && closed {
		return text
	}
	return ""
}

// checks are those there are, and whether they say more.
var checks = map[string]bool{"run": false, "exit": true, "terminal": false, "file": true, "system": false, "container": false,
	"install": false, "message": false, "part": true, "manifest": false}

func (b *Block) checkedBy(text string) error {
	if text == "" {
		if b.Language != "console" {
			return fmt.Errorf("nothing says how this block (%q) is checked", b.Language)
		}
		text = "run"
	}
	b.Check, b.Argument, _ = strings.Cut(text, " ")
	more, known := checks[b.Check]
	switch {
	case !known:
		return fmt.Errorf("there is no check %q", b.Check)
	case more && b.Argument == "":
		return fmt.Errorf("check %q needs more words", b.Check)
	}
	return nil
}

// Text is the block as it would be copied.
func (b Block) Text() string { return strings.Join(b.Lines, "\n") + "\n" }

// Commands reads a console.
func (b Block) Commands() ([]Command, error) {
	var all []Command
	for i, line := range b.Lines {
		var last *Command
		if len(all) > 0 {
			last = &all[len(all)-1]
		}
		text, root := strings.CutPrefix(line, "# ")
		user := false
		if !root {
			text, user = strings.CutPrefix(line, "$ ")
		}
		more, goesOn := strings.CutPrefix(line, "> ")
		switch {
		case last != nil && len(last.Output) == 0 && strings.HasSuffix(last.Text, `\`):
			last.Text += "\n" + strings.TrimPrefix(line, "> ")
		case last != nil && len(last.Output) == 0 && goesOn:
			last.Text += "\n" + more
		case root || user:
			all = append(all, Command{Line: b.Line + i + 1, Root: root, Text: text})
		case last == nil:
			return nil, fmt.Errorf("%s:%d: %q is neither a command nor below one", b.Page, b.Line+i+1, line)
		default:
			last.Output = append(last.Output, line)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s:%d: a console without a command", b.Page, b.Line)
	}
	return all, nil
}
