package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// printTable writes a line of each mount.
func printTable(out io.Writer, reports []statusReport, now time.Time) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(cells ...string) {
		for i, c := range cells {
			cells[i] = oneLine(c) // a tab in a name is quoted by shown
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	row("MOUNT POINT", "SOURCE", "STATE", "STORE", "P50", "P99", "NOT STORED", "FAILED", "OLDEST", "HITS")
	for _, r := range reports {
		row(rowOf(r, now)...)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	b.WriteString("`pailfs status MOUNTPOINT` tells more, --all of all\n")
	_, err := io.WriteString(out, trimLines(b.String()))
	return err
}

// rowOf has a dash for what is not known, or not to be said of it.
func rowOf(r statusReport, now time.Time) []string {
	const none = "-"
	state := r.State
	if r.ReadOnly && state == stateServing {
		state = "read-only"
	}
	store, p50, p99, left, failed, oldest, hits := none, none, none, none, none, none, none
	if s := r.Store; s != nil {
		store = "answers"
		if s.Away {
			store = "away"
			if s.Since != nil {
				store += " " + shortTime(now.Sub(*s.Since))
			}
		}
		if s.Requests > 0 {
			p50, p99 = milliseconds(s.P50), milliseconds(s.P99)
		}
	}
	switch p := r.Pending; {
	case p != nil:
		var words []string
		if p.Files > 0 {
			words = append(words, fmt.Sprintf("%s, %s", files(p.Files), formatSize(p.Bytes)))
		}
		if p.Names > 0 {
			words = append(words, names(int64(p.Names)))
		}
		left, failed = strings.Join(words, ", "), fmt.Sprint(p.Failed)
		if left == "" {
			left = "nothing"
		}
		if p.Oldest != nil {
			oldest = shortTime(now.Sub(*p.Oldest))
		}
	case r.Unsaved != nil:
		left, failed = fmt.Sprintf("%s, %s", files(r.Unsaved.Count), formatSize(r.Unsaved.Bytes)), fmt.Sprint(r.Unsaved.Failed)
	}
	if b := r.Blocks; b != nil && b.Hits+b.Misses > 0 {
		hits = share(b.Hits, b.Misses)
	}
	return []string{shown(r.Mountpoint), shown(r.Source), state, store, p50, p99, left, failed, oldest, hits}
}

// trimLines takes away the blanks that fill up last cells.
func trimLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(line, " \n"))
		b.WriteByte('\n')
	}
	return b.String()
}

// ready says whether a mount can be used, and why not: for probes that run a command.
func ready(ctx context.Context, std stdio, given string) error {
	p, err := placeOrOnly("status", given)
	if err != nil {
		return notReady(err)
	}
	defer p.Close()
	why, err := p.daemon("status").Ready(ctx)
	switch {
	case err != nil:
		return notReady(err)
	case why != "":
		return notReady(fmt.Errorf("%s: %s", shown(p.mountpoint), why))
	}
	_, err = fmt.Fprintf(std.out, "%s: ready\n", shown(p.mountpoint))
	return err
}

// notReady makes any reason one line and the exit code 1.
func notReady(err error) error {
	return &failure{code: exitGeneral, command: "status", message: "not ready: " + failureOf(err).message}
}
