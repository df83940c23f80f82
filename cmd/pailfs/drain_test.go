package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/fs/content"
	"pailfs/s3client"
)

// fakeFiles are the bytes of a mount that ends.
type fakeFiles struct {
	sync    func(ctx context.Context, progress func(done, total int64)) error
	unsaved []content.Unsaved
	close   error

	closedWith error // the context's state at Close
	closes     int
}

func (f *fakeFiles) SyncAll(ctx context.Context, progress func(done, total int64)) error {
	if f.sync == nil {
		return nil
	}
	return f.sync(ctx, progress)
}
func (f *fakeFiles) Unsaved() []content.Unsaved { return f.unsaved }
func (f *fakeFiles) Close(ctx context.Context) error {
	f.closes++
	f.closedWith = ctx.Err()
	return f.close
}

func testDrain(f *fakeFiles, reports *[]string) drain {
	return drain{files: f, stall: time.Minute, keeping: time.Minute, kept: func() []unsavedFile { return nil },
		report: func(done, total int64) { *reports = append(*reports, fmt.Sprintf("%d/%d", done, total)) }}
}

// recovered is a recovery that has ended.
func recovered() *recovery {
	return startRecovery(context.Background(), func(context.Context) (int, []error) { return 0, nil }, slog.New(slog.DiscardHandler))
}

func unsaved(keys ...string) (list []content.Unsaved) {
	for _, k := range keys {
		list = append(list, content.Unsaved{ID: content.ID{Bucket: "b", Key: k}, Bytes: 100, Err: errors.New("no")})
	}
	return list
}

func TestADrainThatStoresAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFiles{sync: func(ctx context.Context, progress func(done, total int64)) error {
			for i := range int64(3) {
				time.Sleep(50 * time.Second) // slow, but it moves
				progress(i+1, 3)
			}
			return nil
		}}
		var reports []string
		res := testDrain(f, &reports).finish(t.Context(), recovered(), "/s", "/m")
		if res.Code != exitOK || f.closedWith != nil || f.closes != 1 || strings.Join(reports, " ") != "1/3 2/3 3/3" {
			t.Errorf("%+v, closed %d times with %v, reports %v", res, f.closes, f.closedWith, reports)
		}
	})
}

func TestADrainThatStandsStillIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFiles{unsaved: unsaved("z", "a"), close: errors.New("kept"), sync: func(ctx context.Context, progress func(done, total int64)) error {
			progress(1, 2)
			<-ctx.Done()
			return ctx.Err()
		}}
		var reports []string
		began := time.Now()
		res := testDrain(f, &reports).finish(t.Context(), recovered(), "/s", "/m")
		if took := time.Since(began); took < time.Minute || took > 2*time.Minute {
			t.Errorf("given up after %v", took)
		}
		if res.Code != exitUnsaved || f.closedWith == nil || len(res.Unsaved) != 2 || res.Unsaved[0].Path != "b/a" ||
			!strings.Contains(res.Message, "2 files not stored (200 B)") || !strings.Contains(res.Hint, "/s") {
			t.Errorf("%+v, closed with %v", res, f.closedWith)
		}
	})
}

