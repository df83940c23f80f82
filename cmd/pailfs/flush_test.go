package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/fs/content"
	"pailfs/fs/outbox"
)

// runFlush runs `pailfs flush` against a fake mount; its place is the argument.
func runFlush(t *testing.T, mount *fakeMount, timeout time.Duration, asJSON bool, paths ...string) (stdout, stderr string, code int) {
	t.Helper()
	dir := t.TempDir()
	serveFake(t, dir, mount)
	var out, errs strings.Builder
	now := testNow
	f := &flush{timeout: timeout, json: asJSON, std: stdio{out: &out, err: &errs},
		now: func() time.Time { now = now.Add(500 * time.Millisecond); return now },
		find: func(given string) (*place, error) {
			if given == "elsewhere" {
				return nil, &failure{code: exitMountPoint, command: "flush", message: "elsewhere: no mount"}
			}
			return &place{mountpoint: "/mnt/x", path: given, view: viewOf(t, dir)}, nil
		}}
	if err := f.run(t.Context(), paths); err != nil {
		f := failureOf(err)
		f.print(&errs)
		code = f.code
	}
	return out.String(), errs.String(), code
}

func TestFlushSumsUp(t *testing.T) {
	left := []unsavedFile{{Path: "b/x", Bytes: 2048, Error: "denied\nagain", Tries: 3}, {Path: "b/gone", Change: changeDelete, Error: "denied"}}
	mount := &fakeMount{flush: func(_ context.Context, path string, report func(flushProgress)) (flushProgress, error) {
		if path == "bad" {
			return flushProgress{Files: 2, FilesDone: 1, Bytes: 3072, BytesDone: 1024, Names: 1, Left: left},
				&failure{code: exitUnsaved, message: "1 file (2 KiB) and 1 name not stored", hint: "it is kept"}
		}
		return flushProgress{Files: 3, FilesDone: 3, Bytes: 3 << 20, BytesDone: 3 << 20, Names: 2, NamesDone: 2}, nil
	}}
	out, errs, code := runFlush(t, mount, 0, false, "good", "good")
	if code != exitOK || errs != "" || !strings.HasPrefix(out, "stored: 6 files, 6 MiB, 4 names in ") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	out, errs, code = runFlush(t, mount, 0, false, "bad", "good")
	if code != exitUnsaved || !strings.HasPrefix(out, "stored: 4 files, 3 MiB, 2 names in ") ||
		errs != "not stored: b/x (2 KiB): denied again\nnot stored: b/gone (deleted here): denied\n"+
			"pailfs: flush: /mnt/x: 1 file (2 KiB) and 1 name not stored\nhint: it is kept\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	out, _, code = runFlush(t, mount, 0, true, "elsewhere", "bad", "good")
	var sum flushSummary
	if err := json.Unmarshal([]byte(out), &sum); err != nil || code != exitMountPoint || sum.Files != 4 || sum.Names != 2 || sum.Bytes != 3<<20+1024 ||
		len(sum.Failed) != 2 || sum.Failed[0].Path != "b/x" || sum.Failed[1].Change != changeDelete || len(sum.Paths) != 3 ||
		sum.Paths[1].Error != "/mnt/x: 1 file (2 KiB) and 1 name not stored" || sum.Paths[2].Error != "" {
		t.Errorf("%v %d %s", err, code, out)
	}
}

// The time is for all paths together, and the process is told what is left of it.
func TestFlushKeepsToItsTime(t *testing.T) {
	var given []time.Duration
	mount := &fakeMount{flush: func(ctx context.Context, path string, _ func(flushProgress)) (flushProgress, error) {
		until, ok := ctx.Deadline()
		if !ok {
			t.Error("no deadline")
		}
		given = append(given, time.Until(until))
		return flushProgress{}, nil
	}}
	_, errs, code := runFlush(t, mount, time.Hour, false, "a", "b")
	if code != exitOK || errs != "" || len(given) != 2 || given[0] > time.Hour || given[1] >= given[0] {
		t.Errorf("%d %q %v", code, errs, given)
	}
	given = nil
	_, errs, code = runFlush(t, mount, 2*time.Second, false, "a", "b", "c") // half a second is gone at each look at the clock
	if code != exitUnsaved || len(given) == 0 || len(given) > 2 || !strings.Contains(errs, "not tried: 2s are over") {
		t.Errorf("%d %q %v", code, errs, given)
	}
}

func TestFlushStreams(t *testing.T) {
	seen := make(chan struct{}) // closed when the client has seen progress
	s := serveFake(t, t.TempDir(), &fakeMount{flush: func(_ context.Context, path string, report func(flushProgress)) (flushProgress, error) {
		if path != "dir/a" {
			t.Errorf("%q", path)
		}
		report(flushProgress{Files: 2, FilesDone: 1, Names: 7})
		<-seen
		return flushProgress{Files: 2, FilesDone: 1, Names: 7, NamesDone: 7, Left: []unsavedFile{{Path: "b/k"}}}, &failure{code: exitUnsaved, message: "1 file not stored", hint: "wait"}
	}})
	lines := 0
	result, err := s.place.daemon("flush").Flush(t.Context(), "dir/a", 0, func(p flushProgress) {
		if lines++; lines == 1 {
			if p.Files != 2 || p.NamesDone != 0 {
				t.Errorf("%+v", p)
			}
			close(seen)
		}
	})
	f := failureOf(err)
	if f.code != exitUnsaved || f.hint != "wait" || result.NamesDone != 7 || len(result.Left) != 1 {
		t.Errorf("%+v %+v", f, result)
	}
}

