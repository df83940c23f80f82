package content

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/s3client"
)

// Recover stores what earlier runs left in the journal, one after another, oldest first. What another client stored
// meanwhile is kept beside it, as in any conflict (that counts as stored). What fails stays in the journal and, where its
// bytes could be read, an unsaved File: opening its id shows it, and every Sync tries again.
func (s *Files) Recover(ctx context.Context) (stored int, failed []error) {
	pendings, err := s.o.Journal.Pendings()
	if err != nil {
		failed = append(failed, fmt.Errorf("read the journal: %w", err))
	}
	for _, p := range pendings {
		if err := s.recoverOne(ctx, p); err != nil {
			failed = append(failed, fmt.Errorf("store %s/%s of an earlier run: %w", p.Bucket, p.Key, err))
			continue
		}
		stored++
	}
	return stored, failed
}

func (s *Files) recoverOne(ctx context.Context, p journal.Recovered) error {
	spool, err := p.Open()
	if err != nil {
		return err
	}
	f := s.recovered(p.Pending, spool)
	defer s.unpin(f)
	if err := f.Sync(ctx); err != nil && !(errors.Is(err, ErrConflict) && f.stored()) {
		return err
	}
	return nil
}

func (f *File) stored() bool {
	_, unsaved := f.unsavedID()
	return !unsaved
}

// recovered makes a pinned, unsaved File without handles of what the journal has.
func (s *Files) recovered(p journal.Pending, spool *journal.Spool) *File {
	id := ID{Bucket: p.Bucket, Key: p.Key}
	f := newFile(s, id, nil)
	headers := s3client.Headers(p.Headers)
	f.mu.Lock()
	f.mu.refs, f.mu.pins = 0, 1
	f.mu.recovered, f.mu.kept, f.mu.spool = true, true, spool
	f.mu.since, f.mu.mtime = p.Time, p.Time
	if !reflect.DeepEqual(headers, s3client.Headers{}) {
		f.mu.headers = &headers
	}
	f.mu.layout = layout{size: p.Size}
	for _, r := range p.Dirty {
		f.mu.layout.local = f.mu.layout.local.add(r.Off, r.Len)
		f.mu.layout.dirty = f.mu.layout.dirty.add(r.Off, r.Len)
	}
	if b := p.Base; b != nil {
		// Seen never: the commit asks for it first.
		f.mu.base = &Base{Version: cache.Version{Bucket: b.Bucket, Key: b.Key, ETag: b.ETag, Size: b.Size}, Seen: time.Time{}}
		f.mu.layout.base = min(b.Limit, p.Size)
	}
	f.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.mu.byID[id]; old != nil {
		old.supersede()
	}
	s.mu.byID[id] = f
	s.mu.all[f] = struct{}{}
	return f
}
