package main

import (
	"slices"
	"time"

	"pailfs/fs/outbox"
	"pailfs/fs/wired"
)

// pendingFiles are the files that the store does not have as they are here, those of earlier runs among them.
func (r rooms) pendingFiles() []unsavedFile { return unsavedFiles(r.Files.Unsaved(), r.kept()) }

// pendingNames are the changes of names that the store does not have yet.
func (r rooms) pendingNames() []unsavedFile {
	list := renamesOf(r.Renames.Pending())
	if r.Outbox != nil {
		list = append(list, namesOf(r.Outbox.Pending(), r.Earlier)...)
	}
	return list
}

// pendingBelow is what of both lies at a path (BUCKET/KEY) and below it.
func (r rooms) pendingBelow(path string) []unsavedFile {
	return slices.DeleteFunc(slices.Concat(r.pendingFiles(), r.pendingNames()), func(f unsavedFile) bool { return !atOrBelow(f.Path, path) })
}

// namesOf are changes of names as status, flush and umount show them.
func namesOf(pending []outbox.Pending, earlier wired.Earlier) []unsavedFile {
	list := make([]unsavedFile, 0, len(pending))
	for _, p := range pending {
		f := unsavedFile{Path: p.Op.Bucket + "/" + p.Op.Key, Change: string(p.Op.Kind), Since: p.Op.Time, Tries: p.Tries, Next: nextTry(p.Next)}
		if p.Err != nil {
			f.Error = p.Err.Error()
		}
		_, f.Earlier = earlier.Names[p.Op.Seq]
		list = append(list, f)
	}
	return list
}

// renamesOf are directories whose renames have not been ended by their calls, likewise.
func renamesOf(pending []wired.Unfinished) (list []unsavedFile) {
	for _, p := range pending {
		f := unsavedFile{Path: p.FromBucket + "/" + p.From, Change: changeRename, Since: p.Begun, Tries: p.Tries, Earlier: p.Earlier, Next: nextTry(p.Next)}
		if p.Err != nil {
			f.Error = p.Err.Error()
		}
		list = append(list, f)
	}
	return list
}

// nextTry is nil where none is planned.
func nextTry(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// journalReport also says what durability the mount has.
func (r rooms) journalReport() *journalReport {
	j := r.Journal.Stats()
	var unreadable []string
	for _, err := range r.Journal.Unreadable() {
		unreadable = append(unreadable, err.Error())
	}
	return &journalReport{Unreadable: unreadable, Durability: r.plan.Durability, MaxLag: r.plan.MaxLag.Seconds(), Records: j.Records, Notes: j.Notes,
		Log: j.LogBytes, Spool: j.SpoolBytes, Memory: j.MemoryBytes, Syncs: j.Syncs, Entries: j.Entries}
}
