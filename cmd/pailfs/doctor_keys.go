package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"pailfs/fs/tree"
	"pailfs/s3client"
)

// whyTexts says the reasons for which keys are not shown.
var whyTexts = map[tree.Why]string{
	tree.WhyEmpty:    "empty component",
	tree.WhyDots:     "component . or ..",
	tree.WhyLong:     "component over 255 bytes",
	tree.WhyNUL:      "NUL in the key",
	tree.WhyUTF8:     "not UTF-8",
	tree.WhyKeyLong:  "key over 1024 bytes",
	tree.WhyBlank:    "blanks alone",
	tree.WhyShadowed: "directory of this name",
	tree.WhyContent:  "content of a directory",
}

// unseen is an object that a mount does not show, in `pailfs doctor --keys --json`.
type unseen struct {
	Key   string   `json:"key"`                  // with U+FFFD for what is not UTF-8
	Bytes string   `json:"key_base64,omitempty"` // the key, where it is not UTF-8
	Size  int64    `json:"size"`
	Why   tree.Why `json:"why"`
	Text  string   `json:"text"`
}

func unseenOf(u tree.Unseen) unseen {
	out := unseen{Key: u.Key, Size: u.Size, Why: u.Why, Text: whyTexts[u.Why]}
	if !utf8.ValidString(u.Key) {
		out.Bytes = base64.StdEncoding.EncodeToString([]byte(u.Key))
	}
	return out
}

// line is the reason and the key, as it may stand on a terminal.
func (u unseen) line() string { return fmt.Sprintf("%-25s %s", u.Text, shown(u.Key)) }

// tally counts the objects that were looked at.
type tally struct {
	Keys   int64              `json:"keys"`
	Hidden int64              `json:"not_shown"`
	Counts map[tree.Why]int64 `json:"counts"`
	More   bool               `json:"-"` // there are more than were to be looked at
}

func objects(n int64) string {
	if n == 1 {
		return "1 object"
	}
	return fmt.Sprintf("%d objects", n)
}

// survey lists a bucket, at most so many pages (0: all), and gives each object that a mount does not show to hidden. It
// keeps a page. progress, where there is one, is told of each.
func survey(ctx context.Context, store s3client.Store, bucket, prefix string, pages int, hidden func(unseen) error, progress func(tally)) (tally, error) {
	n := tally{Counts: map[tree.Why]int64{}}
	census := tree.NewCensus(prefix)
	for after, page := "", 1; ; page++ {
		p, err := store.List(ctx, s3client.ListRequest{Bucket: bucket, Prefix: prefix, After: after})
		if err != nil {
			return n, err
		}
		for _, o := range p.Objects {
			n.Keys++
			for _, u := range census.Next(o) {
				n.Hidden++
				n.Counts[u.Why]++
				if err := hidden(unseenOf(u)); err != nil {
					return n, err
				}
			}
		}
		switch {
		case p.Next == "":
			return n, nil
		case p.Next <= after:
			return n, fmt.Errorf("the listing of %s does not go on behind %q", bucket, after)
		case page == pages:
			n.More = true
			return n, nil
		}
		after = p.Next
		if progress != nil {
			progress(n)
		}
	}
}

// listKeys is `pailfs doctor --keys`.
func (d *doctor) listKeys(ctx context.Context) error {
	cannot := "list the keys of " + strings.TrimSuffix(d.bucket+"/"+d.prefix, "/")
	client, _, about, err := openStore("doctor", cannot, d.bucket, d.s)
	if err != nil {
		return err
	}
	defer client.Close()
	out := bufio.NewWriter(d.std.out)
	list := keyList{out: out, json: d.json}
	show := newCountShow(d.std.err, d.now)
	list.begin()
	n, err := survey(ctx, client, d.bucket, d.prefix, 0, func(u unseen) error {
		show.clear()
		list.key(u)
		return nil
	}, func(n tally) {
		list.note(out.Flush())
		show.tell(n)
	})
	show.clear()
	list.end(n, err == nil)
	list.note(out.Flush())
	switch {
	case err != nil:
		f := about.storeFailure(err)
		if n.Keys > 0 {
			f.message += fmt.Sprintf(" (after %s)", objects(n.Keys))
		}
		return f
	case list.err != nil:
		return fmt.Errorf("print the keys: %w", list.err)
	}
	return nil
}

// keyList prints objects as they are found: lines, or one JSON object whose array is written piece by piece.
type keyList struct {
	out  io.Writer
	json bool
	some bool
	err  error
}

func (l *keyList) note(err error) { l.err = errors.Join(l.err, err) }

func (l *keyList) printf(format string, args ...any) {
	_, err := fmt.Fprintf(l.out, format, args...)
	if err != nil && l.err == nil {
		l.err = err
	}
}

func (l *keyList) begin() {
	if l.json {
		l.printf("{\n  \"objects\": [")
	}
}

func (l *keyList) key(u unseen) {
	if !l.json {
		l.printf("%s\n", u.line())
		return
	}
	b, err := json.Marshal(u)
	l.note(err)
	comma := ""
	if l.some {
		comma = ","
	}
	l.some = true
	l.printf("%s\n    %s", comma, quietJSON(b))
}

// end prints how many there are of each kind; whole is false when the listing broke off.
func (l *keyList) end(n tally, whole bool) {
	if l.json {
		b, err := json.Marshal(struct {
			tally
			Whole bool `json:"complete"`
		}{n, whole})
		l.note(err)
		l.printf("\n  ],\n  %s\n", strings.TrimPrefix(string(b), "{"))
		return
	}
	if !whole {
		return
	}
	if n.Hidden == 0 {
		l.printf("%s, all shown by a mount\n", objects(n.Keys))
		return
	}
	l.printf("\n%d of %s not shown by a mount:\n", n.Hidden, objects(n.Keys))
	for _, why := range tree.Whys {
		if n.Counts[why] > 0 {
			l.printf("%10d  %s\n", n.Counts[why], whyTexts[why])
		}
	}
}

// countShow says how far a listing is: on one line of a terminal, else a line every few seconds.
type countShow struct {
	out      io.Writer
	now      func() time.Time
	terminal bool
	began    time.Time
	told     time.Time
	drawn    bool
}

func newCountShow(out io.Writer, now func() time.Time) *countShow {
	_, terminal := terminalWidth(out)
	return &countShow{out: out, now: now, terminal: terminal, began: now(), told: now()}
}

func (s *countShow) tell(n tally) {
	now := s.now()
	text := fmt.Sprintf("listing: %s, %d not shown", objects(n.Keys), n.Hidden)
	if seconds := now.Sub(s.began).Seconds(); seconds >= 1 {
		text += fmt.Sprintf(", %.0f/s", float64(n.Keys)/seconds)
	}
	switch {
	case s.terminal:
		fmt.Fprint(s.out, "\r\x1b[K"+text)
		s.drawn = true
	case now.Sub(s.told) >= tellEvery:
		fmt.Fprintln(s.out, text)
		s.told = now
	}
}

func (s *countShow) clear() {
	if s.drawn {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.drawn = false
	}
}
