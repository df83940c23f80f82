package wired

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"pailfs/fs/content"
	"pailfs/fs/journal"
	"pailfs/fs/late"
	"pailfs/fs/outbox"
	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// Earlier is what a mount has found of earlier runs that the store did not have.
type Earlier struct {
	Files int
	Bytes int64
	Names map[uint64]struct{} // by the numbers of their changes
	// Lost are files that nobody could load: they are listed until somebody removes them.
	Lost []journal.Pending
}

func earlierOf(loaded []content.Earlier, ops []outbox.Op) Earlier {
	e := Earlier{Files: len(loaded), Names: make(map[uint64]struct{}, len(ops))}
	for _, f := range loaded {
		e.Bytes += f.Size
	}
	for _, op := range ops {
		e.Names[op.Seq] = struct{}{}
	}
	return e
}

// loadEarlier takes over what earlier runs left: files become unsaved ones, changes of names wait in the outbox again. It
// makes no request but for a file that was being replaced.
func (r *Rooms) loadEarlier(ctx context.Context) {
	if r.o.ReadOnly {
		r.sayEarlier()
		return
	}
	r.Renames.load()
	r.earlierDoubts()
	r.left = r.Register.earlier(r.o.Log)
	r.Uploader.Adopt(r.left)
	ops := r.earlierNames()
	files := r.earlierFiles(ctx)
	for _, op := range ops {
		switch id := (content.ID{Bucket: op.Bucket, Key: op.Key}); op.Kind {
		case outbox.KindDelete: // a file made over it replaces what it was to delete
			r.Files.Replaces(id, op.ETag)
			r.changes.ExpectDeletion(op.Bucket, op.Key)
			continue
		case outbox.KindHeaders: // the store may have them already, as another version
			r.Files.Rewrites(id, op.ETag, op.Headers)
		}
		r.changes.Expect(op.Bucket, op.Key, op.Size, op.Headers)
	}
	for _, f := range files {
		if f.Headers != nil {
			r.changes.Expect(f.ID.Bucket, f.ID.Key, f.Size, *f.Headers)
		}
	}
	r.Earlier = earlierOf(files, ops)
	r.Earlier.Lost = lost(r.Journal, files)
	if r.o.Behind || len(ops) > 0 {
		r.openOutbox(ops)
	}
}

// earlierDoubts takes over what earlier runs knew of requests without an answer.
func (r *Rooms) earlierDoubts() {
	for _, n := range r.Journal.Notes(late.NoteKind) {
		if err := r.changes.Earlier(n.Seq, n.Data); err != nil { // it stays in the journal, for whoever can read it
			r.o.Log.Error("what an earlier run left in doubt cannot be read", "err", err)
		}
	}
}

// sayEarlier tells of what a mount without read-only would store.
func (r *Rooms) sayEarlier() {
	pendings, err := r.Journal.Pendings()
	if err != nil {
		r.o.Log.Error("a part of the journal cannot be read", "err", err)
	}
	if n := len(r.Journal.Notes(outbox.NoteKind)) + len(r.Journal.Notes(renameKind)); len(pendings)+n > 0 {
		r.o.Log.Warn("an earlier run has kept data that a mount without read-only would store", "files", len(pendings), "names", n)
	}
}

// earlierNames are the changes of names that earlier runs left.
func (r *Rooms) earlierNames() []outbox.Op {
	var ops []outbox.Op
	for _, n := range r.Journal.Notes(outbox.NoteKind) {
		op, err := outbox.Decode(n.Seq, n.Data)
		if err != nil { // it stays in the journal, for whoever can read it
			r.o.Log.Error("a change that an earlier run left cannot be read", "err", err)
			continue
		}
		ops = append(ops, op)
		r.Tree.RecoveredChange(string(op.Kind), op.Bucket, op.Key, op.ETag, op.Size, op.Seq, op.Headers, op.Body, op.Time)
	}
	return ops
}

