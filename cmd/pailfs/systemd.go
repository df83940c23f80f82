package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// drainSlack is what stopping may take beyond the time in which nothing moves: the kernel's goodbye, and the journal.
const drainSlack = unmountGrace + 30*time.Second

// drainPatience is how long the end of a mount may take from one movement to the next: a standstill is noticed a tick late.
func (p *mountPlan) drainPatience() time.Duration { return p.Timeout + p.Timeout/5 + drainSlack }

// tellSystemd says that the mount answers, and from then on how it is.
func (s *service) tellSystemd(m *mounted) {
	if s.notify == nil {
		return
	}
	s.notify.Ready()
	s.notify.Start(func() outlook { return s.outlook(m) }, rooms{m}.Alive, m.Server.Stirred)
	if hiddenFromHost("/proc") {
		s.log.Warn("this unit has a mount namespace of its own: other processes do not see the mount",
			"hint", "take ProtectSystem=, ProtectHome=, PrivateTmp=, PrivateMounts= and the like out of the unit (contrib/systemd)")
	}
}

// untellSystemd ends that, with a last word.
func (s *service) untellSystemd(last string) {
	if s.notify == nil {
		return
	}
	s.notify.Close()
	s.notify.Status(last)
}

// outlook is how the mount is, in a line. It takes the locks of the rooms that have something to store: one that hangs there
// gives no sign of life.
func (s *service) outlook(m *mounted) outlook {
	r := rooms{m}
	pending := slices.Concat(r.pendingFiles(), r.pendingNames())
	o := outlook{moved: m.moved() - int64(len(pending))}
	switch p := m.runtime.State().Progress; {
	case p != nil:
		o.text = fmt.Sprintf("unmounted, storing what is left: %v", *p)
		o.moved += p.Done + p.NamesDone
	case s.notify.ending():
		o.text = "stopping: " + pendingText(pending, time.Now())
	default:
		o.text = fmt.Sprintf("%s on %s: %s", shown(s.plan.source()), shown(s.plan.mountpoint), pendingText(pending, time.Now()))
		o.rests = len(pending) == 0
	}
	if h := m.client.Health(); h.Away {
		o.rests = false
		o.text += "; the store is away since " + h.Since.Format("15:04:05")
		if h.Err != nil {
			o.text += ": " + h.Err.Error()
		}
	}
	return o
}

// pendingText says what is not stored yet.
func pendingText(list []unsavedFile, now time.Time) string {
	if len(list) == 0 {
		return "everything is stored"
	}
	text := "to be stored: " + things(list, 0)
	p := pendingOf(list)
	if p.Oldest != nil {
		text += ", oldest " + shortTime(now.Sub(*p.Oldest))
	}
	if p.Failed > 0 {
		text += fmt.Sprintf(", %d could not be", p.Failed)
	}
	return text
}

// hiddenFromHost says whether this process, one of a unit, has another mount namespace than init. Where that cannot be found
// out it has not.
func hiddenFromHost(proc string) bool {
	own, err := os.Readlink(filepath.Join(proc, "self/ns/mnt"))
	if err != nil {
		return false
	}
	init, err := os.Readlink(filepath.Join(proc, "1/ns/mnt"))
	return err == nil && own != init
}

// credentialsOfUnit is the credentials file that a unit was given by LoadCredential=credentials:FILE, "" without one. One of
// comments alone stands for none: SetCredential= has no other way to say that.
func credentialsOfUnit(getenv func(string) string) string {
	dir := getenv("CREDENTIALS_DIRECTORY")
	if !filepath.IsAbs(dir) {
		return ""
	}
	name := filepath.Join(dir, "credentials")
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return name
		}
	}
	return ""
}
