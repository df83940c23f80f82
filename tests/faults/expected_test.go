package faults

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// expectedFile is the table of results, data and document at once.
const expectedFile = "EXPECTED.md"

const (
	passing  = 0 // a fault that ends: once, few
	enduring = 1 // one that lasts
)

// place is a cell of the table.
type place struct {
	durability, op, class string
	reach                 int
}

func placeOf(c *cell) place {
	p := place{c.w.durability, c.op.name, c.fault.class, passing}
	if c.reach == lasting {
		p.reach = enduring
	}
	return p
}

// expected is the file: what may come of each class of faults, and what has come of each operation.
type expected struct {
	law  map[place][]string // durability is "", op is "" or one to which more may happen, class is "*" for all
	seen map[place][]string
}

const (
	lawTitle  = "## What may be"
	moreTitle = "## What else may be"
	seenTitle = "## What was seen with --durability="
)

// readExpected reads the tables of the file.
func readExpected() (*expected, error) {
	text, err := os.ReadFile(expectedFile)
	if err != nil {
		return nil, err
	}
	e := &expected{map[place][]string{}, map[place][]string{}}
	title, columns := "", []string(nil)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "## ") {
			title, columns = line, nil
		}
		if title == "" || !strings.HasPrefix(line, "|") {
			continue
		}
		fields := strings.Split(strings.Trim(line, "|"), "|")
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		switch {
		case columns == nil:
			columns = fields
		case strings.HasPrefix(fields[0], "-"):
		case len(fields) != len(columns):
			return nil, fmt.Errorf("%s: a row of %d fields, not %d: %s", expectedFile, len(fields), len(columns), line)
		default:
			e.row(title, columns, fields)
		}
	}
	return e, nil
}

func (e *expected) row(title string, columns, fields []string) {
	durability, seen := strings.CutPrefix(title, seenTitle)
	switch {
	case title == lawTitle:
		parse(e.law, place{class: fields[0]}, fields[2], fields[3])
	case title == moreTitle:
		parse(e.law, place{op: fields[0], class: fields[1]}, fields[2], fields[3])
	case seen:
		for i := 1; i < len(fields); i++ {
			parts := strings.Split(fields[i], " / ")
			parse(e.seen, place{durability: durability, op: fields[0], class: columns[i]}, parts[0], parts[len(parts)-1])
		}
	}
}

// parse adds the results of a fault that ends and of one that lasts.
func parse(to map[place][]string, p place, fields ...string) {
	for reach, field := range fields {
		p.reach = reach
		for outcome := range strings.SplitSeq(field, ", ") {
			if outcome != "" && outcome != "-" {
				add(to, p, outcome)
			}
		}
	}
}

// add notes a result, ok first.
func add(to map[place][]string, p place, outcome string) {
	if slices.Contains(to[p], outcome) {
		return
	}
	to[p] = append(to[p], outcome)
	slices.SortFunc(to[p], func(a, b string) int {
		if (a == "ok") != (b == "ok") {
			if a == "ok" {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
}

// allowed are the results that there may be of a cell of the table.
func (e *expected) allowed(p place) []string {
	all := e.law[place{class: p.class, reach: p.reach}]
	for _, class := range []string{p.class, "*"} {
		all = append(all[:len(all):len(all)], e.law[place{op: p.op, class: class, reach: p.reach}]...)
	}
	return all
}

const expectedHead = `# What comes of what

Each operation of a mount under each fault, as matrix_test.go does it between pailfs and a real server, with --timeout 3s. *ends*: the fault
befalls one request of the operation, whichever, or two on end; *lasts*: it befalls all, until the operation has ended. ` + "`ok`" + ` is a success
with the right result (or one that needed no request); ` + "`left`" + ` is the exit code 8 of ` + "`pailfs flush`" + `. Whatever the result: the store has what it
had, or all of what was asked for, and what write(2) has taken is stored once the fault is over; the mount shows what the store has.

The first two tables are what the test holds every result to; write them by hand. The others are what was seen, which it adds to:
` + "`make fault FAULTFLAGS=-record`" + `.
`

// String is the file.
func (e *expected) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n\n| fault | what it is | ends | lasts |\n|---|---|---|---|\n", expectedHead, lawTitle)
	for _, c := range classes {
		p, q := place{class: c}, place{class: c, reach: enduring}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c, classNotes[c], strings.Join(e.law[p], ", "), strings.Join(e.law[q], ", "))
	}
	fmt.Fprintf(&b, "\n%s\n\n| operation | fault | ends | lasts |\n|---|---|---|---|\n", moreTitle)
	for _, o := range ops {
		for _, c := range append([]string{"*"}, classes...) {
			p, q := place{op: o.name, class: c}, place{op: o.name, class: c, reach: enduring}
			if len(e.law[p])+len(e.law[q]) > 0 {
				fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", o.name, c, strings.Join(e.law[p], ", "), strings.Join(e.law[q], ", "))
			}
		}
	}
	for _, d := range durabilities {
		fmt.Fprintf(&b, "\n%s%s\n\nends / lasts; a dash where the fault befell no request, or was not tried.\n\n| operation | %s |\n|---%s|\n", seenTitle, d,
			strings.Join(classes, " | "), strings.Repeat("|---", len(classes)))
		for _, o := range ops {
			fmt.Fprintf(&b, "| %s |", o.name)
			for _, c := range classes {
				fmt.Fprintf(&b, " %s |", e.field(place{durability: d, op: o.name, class: c}))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func (e *expected) field(p place) string {
	var parts []string
	for reach := range 2 {
		p.reach = reach
		if all := strings.Join(e.seen[p], ", "); all != "" {
			parts = append(parts, all)
		} else {
			parts = append(parts, "-")
		}
	}
	if parts[0] == parts[1] {
		return parts[0]
	}
	return strings.Join(parts, " / ")
}
