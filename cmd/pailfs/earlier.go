package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"pailfs/fs/content"
	"pailfs/fs/journal"
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

// journalDir is where the mount at a place has its journal.
func journalDir(stateDir, mountpoint string) string {
	return filepath.Join(stateDir, "mounts", escapeName(mountpoint))
}

// leftInJournal is what a process that is gone had not stored, as far as its journal knows: a change whose answer it did not
// live to write down is among it.
func leftInJournal(dir string) (list []unsavedFile, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	j, err := journal.OpenWith(journal.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	files, err := j.Pendings()
	for _, f := range files {
		list = append(list, unsavedFile{Path: f.Bucket + "/" + f.Key, Bytes: f.Size, Since: f.Time, Earlier: true})
	}
	for _, n := range j.Notes(outbox.NoteKind) {
		op, bad := outbox.Decode(n.Seq, n.Data)
		if bad != nil {
			err = errors.Join(err, bad)
			continue
		}
		list = append(list, unsavedFile{Path: op.Bucket + "/" + op.Key, Change: string(op.Kind), Since: op.Time, Earlier: true})
	}
	for _, n := range j.Notes(renameKind) {
		in, bad := decodeRename(n.Data)
		if bad != nil {
			err = errors.Join(err, bad)
			continue
		}
		list = append(list, unsavedFile{Path: in.FromBucket + "/" + in.From, Change: changeRename, Since: in.Begun, Earlier: true})
	}
	err = errors.Join(err, j.Close())
	if len(list) > 0 {
		return list, nil // that is enough to say
	}
	return nil, err
}
