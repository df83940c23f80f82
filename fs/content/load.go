package content

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/s3client"
)

// Earlier is a file that an earlier run left: the store does not have it yet.
type Earlier struct {
	ID      ID
	Size    int64
	Time    time.Time         // when it was kept
	Base    cache.Version     // what the store had under the ID then; zero: nothing
	Headers *s3client.Headers // its attributes; nil: not known
}

// Load makes unsaved Files of what earlier runs left in the journal, so that they are there when the mount answers. It makes
// no request but for a file that was being replaced by a rename: whether it was decides what its name shows. The error names
// what cannot be read; it stays where it is, and the rest is loaded.
func (s *Files) Load(ctx context.Context) ([]Earlier, error) {
	s.mu.Lock()
	first := !s.mu.loaded
	s.mu.loaded = true
	s.mu.Unlock()
	if !first {
		return nil, nil
	}
	var errs []error
	pendings, err := s.o.Journal.Pendings()
	if err != nil {
		errs = append(errs, fmt.Errorf("read the journal: %w", err))
	}
	pendings, replaced := latest(pendings)
	for _, p := range replaced {
		if err := p.Drop(); err != nil {
			errs = append(errs, fmt.Errorf("drop an older state of %s/%s: %w", p.Bucket, p.Key, err))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, yieldPatience)
	defer cancel()
	var out []Earlier
	for _, p := range pendings {
		spool, err := p.Open()
		if err != nil {
			errs = append(errs, fmt.Errorf("open %s/%s of an earlier run: %w", p.Bucket, p.Key, err))
			continue
		}
		if e, f := s.recover(p.Pending, spool); len(p.Yields) == 0 || !f.hasYielded(ctx) {
			out = append(out, e)
		}
	}
	return out, errors.Join(errs...)
}

// latest divides records, oldest first, into each file's last and those that it replaced, or whose name it took: a crash came
// between the two.
func latest(all []journal.Recovered) (last, replaced []journal.Recovered) {
	newest := make(map[string]int)
	over := make(map[string]bool)
	for i, p := range all {
		if p.File != "" {
			newest[p.File] = i
		}
	}
	for i, p := range all {
		if p.Over != "" && newest[p.File] == i {
			over[p.Over] = true
		}
	}
	for i, p := range all {
		if p.File == "" || newest[p.File] == i && !over[p.File] {
			last = append(last, p)
		} else {
			replaced = append(replaced, p)
		}
	}
	return last, replaced
}

// recover makes an unsaved File without handles of what the journal has. One of the same id loses the id.
func (s *Files) recover(p journal.Pending, spool *journal.Spool) (Earlier, *File) {
	id := ID{Bucket: p.Bucket, Key: p.Key}
	f := newFile(s, id, nil)
	out := Earlier{ID: id, Size: p.Size, Time: p.Time}
	headers := s3client.Headers(p.Headers)
	f.mu.Lock()
	f.mu.refs = 0
	f.mu.recovered, f.mu.spool, f.mu.lineage = true, spool, p.File
	f.mu.uncertain = true // the dead process may have sent it
	f.mu.sent.add(p.Own...)
	f.mu.since, f.mu.mtime, f.mu.changed = p.Time, p.Time, p.Time
	if !reflect.DeepEqual(headers, s3client.Headers{}) {
		f.mu.headers, out.Headers = &headers, &headers
	}
	if p.Upload != "" {
		f.mu.resume = []string{p.Upload}
	}
	f.mu.layout = layout{size: p.Size}
	for _, r := range p.Dirty {
		f.mu.layout.local = f.mu.layout.local.add(r.Off, r.Len)
		f.mu.layout.dirty = f.mu.layout.dirty.add(r.Off, r.Len)
	}
	if b := p.Base; b != nil {
		// Seen never: the commit asks for it first.
		v := cache.Version{Bucket: b.Bucket, Key: b.Key, ETag: b.ETag, Size: b.Size}
		f.mu.base, f.mu.layout.base = &Base{Version: v}, min(b.Limit, p.Size)
		if f.mu.foreign = b.Bucket != id.Bucket || b.Key != id.Key; !f.mu.foreign {
			out.Base = v
		}
	}
	f.reopenLocked(&p)
	if l := p.Leaves; l != nil && l.ETag != "" {
		f.mu.stale = &stale{ID{Bucket: l.Bucket, Key: l.Key}, l.ETag}
	}
	st := f.stageLocked()
	st.recorded, st.record, st.since = true, p, s.o.Now()
	f.pushLocked(st)
	isClone, left := f.mu.foreign, f.mu.stale
	f.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if left != nil {
		s.mu.left[left.ID] = f
	}
	if old := s.mu.byID[id]; old != nil {
		old.supersede()
	}
	s.mu.byID[id] = f
	s.mu.all[f] = struct{}{}
	if isClone {
		s.mu.clones[f] = struct{}{}
	}
	return out, f
}

// Recover stores what Load has found, oldest first and many at once; it loads, if nobody has. What another client stored
// meanwhile is kept beside it, as in any conflict (that counts as stored). What fails stays in the journal and an unsaved
// File, which the background tries again.
func (s *Files) Recover(ctx context.Context) (stored int, failed []error) {
	if _, err := s.Load(ctx); err != nil {
		failed = append(failed, err)
	}
	var first, second []*File // of two with one id the later one has it
	for _, f := range s.pinUnsaved(func(f *File, _ ID) bool { return true }) {
		switch recovered, superseded := f.ofEarlierRun(); {
		case !recovered:
			s.unpin(f)
		case superseded:
			second = append(second, f)
		default:
			first = append(first, f)
		}
	}
	for _, files := range [][]*File{first, second} {
		n, errs := s.recoverFiles(ctx, files)
		stored += n
		failed = append(failed, errs...)
	}
	return stored, failed
}

func (f *File) ofEarlierRun() (recovered, superseded bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.recovered, f.mu.superseded
}

// recoverFiles stores pinned files and unpins them.
func (s *Files) recoverFiles(ctx context.Context, files []*File) (stored int, failed []error) {
	byAge(files)
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(syncParallel)
	for _, f := range files {
		g.Go(func() error {
			defer s.unpin(f)
			err := f.storeBehind(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, fmt.Errorf("store %s of an earlier run: %w", f.ID(), err))
				s.behind.schedule(f)
				return nil
			}
			stored++
			return nil
		})
	}
	g.Wait() // its functions return no error: all are in failed
	return stored, failed
}