// A store that is away when the mount ends, and comes back within the patience, gets everything; one that goes on taking something
// now and then is waited for as long as that lasts.
func TestADrainWaitsForTheStore(t *testing.T) {
	away := &s3client.Error{Op: "PUT Object", Kind: s3client.Temporary}
	for name, c := range map[string]struct {
		takes  func(after time.Duration, left int) int // how many of them it has by then
		left   int
		errs   error
		after  time.Duration
		atMost time.Duration
	}{
		"back after 40 s":     {func(after time.Duration, left int) int { return when(after >= 40*time.Second, 0, left) }, 0, away, 40 * time.Second, 50 * time.Second},
		"never back":          {func(_ time.Duration, left int) int { return left }, 3, away, 50 * time.Second, 66 * time.Second},
		"one after the other": {func(after time.Duration, _ int) int { return 3 - int(after/(50*time.Second)) }, 0, away, 150 * time.Second, 160 * time.Second},
		"refused":             {func(_ time.Duration, left int) int { return left }, 3, &s3client.Error{Op: "PUT Object", Kind: s3client.Denied}, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				f := &fakeFiles{unsaved: unsaved("a", "b", "c")}
				f.sync = func(context.Context, func(done, total int64)) error {
					time.Sleep(100 * time.Millisecond)
					f.unsaved = f.unsaved[:max(0, c.takes(time.Since(began), len(f.unsaved)))]
					return when(len(f.unsaved) > 0, fmt.Errorf("sync: %w", errors.Join(errors.New("other"), c.errs)), nil)
				}
				var reports []string
				d := testDrain(f, &reports)
				told := 0
				d.waits = func(error) { told++ }
				err := d.store(t.Context())
				if took := time.Since(began); len(f.unsaved) != c.left || (err != nil) != (c.left > 0) || took < c.after || took > c.atMost {
					t.Errorf("%v after %v, %d left", err, took, len(f.unsaved))
				}
				if told != when(name == "refused", 0, 1) {
					t.Errorf("told %d times", told)
				}
			})
		})
	}
}

func when[T any](yes bool, a, b T) T {
	if yes {
		return a
	}
	return b
}

func TestBytesThatMoveAreNoStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFiles{sync: func(ctx context.Context, _ func(done, total int64)) error {
			select {
			case <-time.After(time.Hour): // one file, one upload
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		var reports []string
		d := testDrain(f, &reports)
		began := time.Now()
		d.sent = func() int64 { return int64(time.Since(began) / time.Second) }
		if err := d.store(t.Context()); err != nil {
			t.Error(err)
		}
		d.sent = func() int64 { return 7 }
		if err := d.store(t.Context()); !errors.Is(err, errStalled) {
			t.Errorf("%v", err)
		}
	})
}

func TestASignalEndsThePatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := &fakeFiles{unsaved: unsaved("a"), close: errors.New("kept a"), sync: func(ctx context.Context, _ func(done, total int64)) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}}
		var reports []string
		began := time.Now()
		res := testDrain(f, &reports).finish(ctx, recovered(), "/s", "/m")
		if res.Code != exitUnsaved || time.Since(began) > time.Second || f.closes != 1 || f.closedWith == nil {
			t.Errorf("%+v after %v, closed %d times with %v", res, time.Since(began), f.closes, f.closedWith)
		}
	})
}

func TestAConflictIsNoLoss(t *testing.T) {
	f := &fakeFiles{sync: func(context.Context, func(done, total int64)) error { return content.ErrConflict }}
	var reports []string
	if res := testDrain(f, &reports).finish(t.Context(), recovered(), "/s", "/m"); res.Code != exitOK {
		t.Errorf("%+v", res)
	}
}

func TestWhatCloseSaysIsNotLost(t *testing.T) {
	f := &fakeFiles{close: errors.New("disk full\nand more")}
	var reports []string
	res := testDrain(f, &reports).finish(t.Context(), recovered(), "/s", "/m")
	if res.Code != exitUnsaved || !strings.Contains(res.Message, "disk full; ...") {
		t.Errorf("%+v", res)
	}
}

func TestWhatEarlierRunsKeptCounts(t *testing.T) {
	f := &fakeFiles{unsaved: unsaved("a")}
	var reports []string
	d := testDrain(f, &reports)
	d.kept = func() []unsavedFile { return []unsavedFile{{Path: "b/a", Bytes: 5}, {Path: "b/old", Bytes: 7}} }
	res := d.finish(t.Context(), recovered(), "/s", "/m")
	if res.Code != exitUnsaved || len(res.Unsaved) != 2 || res.Unsaved[0].Bytes != 100 || res.Unsaved[1].Path != "b/old" {
		t.Errorf("%+v", res)
	}
}

func TestTheEndWaitsForTheRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := false
		slow := startRecovery(t.Context(), func(ctx context.Context) (int, []error) {
			time.Sleep(30 * time.Second)
			stored = ctx.Err() == nil
			return 1, nil
		}, slog.New(slog.DiscardHandler))
		var reports []string
		if res := testDrain(&fakeFiles{}, &reports).finish(t.Context(), slow, "/s", "/m"); res.Code != exitOK || !stored {
			t.Errorf("%+v, stored %v", res, stored)
		}
		var log strings.Builder
		stuck := startRecovery(t.Context(), func(ctx context.Context) (int, []error) {
			<-ctx.Done()
			return 0, []error{errors.New("old one")}
		}, slog.New(slog.NewTextHandler(&log, nil)))
		began := time.Now()
		testDrain(&fakeFiles{}, &reports).finish(t.Context(), stuck, "/s", "/m")
		if took := time.Since(began); took < time.Minute || took > 2*time.Minute || !strings.Contains(log.String(), "old one") {
			t.Errorf("after %v: %s", took, log.String())
		}
	})
}

// Where there is no terminal the log tells how far it is, every few seconds.
func TestProgressWithoutATerminalIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, log strings.Builder
		show := newStoringShow(&out, slog.New(slog.NewTextHandler(&log, nil)))
		for i := range int64(3) {
			show.storing(progress{Done: i << 20, Total: 4 << 20, NamesDone: 1, Names: 2})
			time.Sleep(tellEvery)
		}
		show.clear()
		if out.Len() > 0 || strings.Count(log.String(), "storing what is left") != 2 || !strings.Contains(log.String(), "2 MiB of 4 MiB, 1 of 2 names") {
			t.Errorf("%q is written, and logged:\n%s", out.String(), log.String())
		}
	})
}

func TestStoringIsDrawnOnOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		s := newProgressShow("storing", &out, time.Now)
		s.width = 80 // as on a terminal
		s.clear()
		s.storing(progress{Done: 1 << 20, Total: 4 << 20})
		time.Sleep(time.Second)
		s.storing(progress{Done: 2 << 20, Total: 4 << 20, NamesDone: 2, Names: 5})
		s.clear()
		s.clear()
		s.storing(progress{NamesDone: 1, Names: 2})
		want := "\r\x1b[K[######------------------] 1 MiB of 4 MiB" +
			"\r\x1b[K[############------------] 2 MiB of 4 MiB, 2 of 5 names, 1 MiB/s, 2s left" + "\r\x1b[K"
		if got := out.String(); !strings.HasPrefix(got, want) || !strings.Contains(got[len(want):], "1 of 2 names") {
			t.Errorf("%q", got)
		}
	})
}

// fakeNames are the changes of names that wait when a mount ends.
type fakeNames struct {
	left  atomic.Int64
	drain func(ctx context.Context) error
}

func (f *fakeNames) Len() int { return int(f.left.Load()) }
func (f *fakeNames) Drain(ctx context.Context, bucket, prefix string) error {
	if bucket != "" || prefix != "" {
		return errors.New("not everything")
	}
	return f.drain(ctx)
}

func TestADrainCarriesOutNamesAfterFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		f := &fakeFiles{sync: func(context.Context, func(done, total int64)) error { order = append(order, "files"); return nil }}
		n := &fakeNames{}
		n.left.Store(2)
		n.drain = func(context.Context) error { order = append(order, "names"); n.left.Store(0); return nil }
		var reports []string
		d := testDrain(f, &reports)
		last := ""
		d.names, d.reportNames = n, func(done, total int64) { last = fmt.Sprintf("%d/%d", done, total) }
		res := d.finish(t.Context(), recovered(), "/s", "/m")
		if res.Code != exitOK || strings.Join(order, " ") != "files names" || last != "2/2" {
			t.Errorf("%+v in the order %v, names %s", res, order, last)
		}
	})
}

func TestNamesThatCannotBeChangedAreListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNames{drain: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }} // the store is away
		n.left.Store(1)
		var reports []string
		d := testDrain(&fakeFiles{}, &reports)
		d.names, d.reportNames = n, func(done, total int64) {}
		d.kept = func() []unsavedFile { return []unsavedFile{{Path: "b/k", Change: changeDelete, Error: "away"}} }
		res := d.finish(t.Context(), recovered(), "/s", "/m")
		if res.Code != exitUnsaved || len(res.Unsaved) != 1 || !strings.HasPrefix(res.Message, "1 name not stored") {
			t.Errorf("%+v", res)
		}
	})
}
