package main

import (
	"log/slog"
	"path/filepath"

	"pailfs/fs/wired"
)

// sayEarlier tells, at mount, what earlier runs have left that the store does not have.
func sayEarlier(log *slog.Logger, e wired.Earlier) {
	if e.Files > 0 || len(e.Names) > 0 {
		log.Info("an earlier run has left what the store does not have: storing it", "files", e.Files, "size", formatSize(e.Bytes), "names", len(e.Names))
	}
}

// recoveredOf says how much of what earlier runs left waits still.
func recoveredOf(e wired.Earlier, pending []unsavedFile) *recoveredReport {
	r := &recoveredReport{Files: e.Files, Bytes: e.Bytes, Names: len(e.Names)}
	for _, f := range pending {
		if f.Earlier {
			r.Waiting++
		}
	}
	r.Waiting = min(r.Waiting, r.Files+r.Names) // what an earlier run left may have been split: a conflict
	r.Stored = r.Files + r.Names - r.Waiting
	return r
}

// kept lists what earlier runs left and this one could not take over.
func (m *mounted) kept() (list []unsavedFile) {
	for _, p := range m.Earlier.Lost {
		list = append(list, unsavedFile{Path: p.Bucket + "/" + p.Key, Bytes: p.Size, Since: p.Time, Error: "it cannot be read", Earlier: true})
	}
	return list
}

// journalDir is where the mount at a place has its journal.
func journalDir(stateDir, mountpoint string) string {
	return filepath.Join(stateDir, "mounts", escapeName(mountpoint))
}

// leftInJournal is what a process that is gone had not stored, as far as its journal knows: a change whose answer it did not
// live to write down is among it.
func leftInJournal(dir string) (list []unsavedFile, err error) {
	k, err := wired.KeptAt(dir)
	for _, f := range k.Files {
		list = append(list, unsavedFile{Path: f.Bucket + "/" + f.Key, Bytes: f.Size, Since: f.Time, Earlier: true})
	}
	for _, op := range k.Names {
		list = append(list, unsavedFile{Path: op.Bucket + "/" + op.Key, Change: string(op.Kind), Since: op.Time, Earlier: true})
	}
	for _, in := range k.Renames {
		list = append(list, unsavedFile{Path: in.FromBucket + "/" + in.From, Change: changeRename, Since: in.Begun, Earlier: true})
	}
	if len(list) > 0 {
		return list, nil // that is enough to say
	}
	return nil, err
}
