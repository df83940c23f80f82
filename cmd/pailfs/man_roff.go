package main

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// roff is a manual page in the macros of man(7), as both groff and mandoc read them. The text that goes in is plain: what is
// between two backquotes and the long options become bold.
type roff struct {
	b     strings.Builder
	fresh bool // a heading was the last: no paragraph begins there
}

// roffWidth is where lines of the source end at the latest.
const roffWidth = 78

// title begins a page. What a page has no date of has none; that is so in a build without a commit.
func (r *roff) title(name, section, date, version, manual string) {
	fmt.Fprintf(&r.b, ".\\\" Made of the program's own tables: pailfs docs man %s.%s\n", name, section)
	fmt.Fprintf(&r.b, ".TH %s %s %q \"pailfs %s\" %s\n", roffArgument(strings.ToUpper(name)), section, date, roffEscape(version), roffArgument(manual))
	r.b.WriteString(".nh\n.ad l\n") // an option that is parted by a hyphen is another one
}

func (r *roff) section(name string) { r.heading(".SH", name) }
func (r *roff) sub(name string)     { r.heading(".SS", name) }

func (r *roff) heading(macro, name string) {
	fmt.Fprintf(&r.b, "%s %s\n", macro, roffArgument(name))
	r.fresh = true
}

// paragraph is running text.
func (r *roff) paragraph(text string) {
	if !r.fresh {
		r.b.WriteString(".PP\n")
	}
	r.fresh = false
	r.fill(roffInline(text))
}

// item is a term, in roff already, with what it means.
func (r *roff) item(term, text string) {
	r.b.WriteString(".TP\n")
	r.fresh = false
	r.line(term)
	r.fill(roffInline(text))
}

// more goes on with an item in a paragraph of its own.
func (r *roff) more(text string) {
	r.b.WriteString(".IP\n")
	r.fill(roffInline(text))
}

// verbatim is text whose lines and blanks stay as they are.
func (r *roff) verbatim(lines ...string) {
	if !r.fresh {
		r.b.WriteString(".PP\n")
	}
	r.fresh = false
	r.b.WriteString(".nf\n.RS 4\n")
	for _, l := range lines {
		r.line(roffEscape(l))
	}
	r.b.WriteString(".RE\n.fi\n")
}

// synopsis are calls, a line each; terms in roff.
func (r *roff) synopsis(calls ...string) {
	r.fresh = false
	r.b.WriteString(".nf\n")
	for _, c := range calls {
		r.line(c)
	}
	r.b.WriteString(".fi\n")
}

// fill breaks text, in roff already, into lines: one at the end of each sentence, and before roffWidth.
func (r *roff) fill(text string) {
	var line string
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > roffWidth-len(`\&`) {
			r.line(line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
		if strings.HasSuffix(word, ".") && !strings.HasSuffix(word, "..") {
			r.line(line)
			line = ""
		}
	}
	if line != "" {
		r.line(line)
	}
}

// line writes one that is text, whatever it begins with. An empty one stands for itself in verbatim text alone.
func (r *roff) line(text string) {
	if text == "" || text[0] == '.' || text[0] == '\'' {
		text = `\&` + text
	}
	r.b.WriteString(text + "\n")
}

// roffEscapes are the characters that roff or its fonts change: a hyphen would be a typographic one, which nobody can paste.
var roffEscapes = map[rune]string{
	'\\': `\(rs`, '-': `\-`, '\'': `\(aq`, '`': `\(ga`, '^': `\(ha`, '~': `\(ti`, '"': `\(dq`,
}

// roffEscape makes text stand for itself.
func roffEscape(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch escaped := roffEscapes[c]; {
		case escaped != "":
			b.WriteString(escaped)
		case c >= utf8.RuneSelf:
			fmt.Fprintf(&b, `\[u%04X]`, c)
		case c < ' ' || c == 0x7f: // no manual page has any
			b.WriteByte('?')
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// roffArgument is one argument of a macro.
func roffArgument(s string) string {
	s = roffEscape(s)
	if s == "" || strings.ContainsAny(s, " \t") {
		return `"` + s + `"`
	}
	return s
}

func bold(s string) string   { return `\fB` + roffEscape(s) + `\fR` }
func italic(s string) string { return `\fI` + roffEscape(s) + `\fR` }

var longOption = regexp.MustCompile(`(^|[^-\w])(--[a-z][a-z-]*[a-z])`)

// roffInline escapes running text and marks what is typed as it stands.
func roffInline(s string) string {
	var b strings.Builder
	parts := strings.Split(s, "`")
	for i, part := range parts {
		switch {
		case i%2 == 0:
			b.WriteString(roffOptions(part))
		case i == len(parts)-1: // one that nothing closes
			b.WriteString(roffEscape("`" + part))
		default:
			b.WriteString(bold(part))
		}
	}
	return b.String()
}

func roffOptions(s string) string {
	var b strings.Builder
	at := 0
	for _, m := range longOption.FindAllStringSubmatchIndex(s, -1) {
		b.WriteString(roffEscape(s[at:m[4]]) + bold(s[m[4]:m[5]]))
		at = m[5]
	}
	b.WriteString(roffEscape(s[at:]))
	return b.String()
}

// roffCall is a call as the help writes it, in roff: what is typed as it stands is bold, what stands for something else italic.
func roffCall(call string) string {
	words := strings.Fields(call)
	for i, w := range words {
		bare := strings.Trim(w, "[].,|")
		switch {
		case bare != "" && bare == strings.ToUpper(bare) && strings.ContainsFunc(bare, func(c rune) bool { return c >= 'A' && c <= 'Z' }) && bare[0] != '-':
			words[i] = italic(w)
		default:
			words[i] = roffTerm(w)
		}
	}
	return strings.Join(words, " ")
}

// roffTerm is a word whose values, behind "[" or "=", are italic, and bold else.
func roffTerm(w string) string {
	i := strings.IndexAny(w, "[=")
	if i <= 0 {
		return bold(w)
	}
	return bold(w[:i]) + italic(w[i:])
}
