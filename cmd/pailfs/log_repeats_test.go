package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestRepeatedWarningsAreHeldBack(t *testing.T) {
	var b strings.Builder
	now := testNow
	log := slog.New(newRepeats(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}), func() time.Time { return now }))
	for range 60 * 5 { // five hours, a try a minute
		log.Warn("not stored", "file", "b/a", "err", errors.New("denied"))
		now = now.Add(time.Minute)
	}
	var want strings.Builder
	for _, times := range []int{1, 1, 2, 4, 8, 16, 32, 60, 60, 60} { // 1, 1, 2, 4, ... minutes after the one before
		want.WriteString(`level=WARN msg="not stored" file=b/a err=denied`)
		if times > 1 {
			fmt.Fprintf(&want, " times=%d", times)
		}
		want.WriteByte('\n')
	}
	if b.String() != want.String() {
		t.Errorf("got\n%swant\n%s", b.String(), want.String())
	}
}

func TestWhatIsNoRepetition(t *testing.T) {
	var b strings.Builder
	log := slog.New(newRepeats(slog.NewTextHandler(&b, nil), func() time.Time { return testNow }))
	for range 2 {
		log.Info("stored", "file", "b/a") // not a warning
		log.Warn("the store is away")     // about no file
	}
	log.Warn("not stored", "file", "b/a")
	log.Warn("not stored", "file", "b/b")
	log.Error("not stored", "file", "b/a")
	log.Warn("not deleted", "name", "b/a")
	log.With("file", "b/c").Warn("not stored")
	log.WithGroup("g").Warn("not stored", "file", "b/d")
	if n := strings.Count(b.String(), "\n"); n != 10 {
		t.Errorf("%d lines\n%s", n, b.String())
	}
	before := b.Len()
	log.With("file", "b/c").Warn("not stored")
	log.Error("not stored", "file", "b/a", "err", "another")
	if b.Len() != before {
		t.Errorf("%s", b.String()[before:])
	}
}

func TestRememberedLinesAreBounded(t *testing.T) {
	r := newRepeats(slog.DiscardHandler, func() time.Time { return testNow })
	for i := range mostLines + 100 {
		line := slog.NewRecord(testNow, slog.LevelWarn, "not stored", 0)
		line.AddAttrs(slog.Int("file", i))
		if err := r.Handle(context.Background(), line); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.seen.mu.lines); n > mostLines {
		t.Errorf("%d lines are remembered", n)
	}
}
