package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// repeats is a log handler that lets a warning about one file through when it comes first, and then at growing intervals:
// what cannot be stored is tried again and again, for hours where the store is away. A line that is let through says how
// many there were since the last one. Lines are one another's repetition when level, text and the first of the attributes
// file, name and path are the same, of a path the errno as well; a line without such an attribute always passes. So a close that
// fails by three descriptors of one file is one line, and a program that tries again and again does not fill a disk.
type repeats struct {
	to   slog.Handler
	now  func() time.Time
	name string // from With: the file that all lines are about
	seen *seenLines
}

// seenLines is shared by a handler and those made of it.
type seenLines struct {
	mu struct {
		sync.Mutex
		lines map[seenLine]*lineTimes
	}
}

type seenLine struct {
	level             slog.Level
	text, name, errno string
}

type lineTimes struct {
	last  time.Time     // that one passed
	pause time.Duration // until the next may
	held  int           // since
}

const (
	firstPause   = time.Minute
	longestPause = time.Hour
	mostLines    = 10_000 // remembered; a file that is stored at last is forgotten by its age
)

func newRepeats(to slog.Handler, now func() time.Time) *repeats {
	r := &repeats{to: to, now: now, seen: &seenLines{}}
	r.seen.mu.lines = map[seenLine]*lineTimes{}
	return r
}

func (r *repeats) Enabled(ctx context.Context, level slog.Level) bool {
	return r.to.Enabled(ctx, level)
}

func (r *repeats) Handle(ctx context.Context, line slog.Record) error {
	name, errno := r.name, ""
	line.Attrs(func(a slog.Attr) bool {
		if name == "" {
			name = subjectOf(a)
		}
		if a.Key == "errno" {
			errno = a.Value.String()
		}
		return true
	})
	if line.Level < slog.LevelWarn || name == "" {
		return r.to.Handle(ctx, line)
	}
	times, pass := r.seen.pass(seenLine{line.Level, line.Message, name, errno}, r.now())
	if !pass {
		return nil
	}
	if times > 1 {
		line = line.Clone()
		line.AddAttrs(slog.Int("times", times))
	}
	return r.to.Handle(ctx, line)
}

// subjectOf is the file that an attribute names, "" for other attributes.
func subjectOf(a slog.Attr) string {
	if a.Key == "file" || a.Key == "name" || a.Key == "path" {
		return a.Value.String()
	}
	return ""
}

// pass says whether a line may go out, and how many it stands for.
func (s *seenLines) pass(line seenLine, now time.Time) (times int, pass bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.mu.lines[line]
	switch {
	case t == nil || now.Sub(t.last) > 2*longestPause:
		s.makeRoomLocked(now)
		s.mu.lines[line] = &lineTimes{last: now, pause: firstPause}
		return 1, true
	case now.Sub(t.last) < t.pause:
		t.held++
		return 0, false
	}
	times, t.held = t.held+1, 0
	t.last, t.pause = now, min(2*t.pause, longestPause)
	return times, true
}

// makeRoomLocked forgets what has not come again for long; all, when that is not enough.
func (s *seenLines) makeRoomLocked(now time.Time) {
	if len(s.mu.lines) < mostLines {
		return
	}
	for line, t := range s.mu.lines {
		if now.Sub(t.last) > 2*longestPause {
			delete(s.mu.lines, line)
		}
	}
	if len(s.mu.lines) >= mostLines {
		clear(s.mu.lines)
	}
}

func (r *repeats) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *r
	with.to = r.to.WithAttrs(attrs)
	for _, a := range attrs {
		if with.name == "" {
			with.name = subjectOf(a)
		}
	}
	return &with
}

func (r *repeats) WithGroup(name string) slog.Handler {
	with := *r
	with.to = r.to.WithGroup(name)
	return &with
}
