package outbox

import (
	"strings"
	"time"
)

// A directory's marker, "d/", is deleted after what was deleted below it: stores over a file system refuse to remove a
// directory that is not empty, and who lists the bucket meanwhile sees no file without its directory. The marker does not
// wait for deletes that have failed or that a file with unsaved bytes keeps back: those may take for ever.

// countLocked keeps home.below right after something about an entry has changed.
func (b *Outbox) countLocked(e *entry, now time.Duration) {
	counts := e.kind == isDelete && e.place != gone && e.place != parked && (e.fail == nil || e.fail.err == nil)
	if counts == e.counted {
		return
	}
	e.counted = counts
	h := e.home
	for i := strings.LastIndexByte(strings.TrimSuffix(e.key, "/"), '/'); i >= 0; i = strings.LastIndexByte(e.key[:i], '/') {
		dir := e.key[:i+1]
		if counts {
			h.below[dir]++
			continue
		}
		if h.below[dir]--; h.below[dir] > 0 {
			continue
		}
		delete(h.below, dir)
		if marker := h.heads[dir]; marker != nil && marker.place == aside && marker.kind == isDelete {
			marker.due = max(marker.due, now+b.o.Delay) // for others that are set free now
			marker.last = max(marker.last, marker.due)
			b.placeLocked(marker, now)
			b.kickLocked()
		}
	}
}

// afterOthers says whether an entry lets others go first.
func (e *entry) afterOthers() bool {
	return e.kind == isDelete && len(e.home.below) > 0 && strings.HasSuffix(e.key, "/") && e.home.below[e.key] > 0
}
