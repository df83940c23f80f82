package main

import (
	"regexp"
	"slices"
	"strings"
)

// The help of a command is text of one form: headings at the left edge, below them paragraphs indented by three blanks, and in
// OPTIONS items indented by five. Manual pages are made of the same text, so that there is one to write and to keep.

// helpSection is one heading of a help with what is below it, the indentation taken away.
type helpSection struct {
	name  string
	lines []string
}

var helpHeading = regexp.MustCompile(`^([A-Z][A-Z ]*):$`)

// helpSections parts a help.
func helpSections(help string) []helpSection {
	var all []helpSection
	for line := range strings.SplitSeq(help, "\n") {
		if m := helpHeading.FindStringSubmatch(line); m != nil {
			all = append(all, helpSection{name: m[1]})
		} else if len(all) > 0 {
			last := &all[len(all)-1]
			last.lines = append(last.lines, strings.TrimPrefix(strings.TrimRight(line, " "), "   "))
		}
	}
	return all
}

// sectionNamed is the first section of one of these names, nil where there is none.
func sectionNamed(sections []helpSection, names ...string) *helpSection {
	i := slices.IndexFunc(sections, func(s helpSection) bool { return slices.Contains(names, s.name) })
	if i < 0 {
		return nil
	}
	return &sections[i]
}

// paragraphs are the lines between empty ones, each paragraph still in its lines.
func (s *helpSection) paragraphs() [][]string {
	if s == nil {
		return nil
	}
	var all [][]string
	open := false
	for _, line := range s.lines {
		switch {
		case line == "":
			open = false
		case open:
			all[len(all)-1] = append(all[len(all)-1], line)
		default:
			all, open = append(all, []string{line}), true
		}
	}
	return all
}

// helpItem is an option and what it does.
type helpItem struct{ head, text string }

var widerThanABlank = regexp.MustCompile(` {2,}`)

// items are the options of a section, without those that a reader finds elsewhere.
func (s *helpSection) items(elsewhere ...string) []helpItem {
	if s == nil {
		return nil
	}
	var all []helpItem
	for _, line := range s.lines {
		switch {
		case strings.HasPrefix(line, "  -"):
			head, text := line[2:], ""
			if at := widerThanABlank.FindStringIndex(head); at != nil {
				head, text = head[:at[0]], head[at[1]:]
			}
			all = append(all, helpItem{head, text})
		case strings.HasPrefix(line, "    ") && len(all) > 0:
			last := &all[len(all)-1]
			last.text = strings.TrimSpace(last.text + " " + strings.TrimSpace(line))
		}
	}
	return slices.DeleteFunc(all, func(i helpItem) bool { return slices.Contains(elsewhere, i.head) })
}

// examples are the command lines of a section. What one is for stands behind two blanks.
func (s *helpSection) examples() []example {
	if s == nil {
		return nil
	}
	var all []example
	for _, line := range s.lines {
		if line == "" {
			continue
		}
		e := example{line: line}
		if at := widerThanABlank.FindAllStringIndex(line, -1); at != nil {
			last := at[len(at)-1]
			e = example{line[:last[0]], strings.TrimPrefix(line[last[1]:], "# ")}
		}
		all = append(all, e)
	}
	return all
}
