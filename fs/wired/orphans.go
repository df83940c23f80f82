package wired

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"pailfs/fs/journal"
	"pailfs/fs/upload"
)

const (
	// orphanAge is how old an upload of another state directory must be. A mount that comes back after an hour goes on with
	// its own.
	orphanAge = 24 * time.Hour
	// orphanPause lets the host's other mounts take their state directories first, at boot.
	orphanPause = time.Minute
	// mostOrphanDirs and mostOrphans bound the work of one mount: the next does the rest.
	mostOrphanDirs = 32
	mostOrphans    = 100
)

// orphanage are the state directories beside a mount's own: of mount points of this host that may never be mounted again.
// What their registers know of multipart uploads, nobody else does: no key, time or listing tells whose an upload is.
type orphanage struct {
	dir, own string // of all mounts; the own one's name in it
	store    string // only uploads of this store are touched
	log      *slog.Logger
	now      func() time.Time
	// abort ends an upload, unless it became the object; one that is gone is no error.
	abort func(ctx context.Context, bucket, key, id string) (aborted int, err error)
}

// abortOrphans ends the uploads that mounts of this host began more than a day ago and that no kept file needs, where no
// process has the mount's state directory.
func (r *Rooms) abortOrphans(ctx context.Context) {
	if r.o.Journals == "" {
		return
	}
	o := orphanage{dir: r.o.Journals, own: r.o.Own, store: r.o.StoreID, log: r.o.Log, now: time.Now,
		abort: func(ctx context.Context, bucket, key, id string) (int, error) {
			return r.Uploader.AbortOld(ctx, bucket, key, time.Now().Add(-orphanAge), func(other string) bool { return other != id })
		}}
	r.beside(ctx, func(ctx context.Context) {
		select {
		case <-time.After(orphanPause):
			o.run(ctx)
		case <-ctx.Done():
		}
	})
}

func (o *orphanage) run(ctx context.Context) {
	dirs, err := os.ReadDir(o.dir)
	if err != nil {
		o.log.Warn("cannot look for uploads that other mounts left", "err", err)
		return
	}
	looked, aborted := 0, 0
	for _, d := range dirs {
		if d.Name() == o.own || !d.IsDir() || ctx.Err() != nil {
			continue
		}
		if looked++; looked > mostOrphanDirs || aborted >= mostOrphans {
			o.log.Info("more state directories may have uploads that nobody ended: the next mount looks", "dir", o.dir)
			break
		}
		n, err := o.look(ctx, filepath.Join(o.dir, d.Name()), mostOrphans-aborted)
		aborted += n
		switch {
		case err != nil && ctx.Err() == nil:
			o.log.Warn("uploads that another mount left are still there; the next mount tries again", "mount", d.Name(), "err", err)
		case n > 0:
			o.log.Info("aborted uploads that a mount of this host had left", "mount", d.Name(), "uploads", n)
		}
	}
}

// look ends the orphans of one state directory. The directory is taken for moments only, never across a request.
func (o *orphanage) look(ctx context.Context, dir string, most int) (aborted int, err error) {
	if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil {
		return 0, nil // no journal
	}
	orphans, err := o.orphans(dir, most)
	if err != nil || len(orphans) == 0 {
		return 0, err
	}
	var ended []uint64
	var errs []error
	for _, l := range orphans {
		n, err := o.abort(ctx, l.Bucket, l.Key, l.ID)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		aborted += n
		ended = append(ended, l.Token)
	}
	return aborted, errors.Join(append(errs, o.with(dir, func(j *journal.Journal) error {
		var errs []error
		for _, token := range ended {
			errs = append(errs, j.DropNote(token))
		}
		return errors.Join(errs...)
	}))...)
}

// orphans are the uploads to end. One without id, and one that may be becoming an object, is left to a mount at its own
// mount point or to a person (`pailfs uploads`).
func (o *orphanage) orphans(dir string, most int) (list []upload.Left, err error) {
	err = o.with(dir, func(j *journal.Journal) error {
		files, damaged := j.Pendings()
		if damaged != nil {
			return fmt.Errorf("leave it alone: %w", damaged) // a file that cannot be read may need an upload
		}
		type name struct{ bucket, key string }
		needed := make(map[name]bool, len(files))
		for _, f := range files {
			needed[name{f.Bucket, f.Key}] = true
		}
		for _, n := range j.Notes(uploadKind) {
			note, err := decodeUpload(n.Data)
			if err != nil || note.Store != o.store || note.ID == "" || note.Completing || needed[name{note.Bucket, string(note.Key)}] ||
				o.now().Sub(note.Begun) < orphanAge {
				continue
			}
			if list = append(list, note.left(n.Seq)); len(list) == most {
				break
			}
		}
		return nil
	})
	return list, err
}

// with opens a journal for a moment; one that a process has, or that somebody has removed, is left alone.
func (o *orphanage) with(dir string, do func(*journal.Journal) error) error {
	j, err := journal.OpenWith(journal.Options{Dir: dir, Log: o.log})
	if errors.Is(err, journal.ErrLocked) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(do(j), j.Close())
}
