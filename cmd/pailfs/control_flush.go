package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"pailfs/fs/content"
	"pailfs/fs/outbox"
	"pailfs/fs/tree"
)

// flushing is one flush of what lies at a path and below it.
type flushing struct {
	// pending lists what is not stored there, files and changes of names. It never waits.
	pending func() []unsavedFile
	// store stores it; report is told of bytes.
	store func(ctx context.Context, report func(done, total int64)) error
	tick  time.Duration // between two looks at what is left
}

// flushTick: a look costs a copy of the list of what is pending.
const flushTick = 500 * time.Millisecond

// run reports from one goroutine at a time. The result lists what is left, of what was pending when it began; the error
// says why, or that there was a conflict, which leaves nothing.
func (f flushing) run(ctx context.Context, report func(flushProgress)) (flushProgress, error) {
	var mu struct {
		sync.Mutex
		p flushProgress
	}
	before := f.pending()
	mu.p = progressFrom(before, nil)
	tell := func(change func(p *flushProgress)) {
		mu.Lock()
		defer mu.Unlock()
		change(&mu.p)
		report(mu.p)
	}
	tell(func(p *flushProgress) { *p = progressFrom(before, before) })
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		f.look(stop, func() {
			now := progressFrom(before, f.pending())
			tell(func(p *flushProgress) {
				p.FilesDone, p.NamesDone, p.BytesDone = now.FilesDone, now.NamesDone, max(p.BytesDone, now.BytesDone)
			})
		})
	}()
	err := f.store(ctx, func(done, total int64) {
		tell(func(p *flushProgress) { p.BytesDone, p.Bytes = max(done, p.BytesDone), max(total, p.Bytes) })
	})
	close(stop)
	<-stopped
	left := f.pending()
	result := progressFrom(before, left)
	result.list(unstored(before, left, ctx.Err() != nil))
	switch {
	case err == nil && len(result.Left) > 0:
		err = errors.New(result.Left[0].Error)
	case len(left) == 0 && !errors.Is(err, content.ErrConflict) && !errors.Is(err, outbox.ErrGivenUp):
		err = nil // what failed was stored by the next try, or taken away
	}
	return result, err
}

// look calls do at every tick until stop.
func (f flushing) look(stop <-chan struct{}, do func()) {
	ticker := time.NewTicker(f.tick)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			do()
		}
	}
}

// change names one thing that is pending.
type changeOf struct{ path, change string }

func changesOf(list []unsavedFile) map[changeOf]unsavedFile {
	all := make(map[changeOf]unsavedFile, len(list))
	for _, f := range list {
		all[changeOf{f.Path, f.Change}] = f
	}
	return all
}

// progressFrom counts what was pending and, of that, what is not any more.
func progressFrom(before, left []unsavedFile) flushProgress {
	var p flushProgress
	still := changesOf(left)
	for _, f := range before {
		_, waits := still[changeOf{f.Path, f.Change}]
		done := int64(1)
		if waits {
			done = 0
		}
		if f.Change != "" {
			p.Names++
			p.NamesDone += done
			continue
		}
		p.Files++
		p.FilesDone += done
		p.Bytes += f.Bytes
		p.BytesDone += done * f.Bytes
	}
	return p
}

// unstored is what a flush could not store: what was tried and failed, and when the time is up all that was there when it
// began. What was written meanwhile is nobody's failure.
func unstored(before, left []unsavedFile, all bool) []unsavedFile {
	had := changesOf(before)
	var list []unsavedFile
	for _, f := range left {
		was, ok := had[changeOf{f.Path, f.Change}]
		if ok && f.Error == "" && f.Change != "" && f.Since.Equal(was.Since) && !all {
			f.Error = waits(f.Change) // nothing has come since, and nobody has tried
		}
		if ok && (all || f.Error != "") {
			list = append(list, f)
		}
	}
	return list
}

// waits says why a change was not even tried.
func waits(change string) string {
	if change == changeRename {
		return "it is being completed"
	}
	return "it waits for a file of this name"
}

// list puts what is left into a result, as far as one line of an answer should go.
func (p *flushProgress) list(left []unsavedFile) {
	n := min(len(left), mostFailures)
	p.Left, p.LeftMore = left[:n:n], int64(len(left)-n)
}

// atOrBelow says whether a name (BUCKET/KEY) is a path, or below it; a directory's marker has the name of the directory.
func atOrBelow(name, path string) bool {
	name = strings.TrimSuffix(name, "/")
	return path == "" || name == path || strings.HasPrefix(name, path+"/")
}

// Flush stores what is pending at a path and below it, and says what could not be stored.
func (r rooms) Flush(ctx context.Context, path string, report func(flushProgress)) (flushProgress, error) {
	bucket, key, err := r.Tree.Locate(path)
	if err != nil {
		return flushProgress{}, r.failure("flush", path, fmt.Errorf("%w: %w", tree.ErrNotFound, err))
	}
	where := strings.TrimSuffix(bucket+"/"+key, "/")
	f := flushing{tick: flushTick, pending: func() []unsavedFile { return r.pendingBelow(where) },
		store: func(ctx context.Context, report func(done, total int64)) error {
			return r.Server.Flush(ctx, path, report)
		}}
	if len(f.pending()) == 0 { // nothing to do; but a name that is nowhere is a mistake
		_, err := r.Tree.Lookup(ctx, path)
		if errors.Is(err, tree.ErrNotFound) {
			return flushProgress{}, r.failure("flush", path, err)
		}
		return flushProgress{}, nil
	}
	result, err := f.run(ctx, report)
	return result, r.notFlushed(ctx, path, result, err)
}

// notFlushed says what a flush could not store, and where it is now.
func (r rooms) notFlushed(ctx context.Context, path string, result flushProgress, err error) error {
	left := int64(len(result.Left)) + result.LeftMore
	switch {
	case err == nil:
		return nil
	case left == 0 && errors.Is(err, content.ErrConflict):
		return &failure{code: exitGeneral, message: "changed here and elsewhere: both versions are stored, this mount's under another name",
			hint: "`pailfs status` lists conflicts"}
	case left == 0 && errors.Is(err, outbox.ErrGivenUp):
		first, _, _ := strings.Cut(err.Error(), "\n")
		return &failure{code: exitGeneral, message: "changed here and elsewhere: " + first, hint: "what somebody else stored since is kept"}
	case left == 0:
		return r.failure("flush", path, err)
	}
	f := failureOf(r.failure("flush", path, err))
	f.code = exitUnsaved
	f.message = fmt.Sprintf("%s not stored", things(result.Left, result.LeftMore))
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		f.message += " in time"
	}
	kept := fmt.Sprintf("it is kept (%s) and tried again; `pailfs status` shows when", r.plan.StateDir)
	if f.hint != "" && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kept = f.hint + "; " + kept
	}
	f.hint = kept
	return f
}

// things counts what a list has: 3 files (5 MiB), 2 names.
func things(list []unsavedFile, more int64) string {
	var nFiles int
	var nNames, bytes int64
	for _, f := range list {
		if f.Change != "" {
			nNames++
		} else {
			nFiles, bytes = nFiles+1, bytes+f.Bytes
		}
	}
	var words []string
	if nFiles > 0 {
		words = append(words, fmt.Sprintf("%s (%s)", files(nFiles), formatSize(bytes)))
	}
	if nNames > 0 {
		words = append(words, names(nNames))
	}
	if more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return strings.Join(words, " and ")
}
