package crash

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// trace is what happened to the paths of a world lately, for whoever has to find out how something was lost.
type trace struct {
	mu struct {
		sync.Mutex
		lines []line
	}
}

type line struct {
	at   time.Time
	path string // "" for what concerns all
	text string
}

const (
	mostLines = 20_000 // kept
	mostShown = 60
)

func (tr *trace) add(path, format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.mu.lines) == mostLines {
		tr.mu.lines = append(tr.mu.lines[:0], tr.mu.lines[mostLines/2:]...)
	}
	tr.mu.lines = append(tr.mu.lines, line{time.Now(), path, fmt.Sprintf(format, args...)})
}

// of are the last lines about some paths and about all.
func (tr *trace) of(paths ...string) string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var last []string
	for _, l := range slices.Backward(tr.mu.lines) {
		if l.path == "" || slices.Contains(paths, strings.TrimSuffix(l.path, "/")) {
			last = append(last, fmt.Sprintf("\n\t%s %s %s", l.at.UTC().Format("15:04:05.000"), l.path, l.text))
		}
		if len(last) == mostShown {
			break
		}
	}
	slices.Reverse(last)
	return strings.Join(last, "")
}
