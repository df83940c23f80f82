package main

import (
	"log/slog"

	"pailfs/fs/content"
	"pailfs/fs/outbox"
)

// earlierRun is what a mount has found of earlier runs that the store did not have.
type earlierRun struct {
	files int
	bytes int64
	names map[uint64]struct{} // by the numbers of their changes
}

func earlierOf(loaded []content.Earlier, ops []outbox.Op) earlierRun {
	e := earlierRun{files: len(loaded), names: make(map[uint64]struct{}, len(ops))}
	for _, f := range loaded {
		e.bytes += f.Size
	}
	for _, op := range ops {
		e.names[op.Seq] = struct{}{}
	}
	return e
}

// say tells of it, at mount.
func (e earlierRun) say(log *slog.Logger) {
	if e.files > 0 || len(e.names) > 0 {
		log.Info("an earlier run has left what the store does not have: storing it", "files", e.files, "size", formatSize(e.bytes), "names", len(e.names))
	}
}

// report says how much of it waits still.
func (e earlierRun) report(pending []unsavedFile) *recoveredReport {
	r := &recoveredReport{Files: e.files, Bytes: e.bytes, Names: len(e.names)}
	for _, f := range pending {
		if f.Earlier {
			r.Waiting++
		}
	}
	r.Waiting = min(r.Waiting, r.Files+r.Names) // what an earlier run left may have been split: a conflict
	r.Stored = r.Files + r.Names - r.Waiting
	return r
}