// pendings is a store of things that are not stored yet.
type pendings struct {
	mu struct {
		sync.Mutex
		list []unsavedFile
	}
}

func pendingsOf(list ...unsavedFile) *pendings {
	p := &pendings{}
	p.set(list)
	return p
}

func (p *pendings) pending() []unsavedFile {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]unsavedFile(nil), p.mu.list...)
}

func (p *pendings) set(list []unsavedFile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.list = list
}

func pendingFile(path string, bytes int64, err string) unsavedFile {
	return unsavedFile{Path: path, Bytes: bytes, Error: err}
}

func pendingName(path, err string) unsavedFile {
	return unsavedFile{Path: path, Change: changeDelete, Error: err}
}

func TestAFlushCountsWhatWasThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pendingsOf(pendingFile("b/a", 100, ""), pendingFile("b/b", 50, "old error"), pendingName("b/c", ""))
		var reports []string
		f := flushing{tick: time.Second, pending: p.pending, store: func(_ context.Context, report func(done, total int64)) error {
			report(70, 160)                     // in the middle of a; b has grown
			time.Sleep(1500 * time.Millisecond) // a look
			p.set([]unsavedFile{pendingFile("b/new", 9, "")})
			report(160, 160)
			return nil
		}}
		result, err := f.run(t.Context(), func(p flushProgress) {
			reports = append(reports, fmt.Sprintf("%d/%d %d/%d %d/%d", p.FilesDone, p.Files, p.BytesDone, p.Bytes, p.NamesDone, p.Names))
		})
		if err != nil || result.FilesDone != 2 || result.BytesDone != 150 || result.NamesDone != 1 || len(result.Left) != 0 {
			t.Errorf("%+v %v", result, err)
		}
		if got := strings.Join(reports, ", "); got != "0/2 0/150 0/1, 0/2 70/160 0/1, 0/2 70/160 0/1, 0/2 160/160 0/1" {
			t.Error(got)
		}
	})
}

func TestWhatAFlushLeavesIsNamed(t *testing.T) {
	all := []unsavedFile{pendingFile("b/a", 100, ""), pendingFile("b/b", 50, ""), pendingName("b/a", "")}
	for _, c := range []struct {
		name  string
		left  []unsavedFile
		err   error
		ended bool // the time is over
		want  string
		fails bool
	}{
		{"all stored", nil, nil, false, "", false},
		{"one refused", []unsavedFile{pendingFile("b/b", 50, "denied")}, errors.New("b/b: denied"), false, "b/b", true},
		{"refused, and not said", []unsavedFile{pendingName("b/a", "denied")}, nil, false, "b/a delete", true},
		{"written again", []unsavedFile{pendingFile("b/b", 70, "")}, nil, false, "", false},
		{"new ones that fail", []unsavedFile{pendingFile("b/new", 70, "denied")}, nil, false, "", false},
		{"out of time", all[1:], context.DeadlineExceeded, true, "b/b, b/a delete", true},
		{"a conflict is stored", nil, fmt.Errorf("b/a: %w", content.ErrConflict), false, "", true},
		{"a change that nobody tried", []unsavedFile{pendingName("b/a", "")}, nil, false, "b/a delete", true},
		{"given up", nil, fmt.Errorf("delete b/a: %w", outbox.ErrGivenUp), false, "", true},
		{"somebody else's failure", nil, errors.New("b/ab: denied"), false, "", false},
		{"renamed meanwhile, and refused", []unsavedFile{pendingFile("b/new", 50, "denied")}, errors.New("b/new: denied"), false, "", true},
	} {
		p := pendingsOf(all...)
		ctx, cancel := context.WithCancel(t.Context())
		f := flushing{tick: time.Hour, pending: p.pending, store: func(context.Context, func(done, total int64)) error {
			if p.set(c.left); c.ended {
				cancel()
			}
			return c.err
		}}
		result, err := f.run(ctx, func(flushProgress) {})
		cancel()
		var names []string
		for _, f := range result.Left {
			names = append(names, strings.TrimSpace(f.Path+" "+f.Change))
		}
		if got := strings.Join(names, ", "); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %q left, %v", c.name, got, err)
		}
	}
}

func TestAtOrBelow(t *testing.T) {
	for _, c := range []struct {
		name, path string
		want       bool
	}{
		{"b/dir/a", "b/dir", true}, {"b/dir/", "b/dir", true}, {"b/dir", "b/dir", true}, {"b/dirx", "b/dir", false},
		{"b/a", "b", true}, {"b2/a", "b", false}, {"b/a", "", true}, {"b", "b/dir", false},
	} {
		if got := atOrBelow(c.name, c.path); got != c.want {
			t.Errorf("%s below %q: %v", c.name, c.path, got)
		}
	}
}

func TestThings(t *testing.T) {
	list := []unsavedFile{pendingFile("a", 1024, ""), pendingFile("b", 1024, ""), pendingName("c", "")}
	for want, got := range map[string]string{
		"2 files (2 KiB) and 1 name": things(list, 0), "1 name": things(list[2:], 0), "1 file (1 KiB) and 5 more": things(list[:1], 5),
	} {
		if got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

func TestFlushText(t *testing.T) {
	p := flushProgress{Files: 350, FilesDone: 120, Bytes: 3 << 30, BytesDone: 1 << 30}
	if got := flushText(p, 0); got != "1 GiB of 3 GiB, 120 of 350 files" {
		t.Error(got)
	}
	p.Names, p.NamesDone = 1, 0
	if got := flushText(p, 64<<20); got != "1 GiB of 3 GiB, 120 of 350 files, 0 of 1 name, 64 MiB/s" {
		t.Error(got)
	}
}