// earlierFiles makes unsaved files of what earlier runs left. Its time is bounded: it asks for a file only that was being
// replaced.
func (r *Rooms) earlierFiles(ctx context.Context) []content.Earlier {
	files, err := r.Files.Load(ctx)
	if err != nil {
		r.o.Log.Error("a part of the journal cannot be read", "err", err)
	}
	for _, f := range files {
		r.Tree.RecoveredFile(f.ID.Bucket, f.ID.Key, f.Size, f.Time, s3client.Object{Bucket: f.Base.Bucket, Key: f.Base.Key,
			ETag: f.Base.ETag, Size: f.Base.Size}, f.Headers)
	}
	return files
}

func (r *Rooms) openOutbox(earlier []outbox.Op) {
	r.Outbox = outbox.New(outbox.Options{
		Journal: r.Journal, Store: r.changes, Copy: r.Uploader.Copy, Put: r.Uploader.Put, Log: r.o.Log, CheckAfter: r.o.TTL,
		Busy:    func(bucket, key string) bool { return r.Files.Holds(content.ID{Bucket: bucket, Key: key}) },
		Settled: r.settled,
	}, earlier)
	r.closers = append(r.closers, r.Outbox.Close)
}

// lost are the kept files that could not be loaded. What loading has found to be replaced is gone from the journal.
func lost(j *journal.Journal, loaded []content.Earlier) (list []journal.Pending) {
	pendings, _ := j.Pendings() // its error was Load's, and logged
	have := make(map[content.ID]bool, len(loaded))
	for _, f := range loaded {
		have[f.ID] = true
	}
	for _, p := range pendings {
		if !have[content.ID{Bucket: p.Bucket, Key: p.Key}] && !p.Gone() {
			list = append(list, p.Pending)
		}
	}
	return list
}

// abortLeft ends the multipart uploads that an earlier run left and that no file goes on with.
func (r *Rooms) abortLeft(ctx context.Context) {
	if len(r.left) == 0 {
		return
	}
	r.beside(ctx, func(ctx context.Context) {
		aborted, err := r.Uploader.AbortLeft(ctx, r.left, func(l upload.Left) bool {
			return r.Files.Holds(content.ID{Bucket: l.Bucket, Key: l.Key})
		})
		if aborted > 0 {
			r.o.Log.Info("aborted uploads that an earlier run had left", "uploads", aborted)
		}
		if err != nil && ctx.Err() == nil {
			r.o.Log.Warn("uploads of an earlier run are still there; the next mount tries again", "err", err)
		}
	})
}

// Kept is what a process that is gone had not stored, as far as its journal knows: a change whose answer it did not live to
// write down is among it.
type Kept struct {
	Files   []journal.Pending
	Names   []outbox.Op
	Renames []tree.Intent
}

// Len is how much it is.
func (k Kept) Len() int { return len(k.Files) + len(k.Names) + len(k.Renames) }

// KeptIn reads what earlier runs left in a journal. What can be read is there also with an error.
func KeptIn(j *journal.Journal) (k Kept, err error) {
	files, err := j.Pendings()
	for _, f := range files {
		k.Files = append(k.Files, f.Pending)
	}
	for _, n := range j.Notes(outbox.NoteKind) {
		op, bad := outbox.Decode(n.Seq, n.Data)
		if bad != nil {
			err = errors.Join(err, bad)
			continue
		}
		k.Names = append(k.Names, op)
	}
	for _, n := range j.Notes(renameKind) {
		in, bad := decodeRename(n.Data)
		if bad != nil {
			err = errors.Join(err, bad)
			continue
		}
		k.Renames = append(k.Renames, in)
	}
	return k, err
}

// KeptAt reads what is in the journal of a directory, nothing where there is none. A process must not have it.
func KeptAt(dir string) (k Kept, err error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return k, nil
	}
	j, err := journal.OpenWith(journal.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return k, err
	}
	k, err = KeptIn(j)
	return k, errors.Join(err, j.Close())
}
