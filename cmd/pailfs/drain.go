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
	"pailfs/s3client"
)

// drainable is what is left to store when a mount ends; *content.Files.
type drainable interface {
	SyncAll(ctx context.Context, progress func(done, total int64)) error
	Unsaved() []content.Unsaved
	Close(ctx context.Context) error
}

// drainableNames are the changes of names that wait when a mount ends; *outbox.Outbox.
type drainableNames interface {
	Drain(ctx context.Context, bucket, prefix string) error
	Len() int
}

// drain is the end of what a mount has changed: stored, or kept in the journal.
type drain struct {
	files drainable
	names drainableNames // nil: none ever waits
	// stall is how long nothing may move before the store is given up.
	stall time.Duration
	// sent is a number that grows while bytes go to the store, so that one long upload is no standstill. May be nil.
	sent func() int64
	// waits is told, once, that what could not be stored is tried again. May be nil.
	waits func(err error)
	// waited: a store that is away was waited for already.
	waited bool
	// report is told how far it is with bytes, reportNames with changes of names; called from one goroutine at a time.
	report, reportNames func(done, total int64)
	// kept lists what else is in the journal and not stored: what earlier runs left and nobody could take over, and changes
	// of names.
	kept func() []unsavedFile
	// keeping bounds how long writing to the journal may take once the store is given up.
	keeping time.Duration
}

var errStalled = errors.New("nothing could be stored any more")

const (
	// drainPause is the first pause before what the store did not take is tried again, and mostDrainPause the longest.
	drainPause     = time.Second
	mostDrainPause = 5 * time.Second
)

// store stores what is unsaved. What a store did not take that is away, or busy, is tried again until it is back: it ends when all
// is stored, with the context, with a refusal, or when nothing was stored for the stall time.
func (d drain) store(ctx context.Context) error {
	last, left := time.Now(), d.left()
	for pause := drainPause; ; pause = min(2*pause, mostDrainPause) {
		once := d
		once.stall = d.stall - time.Since(last)
		err := once.storeOnce(ctx)
		if now := d.left(); now < left {
			last, left, pause = time.Now(), now, drainPause
		}
		if err == nil || left == 0 || d.waited || errors.Is(err, errStalled) || !passing(err) || time.Since(last)+pause >= d.stall {
			return err
		}
		if d.waits != nil {
			d.waits(err)
			d.waits = nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// passing says whether an error is one of a store that may take the same another time.
func passing(err error) bool {
	return errors.Is(err, s3client.Temporary) || errors.Is(err, s3client.Throttled)
}

// left is how much is still to be stored.
func (d drain) left() int {
	n := len(d.files.Unsaved())
	if d.names != nil {
		n += d.names.Len()
	}
	return n
}

// storeOnce tries everything once: files, and then the changes of names, some of which wait for a file.
func (d drain) storeOnce(ctx context.Context) error {
	if total := unsavedBytes(d.files.Unsaved()); total > 0 {
		d.report(0, total) // the first file may take its time
	}
	err := d.guard(ctx, d.files.SyncAll, d.report)
	if errors.Is(err, errStalled) || d.names == nil || d.names.Len() == 0 {
		return err
	}
	return errors.Join(err, d.guard(ctx, d.storeNames, d.reportNames))
}

func unsavedBytes(list []content.Unsaved) (total int64) {
	for _, u := range list {
		total += u.Bytes
	}
	return total
}

// namesPoll is how often one looks how many changes of names are left.
const namesPoll = 200 * time.Millisecond

// storeNames carries out the changes of names that wait.
func (d drain) storeNames(ctx context.Context, progress func(done, total int64)) error {
	total := d.names.Len()
	report := func() {
		left := d.names.Len()
		progress(int64(max(total-left, 0)), int64(max(total, left)))
	}
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(namesPoll)
		defer ticker.Stop()
		for {
			report()
			select {
			case <-ended:
				return
			case <-ticker.C:
			}
		}
	}()
	err := d.names.Drain(ctx, "", "")
	close(ended)
	<-stopped
	report()
	if err != nil {
		return fmt.Errorf("store changes of names: %w", err)
	}
	return nil
}

// guard runs work that stores, and cancels it when nothing moves for the stall time.
func (d drain) guard(ctx context.Context, work func(context.Context, func(done, total int64)) error,
	report func(done, total int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	moved := make(chan [2]int64)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		d.watch(ctx, cancel, moved, report)
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
func (d drain) watch(ctx context.Context, cancel context.CancelCauseFunc, moved <-chan [2]int64, report func(done, total int64)) {
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
				report(m[0], m[1])
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
	}, d.report)
	r.cancel()
	<-r.done
}

// unsavedFiles lists what is left of this run and of earlier ones, each once.
func unsavedFiles(left []content.Unsaved, others []unsavedFile) []unsavedFile {
	var list []unsavedFile
	seen := map[changeOf]bool{}
	for _, u := range left {
		f := unsavedFile{Path: u.ID.String(), Bytes: u.Bytes, Since: u.Since, Tries: u.Tries, Earlier: u.Earlier}
		if u.Err != nil {
			f.Error = u.Err.Error()
		}
		if !u.Next.IsZero() {
			f.Next = &u.Next
		}
		list, seen[changeOf{f.Path, ""}] = append(list, f), true
	}
	for _, f := range others {
		if is := (changeOf{f.Path, f.Change}); !seen[is] {
			list, seen[is] = append(list, f), true
		}
	}
	slices.SortStableFunc(list, func(a, b unsavedFile) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// leftBehind is the result of a mount that could not store all. The first of errs that is one says why.
func leftBehind(list []unsavedFile, stateDir, mountpoint string, errs ...error) result {
	r := result{Code: exitUnsaved, Unsaved: list, Message: notStored(list),
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

func notStored(list []unsavedFile) string {
	total, changes := int64(0), 0
	for _, f := range list {
		total += f.Bytes
		if f.Change != "" {
			changes++
		}
	}
	if changes > 0 {
		return things(list, 0) + " not stored"
	}
	return fmt.Sprintf("%s not stored (%s)", files(len(list)), formatSize(total))
}

func files(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// words say in a line how a mount has ended.
func (r result) words() string {
	switch {
	case r.Code == exitOK:
		return "unmounted, everything is stored"
	case r.Hint == "":
		return r.Message
	}
	return r.Message + " (" + r.Hint + ")"
}
