package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// shown is a name as it may stand on a terminal: names of objects are anybody's, and are quoted where they are more than
// letters.
func shown(name string) string {
	if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

// printReports writes the reports for people.
func printReports(out io.Writer, reports []statusReport, now time.Time) error {
	var b strings.Builder
	if len(reports) == 0 {
		b.WriteString("nothing is mounted\n")
	}
	for i, r := range reports {
		if i > 0 {
			b.WriteByte('\n')
		}
		page{&b, now}.report(r)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// page is a text of aligned lines.
type page struct {
	b   *strings.Builder
	now time.Time
}

func (p page) line(name, format string, args ...any) {
	fmt.Fprintf(p.b, "  %-11s %s\n", name, oneLine(fmt.Sprintf(format, args...)))
}

func (p page) report(r statusReport) {
	fmt.Fprintf(p.b, "%s\n", shown(r.Mountpoint))
	p.line("state", "%s", stateText(r))
	p.line("source", "%s", shown(r.Source))
	version := ""
	if r.Version != "" {
		version = ", pailfs " + shown(r.Version)
	}
	if r.PID != 0 {
		p.line("process", "pid %d, since %s (%s)%s", r.PID, r.Since.Format("2006-01-02 15:04:05"), p.ago(r.Since), version)
	}
	if r.Store != nil {
		p.store(*r.Store)
	}
	if r.Unsaved != nil {
		p.unsaved(*r.Unsaved)
	}
	if r.Pending != nil {
		p.names(*r.Pending)
	}
	if r.Recovered != nil {
		p.recovered(*r.Recovered)
	}
	for _, n := range r.Renames {
		p.renaming(n)
	}
	if r.Journal != nil {
		p.journal(*r.Journal)
	}
	if r.Conflicts != nil {
		p.conflicts(*r.Conflicts)
	}
	p.caches(r)
	p.traffic(r)
	if r.LogFile != "" {
		level := ""
		if r.LogLevel != "" {
			level = ", level " + shown(r.LogLevel)
		}
		p.line("log", "%s%s", shown(r.LogFile), level)
	}
}

func (p page) renaming(n renameReport) {
	text := fmt.Sprintf("%s to %s: ", shown(n.From), shown(n.To))
	switch n.Stage {
	case "delete":
		text += fmt.Sprintf("%d copied, %d of the old names deleted", n.Copied, n.Deleted)
	case "undo":
		text += "a copy failed: it is being taken back"
	default:
		text += fmt.Sprintf("%d of %d found so far copied", n.Copied, n.Found)
	}
	text += "; since " + p.ago(n.Since)
	if n.Earlier {
		text += ", of an earlier run"
	}
	p.line("renaming", "%s", text)
}

func stateText(r statusReport) string {
	text := r.State
	if r.ReadOnly && text == stateServing {
		text += ", read-only"
	}
	if r.State == stateDetached {
		text += ": its mount point is gone; it ends when the last file is closed, and the last copy of the mount"
	}
	if r.State == stateDraining {
		text += ": unmounted, storing what is left"
		if r.Drain != nil {
			text += fmt.Sprintf(", %v", *r.Drain)
		}
	}
	if r.Why != "" {
		text += ": " + r.Why
	}
	return text
}

func (p page) store(s storeReport) {
	health := "answers"
	if s.Away {
		health = "away"
		if s.Since != nil {
			health += " for " + p.ago(*s.Since)
		}
		if s.Error != "" {
			health += ": " + s.Error
		}
	}
	if s.Requests > 0 {
		health += fmt.Sprintf("; last minute %s", latencyText(s))
	}
	p.line("store", "%s, region %s, %s; %s", shown(s.Endpoint), shown(s.Region), s.Provider, health)
	if s.Keys != "" {
		p.line("access keys", "%s", p.keysText(s))
	}
}

func (p page) keysText(s storeReport) string {
	text := shown(s.Keys)
	if s.KeysRead != nil {
		text += ", read " + p.ago(*s.KeysRead) + " ago"
	}
	if s.Trouble != "" {
		text += "; they cannot be read again: " + s.Trouble
	}
	return text
}

// latencyText is how quickly the store has answered.
func latencyText(s storeReport) string {
	return fmt.Sprintf("%d requests, half within %s, 99%% within %s", s.Requests, milliseconds(s.P50), milliseconds(s.P99))
}

// milliseconds writes a short time: 0.4 ms, 12 ms, 1.5 s.
func milliseconds(seconds float64) string {
	switch ms := seconds * 1000; {
	case ms < 1:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", seconds)
}

// limits are said where there are any besides the number of requests.
func (p page) limits(r statusReport) {
	l := r.Limits
	if l == nil {
		return
	}
	var words []string
	if l.Up > 0 || l.Down > 0 {
		words = append(words, "bandwidth "+bandwidth{l.Up, l.Down}.words())
	}
	if l.WriteRate > 0 {
		words = append(words, fmt.Sprintf("%g writes a second", l.WriteRate))
	}
	p.line("limits", "%s", strings.Join(append(words, fmt.Sprintf("%d requests in flight", l.Requests)), ", "))
}

func (p page) unsaved(u unsavedReport) {
	const most = 10
	if u.Count == 0 {
		p.line("unsaved", "none")
		return
	}
	text := fmt.Sprintf("%s, %s", files(u.Count), formatSize(u.Bytes))
	if u.Oldest != nil {
		text += ", oldest " + p.ago(*u.Oldest)
	}
	if u.Failed > 0 {
		text += fmt.Sprintf(", %d could not be stored", u.Failed)
	}
	p.line("unsaved", "%s", text)
	for i, f := range u.Files {
		if i == most {
			break
		}
		p.line("", "  %s", p.left(f))
	}
	if more := u.Count - min(len(u.Files), most); more > 0 {
		p.line("", "  and %d more", more)
	}
}

// left is what is not stored, why, and when it is tried again.
func (p page) left(f unsavedFile) string {
	text := f.what()
	if f.Error == "" {
		return text
	}
	text += ": " + strings.ReplaceAll(f.Error, " "+f.Path+":", ":") // the line has said which file
	if f.Tries > 1 {
		text += fmt.Sprintf("; %d tries", f.Tries)
	}
	switch {
	case f.Next == nil:
	case f.Next.Sub(p.now) < time.Second:
		text += "; being tried again"
	default:
		text += "; again in " + shortTime(f.Next.Sub(p.now))
	}
	return text
}

// names are the changes of names that wait; nothing where there are none.
func (p page) names(w pendingReport) {
	const most = 10
	if w.Names == 0 {
		return
	}
	var failed []unsavedFile
	for _, f := range w.Failures {
		if f.Change != "" {
			failed = append(failed, f)
		}
	}
	text := names(int64(w.Names)) + " to be changed in the store"
	if len(failed) > 0 {
		text += fmt.Sprintf(", %d could not be", len(failed))
	}
	p.line("changes", "%s", text)
	for i, f := range failed {
		if i == most {
			p.line("", "  and %d more", len(failed)-most)
			break
		}
		p.line("", "  %s", p.left(f))
	}
}

func (p page) recovered(r recoveredReport) {
	if r.Files+r.Names == 0 {
		return
	}
	p.line("recovered", "%s (%s) and %s of an earlier run: %d stored, %d waiting", files(r.Files), formatSize(r.Bytes), names(int64(r.Names)), r.Stored, r.Waiting)
}

func (p page) journal(j journalReport) {
	text := j.Durability
	if j.Durability == durabilityJournal {
		text += fmt.Sprintf(", at most %s behind", shortTime(time.Duration(j.MaxLag*float64(time.Second))))
	}
	p.line("durability", "%s; journal of %s: log %s, content %s and %s in memory; %d syncs for %d entries", text, files(j.Records),
		formatSize(j.Log), formatSize(j.Spool), formatSize(j.Memory), j.Syncs, j.Entries)
	for i, what := range j.Unreadable {
		if i == mostUnreadable {
			p.line("", "  and %d more", len(j.Unreadable)-i)
			break
		}
		p.line("", "  NOT READABLE, and so not stored: %s", shown(what))
	}
}

// mostUnreadable parts of a journal are named.
const mostUnreadable = 5

func (p page) conflicts(c conflictsReport) {
	const most = 10
	if c.Count == 0 {
		p.line("conflicts", "none")
		return
	}
	p.line("conflicts", "%s changed here and elsewhere, both versions kept", files(c.Count))
	shownFiles := c.Files[max(0, len(c.Files)-most):]
	for _, f := range shownFiles {
		p.line("", "  %s: the version of this mount is %s", shown(f.Path), shown(f.Kept))
	}
	if more := c.Count - len(shownFiles); more > 0 {
		p.line("", "  and %d more before these", more)
	}
}

func (p page) caches(r statusReport) {
	if m := r.Memory; m != nil {
		p.line("memory", "at most %s: %s cached, %s in flight, %s held; process %s", formatSize(m.Budget), formatSize(m.Cached),
			formatSize(m.InFlight), formatSize(m.Held), formatSize(m.RSS))
	}
	if b := r.Blocks; b != nil {
		text := fmt.Sprintf("%s of blocks from memory; %d fetches, %s", share(b.Hits, b.Misses), b.Fetches, formatSize(b.Fetched))
		if a := r.Ahead; a != nil && a.Fetched > 0 {
			text += fmt.Sprintf("; %d small files ahead, %d of them used", a.Fetched, a.Used)
		}
		p.line("reads", "%s", text)
	}
	if r.Disk != nil {
		p.disk(*r.Disk)
	}
	if r.Passthrough != nil {
		p.passthrough(*r.Passthrough)
	}
	if n := r.Names; n != nil {
		text := fmt.Sprintf("%d known, %d with attributes", n.Known, n.Attributes)
		if n.Changes > 0 {
			text += fmt.Sprintf(", %d changed here", n.Changes)
		}
		if n.Hidden > 0 {
			text += fmt.Sprintf(", %d keys hidden", n.Hidden)
		}
		p.line("names", "%s", text)
	}
}

func (p page) disk(d diskReport) {
	text := fmt.Sprintf("%s: %s of %s, %s; %s of blocks found", shown(d.Dir), formatSize(d.Bytes), formatSize(d.Limit), files(int(d.Files)), share(d.Hits, d.Misses))
	if d.Queued > 0 {
		text += fmt.Sprintf("; %s to be written", formatSize(d.Queued))
	}
	if d.Corrupt > 0 {
		text += fmt.Sprintf("; %d damaged", d.Corrupt)
	}
	if d.Paused != "" {
		text += "; paused: " + d.Paused
	}
	p.line("disk cache", "%s", text)
}

func (p page) passthrough(t passthroughReport) {
	text := "on"
	if !t.On {
		text = "off"
		if t.Why != "" {
			text += ": " + t.Why
		}
	}
	if t.Opens > 0 {
		text += fmt.Sprintf("; %d opens", t.Opens)
	}
	p.line("passthrough", "%s", text)
}

func (p page) traffic(r statusReport) {
	c := r.Requests
	if c == nil {
		return
	}
	p.line("requests", "%d: GET %d, HEAD %d, LIST %d, PUT %d, COPY %d, POST %d, DELETE %d; %d retries, %d throttled", c.Total(),
		c.Get, c.Head, c.List, c.Put, c.Copy, c.Post, c.Delete, c.Retries, c.Throttled)
	p.line("traffic", "%s in, %s out", formatSize(c.BytesIn), formatSize(c.BytesOut))
	p.limits(r)
	if o := r.Operations; o != nil {
		p.line("operations", "%d of the kernel, %d failed, %d being answered", o.Count, o.Failed, o.InFlight)
	}
	if r.MetricsAddr != "" {
		p.line("metrics", "%s", shown(r.MetricsAddr))
	}
}

// ago is how long something has been, in two units at most: 3d4h, 5m20s.
func (p page) ago(t time.Time) string { return shortTime(p.now.Sub(t)) }

func shortTime(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	units := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.size && i < len(units)-1 {
			continue
		}
		text := fmt.Sprintf("%d%s", d/u.size, u.name)
		if i+1 < len(units) && d%u.size >= units[i+1].size {
			text += fmt.Sprintf("%d%s", d%u.size/units[i+1].size, units[i+1].name)
		}
		return text
	}
	return ""
}

// share is the part of hits in per cent.
func share(hits, misses int64) string {
	if hits+misses == 0 {
		return "0%"
	}
	return fmt.Sprintf("%d%%", 100*hits/(hits+misses))
}
