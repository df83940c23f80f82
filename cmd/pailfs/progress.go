package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// terminalWidth is the width of a terminal, and whether w is one.
func terminalWidth(w io.Writer) (columns int, terminal bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns < 20 {
		columns = 80
	}
	return columns, true
}

// rateWindow is the time that a rate is taken over.
const rateWindow = 10 * time.Second

// meter makes a rate of totals.
type meter struct {
	samples []sample // of the last window, and the last one before it
}

type sample struct {
	at    time.Time
	bytes int64
}

func (m *meter) add(at time.Time, bytes int64) {
	m.samples = append(m.samples, sample{at, bytes})
	for len(m.samples) > 2 && at.Sub(m.samples[1].at) >= rateWindow {
		m.samples = m.samples[1:]
	}
}

// rate is in bytes a second, 0 while it is not known.
func (m *meter) rate() float64 {
	if len(m.samples) < 2 {
		return 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 || last.bytes < first.bytes {
		return 0
	}
	return float64(last.bytes-first.bytes) / seconds
}

// warmText is how far a warm is, in a line: bytes, files, rate, time left.
func warmText(p warmProgress, rate float64) string {
	text := fmt.Sprintf("%s of %s, %d of %s", formatSize(p.BytesDone), formatSize(p.Bytes), p.FilesDone, files(int(p.Files)))
	if p.Failed > 0 {
		text += fmt.Sprintf(", %d failed", p.Failed)
	}
	if rate >= 1 {
		text += fmt.Sprintf(", %s/s", formatSize(int64(rate)))
		if left := p.Bytes - p.BytesDone; left > 0 {
			text += fmt.Sprintf(", %s left", shortTime(time.Duration(float64(left)/rate*float64(time.Second))))
		}
	}
	return text
}

// bar draws a share of a total.
func bar(done, total int64, width int) string {
	filled := 0
	if total > 0 {
		filled = int(float64(width) * min(1, float64(done)/float64(total)))
	}
	return "[" + strings.Repeat("#", filled) + strings.Repeat("-", width-filled) + "]"
}

// flushText is how far a flush is, in a line.
func flushText(p flushProgress, rate float64) string {
	text := fmt.Sprintf("%s of %s, %d of %s", formatSize(p.BytesDone), formatSize(p.Bytes), p.FilesDone, files(int(p.Files)))
	if p.Names > 0 {
		text += fmt.Sprintf(", %d of %s", p.NamesDone, names(p.Names))
	}
	if rate >= 1 {
		text += fmt.Sprintf(", %s/s", formatSize(int64(rate)))
	}
	return text
}

// names counts changes of names.
func names(n int64) string {
	if n == 1 {
		return "1 name"
	}
	return fmt.Sprintf("%d names", n)
}

// storingText is how far the end of a mount is, in a line.
func storingText(p progress, rate float64) string {
	text := p.String()
	if rate >= 1 {
		text += fmt.Sprintf(", %s/s", formatSize(int64(rate)))
		if left := p.Total - p.Done; left > 0 {
			text += fmt.Sprintf(", %s left", shortTime(time.Duration(float64(left)/rate*float64(time.Second))))
		}
	}
	return text
}

// progressShow tells people how far something is: a bar on one line of a terminal, else a line every few seconds.
type progressShow struct {
	out   io.Writer
	width int               // of the terminal, 0 for none
	say   func(text string) // where there is no terminal
	now   func() time.Time

	meter meter
	told  time.Time
	drawn bool
}

// tellEvery is how often there is a line where there is no terminal.
const tellEvery = 5 * time.Second

func newProgressShow(doing string, out io.Writer, now func() time.Time) *progressShow {
	width, _ := terminalWidth(out)
	return &progressShow{out: out, width: width, now: now, told: now(), say: func(text string) { fmt.Fprintln(out, doing+": "+text) }}
}

// newStoringShow is that of a mount that ends: a bar where its standard error is a terminal, else lines of its log.
func newStoringShow(stderr io.Writer, log *slog.Logger) *progressShow {
	s := newProgressShow("storing", stderr, time.Now)
	s.say = func(text string) { log.Info("storing what is left", "progress", text) }
	return s
}

func (s *progressShow) warm(p warmProgress) {
	s.show(p.BytesDone, p.Bytes, func(rate float64) string { return warmText(p, rate) })
}

func (s *progressShow) flush(p flushProgress) {
	s.show(p.BytesDone, p.Bytes, func(rate float64) string { return flushText(p, rate) })
}

func (s *progressShow) storing(p progress) {
	done, total := p.Done, p.Total
	if total == 0 {
		done, total = p.NamesDone, p.Names
	}
	s.show(done, total, func(rate float64) string {
		if p.Total == 0 {
			rate = 0 // of names it says little
		}
		return storingText(p, rate)
	})
}

func (s *progressShow) show(done, total int64, say func(rate float64) string) {
	now := s.now()
	s.meter.add(now, done)
	text := say(s.meter.rate())
	if s.width == 0 {
		if now.Sub(s.told) >= tellEvery {
			s.say(text)
			s.told = now
		}
		return
	}
	const barWidth = 24
	if s.width > len(text)+barWidth+4 {
		text = bar(done, total, barWidth) + " " + text
	}
	fmt.Fprintf(s.out, "\r\x1b[K%.*s", s.width-1, text)
	s.drawn = true
}

// clear ends the line of a terminal.
func (s *progressShow) clear() {
	if s.drawn {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.drawn = false
	}
}
