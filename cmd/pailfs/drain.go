package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"pailfs/fs/content"
)

// drainable is what is left to store when a mount ends; *content.Files.
type drainable interface {
	SyncAll(ctx context.Context, progress func(done, total int64)) error
	Unsaved() []content.Unsaved
	Close(ctx context.Context) error
}

// drain is the end of a mount's bytes: stored, or kept in the journal.
type drain struct {
	files drainable
	// stall is how long nothing may move before the store is given up.
	stall time.Duration
	// sent is a number that grows while bytes go to the store, so that one long upload is no standstill. May be nil.
	sent func() int64
	// report is told how far it is; it is called from one goroutine at a time.
	report func(done, total int64)
	// kept lists what earlier runs left in the journal and is still there.
	kept func() []unsavedFile
	// keeping bounds how long writing to the journal may take once the store is given up.
	keeping time.Duration
}

var errStalled = errors.New("nothing could be stored any more")

// store stores what is unsaved. It ends with the context, or when nothing moves for the stall time.
func (d drain) store(ctx context.Context) error { return d.guard(ctx, d.files.SyncAll) }

// guard runs work that stores, and cancels it when nothing moves for the stall time.
func (d drain) guard(ctx context.Context, work func(context.Context, func(done, total int64)) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	moved := make(chan [2]int64)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		d.watch(ctx, cancel, moved)
	}()
	err := work(ctx, func(done, total int64) {
		select {
		case moved <- [2]int64{done, total}:
		case <-ctx.Done():
		}
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	cancel(nil)
	<-watching
	return err
}

// watch passes progress on and cancels at a standstill.
func (d drain) watch(ctx context.Context, cancel context.CancelCauseFunc, moved <-chan [2]int64) {
	const looks = 10 // a stall time
	ticker := time.NewTicker(max(d.stall/looks, time.Millisecond))
	defer ticker.Stop()
	still, sent, last := 0, d.bytesSent(), [2]int64{-1, -1}
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-moved:
			if m != last {
				still, last = 0, m
				d.report(m[0], m[1])
			}
		case <-ticker.C:
			still++
			if now := d.bytesSent(); now != sent {
				still, sent = 0, now
			}
			if still > looks {
				cancel(errStalled)
				return
			}
		}
	}
}

func (d drain) bytesSent() int64 {
	if d.sent == nil {
		return 0
	}
	return d.sent()
}

// finish stores what it can and keeps the rest. When ctx ends it stops waiting for the store; the journal is written all
// the same. The result says what is left, and where.
func (d drain) finish(ctx context.Context, rec *recovery, stateDir, mountpoint string) result {
	rec.end(ctx, d)
	syncErr := d.store(ctx)
	left := d.files.Unsaved()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.keeping)
	defer cancel()
	if syncErr != nil {
		// Closed with an ended context, nothing is tried once more: it goes straight to the journal.
		var stop context.CancelFunc
		closing, stop = context.WithCancel(closing)
		stop()
	}
	err := d.files.Close(closing)
	list := unsavedFiles(left, d.kept())
	if err == nil && len(list) == 0 { // a conflict is an error of SyncAll, and stored: both versions were kept
		return result{Code: exitOK}
	}
	return leftBehind(list, stateDir, mountpoint, err, syncErr)
}

// recovery stores, beside the work of a mount, what earlier runs kept.
type recovery struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func startRecovery(ctx context.Context, recover func(context.Context) (int, []error), log *slog.Logger) *recovery {
	ctx, cancel := context.WithCancel(ctx)
	r := &recovery{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		stored, failed := recover(ctx)
		if stored > 0 {
			log.Info("stored what an earlier run had kept", "files", stored)
		}
		for _, err := range failed {
			log.Error("kept data of an earlier run is not stored", "err", err)
		}
	}()
	return r
}

// end waits for the recovery as for any other storing. What it did not store is in the journal still.
func (r *recovery) end(ctx context.Context, d drain) {
	_ = d.guard(ctx, func(ctx context.Context, _ func(int64, int64)) error { // its only error is that ctx ended
		select {
		case <-r.done:
		case <-ctx.Done():
		}
		return nil
	})
	r.cancel()
	<-r.done
}

// unsavedFiles lists what is left of this run and of earlier ones, each file once.
func unsavedFiles(left []content.Unsaved, kept []unsavedFile) []unsavedFile {
	var list []unsavedFile
	seen := map[string]bool{}
	for _, u := range left {
		f := unsavedFile{Path: u.ID.Bucket + "/" + u.ID.Key, Bytes: u.Bytes, Since: u.Since}
		if u.Err != nil {
			f.Error = u.Err.Error()
		}
		list, seen[f.Path] = append(list, f), true
	}
	for _, f := range kept {
		if !seen[f.Path] {
			list, seen[f.Path] = append(list, f), true
		}
	}
	slices.SortFunc(list, func(a, b unsavedFile) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// leftBehind is the result of a mount that could not store all. The first of errs that is one says why.
func leftBehind(list []unsavedFile, stateDir, mountpoint string, errs ...error) result {
	total := int64(0)
	for _, f := range list {
		total += f.Bytes
	}
	r := result{Code: exitUnsaved, Unsaved: list, Message: fmt.Sprintf("%s not stored (%s)", files(len(list)), formatSize(total)),
		Hint: fmt.Sprintf("kept in %s; the next mount at %s with this state directory stores them", stateDir, mountpoint)}
	for _, err := range errs {
		if err != nil {
			first, _, more := strings.Cut(err.Error(), "\n")
			r.Message += ": " + first
			if more {
				r.Message += "; ..."
			}
			break
		}
	}
	return r
}

func files(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}
