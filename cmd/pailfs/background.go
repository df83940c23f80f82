package main

import (
	"context"
	"sync"

	"pailfs/fs/content"
	"pailfs/fs/outbox"
	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// What a mount does that no program waits for: the changes that journal durability acknowledges before the store has them,
// and what earlier runs left of theirs. The rooms know each other through the funcs here.

// behind says whether calls return before the store has what they changed.
func (p *mountPlan) behind() bool { return p.Durability == durabilityJournal && !p.ReadOnly }

// later takes tree's small changes; nil when they go to the store at once. The outbox is opened after tree, of which it
// speaks, and before the mount, so that no call comes too early.
func (m *mounted) later() tree.Later {
	if !m.plan.behind() {
		return nil
	}
	return laterChanges{m}
}

type laterChanges struct{ m *mounted }

func (l laterChanges) Delete(ctx context.Context, bucket, key, etag string) (uint64, error) {
	if at := l.m.uploader.MayLand(bucket, key); !at.IsZero() {
		return l.m.outbox.DeleteAfter(ctx, bucket, key, at)
	}
	if l.m.files.Uncertain(content.ID{Bucket: bucket, Key: key}) {
		etag = "" // an upload had no answer: which version is there is not known, but it is this mount's
	}
	return l.m.outbox.Delete(ctx, bucket, key, etag)
}

func (l laterChanges) Put(ctx context.Context, bucket, key string, h s3client.Headers, body []byte) (uint64, error) {
	return l.m.outbox.Put(ctx, bucket, key, h, body)
}

func (l laterChanges) SetHeaders(ctx context.Context, src s3client.Object, h s3client.Headers) (uint64, error) {
	return l.m.outbox.SetHeaders(ctx, src, h)
}

func (l laterChanges) Drain(ctx context.Context, bucket, prefix string) error {
	return l.m.drainNames(ctx, bucket, prefix)
}

// drainNames carries out what waits for the names under a prefix: also in store durability, where an earlier run may have left
// something.
func (m *mounted) drainNames(ctx context.Context, bucket, prefix string) error {
	if m.outbox == nil {
		return nil
	}
	return m.outbox.Drain(ctx, bucket, prefix)
}

// finishName carries out what waits for one name.
func (m *mounted) finishName(ctx context.Context, bucket, key string) error {
	if m.outbox == nil {
		return nil
	}
	return m.outbox.Finish(ctx, bucket, key)
}

// holdName keeps the name of a file that is committed in the background. Before there is a mount nobody renames.
func (m *mounted) holdName(ctx context.Context, id content.ID) (release func(), err error) {
	if s := m.face.Load(); s != nil {
		return s.Hold(ctx, id)
	}
	return func() {}, nil
}

// holdKey keeps changes of the name of a file away from the store while the file is stored.
func (m *mounted) holdKey(ctx context.Context, id content.ID) (done func(stored bool), err error) {
	if m.outbox == nil {
		return func(bool) {}, nil
	}
	// The name may have been a directory's: stores over a file system refuse a file beside its marker.
	if err := m.outbox.Finish(ctx, id.Bucket, id.Key+"/"); err != nil {
		m.log.Debug("a former directory's marker is still there", "object", id.String(), "err", err)
	}
	return m.outbox.Hold(ctx, id.Bucket, id.Key)
}

// rewriting is the change of an object's attributes that may have been carried out without an answer.
func (m *mounted) rewriting(id content.ID) (etag string, h s3client.Headers, ok bool) {
	if m.outbox == nil {
		return "", h, false
	}
	op, ok := m.outbox.Rewriting(id.Bucket, id.Key)
	return op.ETag, op.Headers, ok
}

// settled tells content and tree what became of a change.
func (m *mounted) settled(d outbox.Done) {
	if d.Err == nil && d.Op.Kind == outbox.KindHeaders && d.Object.ETag != d.Op.ETag {
		id := content.ID{Bucket: d.Op.Bucket, Key: d.Op.Key}
		if s := m.face.Load(); s != nil {
			s.Rewritten(id, d.Object)
		} else {
			m.files.Moved(id, id, d.Object)
		}
	}
	m.names.Settled(d.Op.Bucket, d.Op.Key, d.Op.Seq, d.Object, d.Err)
}

// loadEarlier takes over what earlier runs left: files become unsaved ones, changes of names wait in the outbox again. It
// makes no request. The multipart uploads that it gives are those nobody has ended.
func (m *mounted) loadEarlier(ctx context.Context) []upload.Left {
	if m.plan.ReadOnly {
		m.sayEarlier()
		return nil
	}
	m.renames.load()
	left := m.uploads.earlier(m.log)
	m.uploader.Adopt(left)
	ops := m.earlierNames()
	files, err := m.files.Load(ctx) // bounded: it asks for a file only that was being replaced
	if err != nil {
		m.log.Error("a part of the journal cannot be read", "err", err)
	}
	for _, f := range files {
		m.names.RecoveredFile(f.ID.Bucket, f.ID.Key, f.Size, f.Time, s3client.Object{Bucket: f.Base.Bucket, Key: f.Base.Key,
			ETag: f.Base.ETag, Size: f.Base.Size}, f.Headers)
	}
	for _, op := range ops {
		switch id := (content.ID{Bucket: op.Bucket, Key: op.Key}); op.Kind {
		case outbox.KindDelete: // a file made over it replaces what it was to delete
			m.files.Replaces(id, op.ETag)
		case outbox.KindHeaders: // the store may have them already, as another version
			m.files.Rewrites(id, op.ETag, op.Headers)
		}
	}
	m.earlier = earlierOf(files, ops)
	m.earlier.say(m.log)
	if m.plan.behind() || len(ops) > 0 {
		m.openOutbox(ops)
	}
	m.findLost(files)
	return left
}

// sayEarlier tells of what a mount without read-only would store.
func (m *mounted) sayEarlier() {
	pendings, err := m.journal.Pendings()
	if err != nil {
		m.log.Error("a part of the journal cannot be read", "err", err)
	}
	if n := len(m.journal.Notes(outbox.NoteKind)) + len(m.journal.Notes(renameKind)); len(pendings)+n > 0 {
		m.log.Warn("an earlier run has kept data that a mount without read-only would store", "files", len(pendings), "names", n)
	}
}

// earlierNames are the changes of names that earlier runs left.
func (m *mounted) earlierNames() []outbox.Op {
	var ops []outbox.Op
	for _, n := range m.journal.Notes(outbox.NoteKind) {
		op, err := outbox.Decode(n.Seq, n.Data)
		if err != nil { // it stays in the journal, for whoever can read it
			m.log.Error("a change that an earlier run left cannot be read", "err", err)
			continue
		}
		ops = append(ops, op)
		m.names.RecoveredChange(string(op.Kind), op.Bucket, op.Key, op.ETag, op.Size, op.Seq, op.Headers, op.Body, op.Time)
	}
	return ops
}

func (m *mounted) openOutbox(earlier []outbox.Op) {
	m.outbox = outbox.New(outbox.Options{
		Journal: m.journal, Store: m.client, Copy: m.uploader.Copy, Log: m.log, CheckAfter: m.plan.MetadataTTL,
		Busy:    func(bucket, key string) bool { return m.files.Holds(content.ID{Bucket: bucket, Key: key}) },
		Settled: m.settled,
	}, earlier)
	m.closers = append(m.closers, m.outbox.Close)
}

// findLost notes which kept files nobody could load: they are listed until somebody removes them. What loading has found to be
// replaced is gone from the journal.
func (m *mounted) findLost(loaded []content.Earlier) {
	pendings, _ := m.journal.Pendings() // its error was Load's, and logged
	have := make(map[content.ID]bool, len(loaded))
	for _, f := range loaded {
		have[f.ID] = true
	}
	for _, p := range pendings {
		if !have[content.ID{Bucket: p.Bucket, Key: p.Key}] && !p.Gone() {
			m.lost = append(m.lost, unsavedFile{Path: p.Bucket + "/" + p.Key, Bytes: p.Size, Since: p.Time, Error: "it cannot be read", Earlier: true})
		}
	}
}

// kept lists what earlier runs left and this one could not take over.
func (m *mounted) kept() []unsavedFile { return m.lost }

// abortLeft ends, in the background, the multipart uploads that an earlier run left and that no file goes on with.
func (m *mounted) abortLeft(ctx context.Context, left []upload.Left) {
	if len(left) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		aborted, err := m.uploader.AbortLeft(ctx, left, func(l upload.Left) bool {
			return m.files.Holds(content.ID{Bucket: l.Bucket, Key: l.Key})
		})
		if aborted > 0 {
			m.log.Info("aborted uploads that an earlier run had left", "uploads", aborted)
		}
		if err != nil && ctx.Err() == nil {
			m.log.Warn("uploads of an earlier run are still there; the next mount tries again", "err", err)
		}
	})
	m.closers = append(m.closers, func(context.Context) error { cancel(); running.Wait(); return nil })
}
