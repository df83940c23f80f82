package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// runWarm runs `pailfs warm` against a fake mount; its place is the argument.
func runWarm(t *testing.T, mount *fakeMount, asJSON bool, paths ...string) (stdout, stderr string, code int) {
	t.Helper()
	dir := t.TempDir()
	serveFake(t, dir, mount)
	var out, errs strings.Builder
	now := testNow
	w := &warm{jobs: 2, json: asJSON, std: stdio{out: &out, err: &errs},
		now: func() time.Time { now = now.Add(500 * time.Millisecond); return now },
		find: func(given string) (*place, error) {
			if given == "elsewhere" {
				return nil, &failure{code: exitMountPoint, command: "warm", message: "elsewhere: no mount"}
			}
			return &place{mountpoint: "/mnt/x", path: given, view: viewOf(t, dir)}, nil
		}}
	if err := w.run(t.Context(), paths); err != nil {
		f := failureOf(err)
		f.print(&errs)
		code = f.code
	}
	return out.String(), errs.String(), code
}

func TestWarmSumsUp(t *testing.T) {
	mount := &fakeMount{warm: func(_ context.Context, path string, _ int, report func(warmProgress)) (warmProgress, error) {
		switch path {
		case "bad":
			report(warmProgress{Files: 2, FilesDone: 1, Bytes: 2048, BytesDone: 1024, Failed: 1, Path: "bad/\x1b[31m", Error: "denied\nagain"})
			return warmProgress{Files: 2, FilesDone: 1, Bytes: 2048, BytesDone: 1024, Failed: 1}, nil
		case "away":
			return warmProgress{Files: 5, FilesDone: 2, Bytes: 10, BytesDone: 4}, &failure{code: exitUnreachable, message: "cannot list away: no answer", hint: "wait"}
		}
		return warmProgress{Files: 3, FilesDone: 3, Bytes: 3 << 20, BytesDone: 3 << 20}, nil
	}}
	out, errs, code := runWarm(t, mount, false, "good", "good")
	if code != exitOK || errs != "" || !strings.HasPrefix(out, "6 files, 6 MiB in ") || strings.Contains(out, "failed") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	out, errs, code = runWarm(t, mount, false, "bad", "good")
	if code != exitGeneral || !strings.HasPrefix(out, "4 files, 3 MiB in ") || !strings.HasSuffix(out, ", 1 failed\n") ||
		errs != "not fetched: \"bad/\\x1b[31m\": denied again\npailfs: warm: 1 file could not be fetched\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	// One that ends with an error does not keep the others from being fetched, and what it brought counts.
	out, errs, code = runWarm(t, mount, true, "elsewhere", "away", "good")
	var sum warmSummary
	if err := json.Unmarshal([]byte(out), &sum); err != nil || code != exitMountPoint || sum.Files != 5 || sum.Bytes != 3<<20+4 || len(sum.Paths) != 3 ||
		sum.Paths[1] != (pathResult{"away", "/mnt/x", "/mnt/x: cannot list away: no answer"}) || sum.Paths[2].Error != "" {
		t.Errorf("%v %d %s", err, code, out)
	}
	if errs != "pailfs: warm: elsewhere: no mount\npailfs: warm: /mnt/x: cannot list away: no answer\nhint: wait\n" {
		t.Errorf("%q", errs)
	}
}

func TestRefreshGoesOnAfterAFailure(t *testing.T) {
	dir := t.TempDir()
	var asked []string
	serveFake(t, dir, &fakeMount{refresh: func(_ context.Context, path string) error {
		asked = append(asked, path)
		if path == "a" {
			return errors.New("odd")
		}
		return nil
	}})
	var out, errs strings.Builder
	find := func(given string) (*place, error) {
		return &place{mountpoint: "/mnt/x", path: given, view: viewOf(t, dir)}, nil
	}
	err := refreshPaths(t.Context(), stdio{out: &out, err: &errs}, find, []string{"a", "b"}, true)
	if f := failureOf(err); f.code != exitGeneral || !f.silent || errs.String() != "pailfs: refresh: /mnt/x: odd\n" {
		t.Errorf("%+v %q", f, errs.String())
	}
	var results []pathResult
	if err := json.Unmarshal([]byte(out.String()), &results); err != nil || len(results) != 2 || results[0].Error != "/mnt/x: odd" || results[1].Error != "" {
		t.Errorf("%v %s", err, out.String())
	}
	if strings.Join(asked, " ") != "a b" {
		t.Errorf("%v", asked)
	}
}

func TestMeter(t *testing.T) {
	var m meter
	if m.rate() != 0 {
		t.Error("a rate of nothing")
	}
	for i := range 60 { // 100 bytes a second, then 10
		m.add(testNow.Add(time.Duration(i)*time.Second), int64(min(i, 30)*100+max(0, i-30)*10))
	}
	if m.rate() != 10 || len(m.samples) > 12 {
		t.Errorf("%v of %d samples", m.rate(), len(m.samples))
	}
}

func TestWarmText(t *testing.T) {
	p := warmProgress{Files: 350, FilesDone: 120, Bytes: 3 << 30, BytesDone: 1 << 30}
	if got := warmText(p, 64<<20); got != "1 GiB of 3 GiB, 120 of 350 files, 64 MiB/s, 32s left" {
		t.Error(got)
	}
	p.Failed = 2
	if got := warmText(p, 0); got != "1 GiB of 3 GiB, 120 of 350 files, 2 failed" {
		t.Error(got)
	}
	for _, c := range []struct {
		done, total int64
		want        string
	}{{0, 0, "[----]"}, {1, 2, "[##--]"}, {2, 2, "[####]"}, {5, 2, "[####]"}} {
		if got := bar(c.done, c.total, 4); got != c.want {
			t.Errorf("%d of %d: %s", c.done, c.total, got)
		}
	}
}

func TestWarmIsTold(t *testing.T) {
	var out strings.Builder
	now := testNow
	s := newProgressShow("warming", &out, func() time.Time { return now })
	for i := range int64(13) { // a line every five seconds where there is no terminal
		s.warm(warmProgress{Files: 1, Bytes: 1300, BytesDone: i * 100})
		now = now.Add(time.Second)
	}
	s.clear()
	if out.String() != "warming: 500 B of 1.3 KiB, 0 of 1 file, 100 B/s, 8s left\nwarming: 1000 B of 1.3 KiB, 0 of 1 file, 100 B/s, 3s left\n" {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	s = &progressShow{out: &out, width: 90, now: func() time.Time { return now }}
	s.warm(warmProgress{Files: 2, Bytes: 200, BytesDone: 100})
	s.clear()
	s.clear()
	if out.String() != "\r\x1b[K[############------------] 100 B of 200 B, 0 of 2 files\r\x1b[K" {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	s.width = 21
	s.warm(warmProgress{Files: 2, Bytes: 200, BytesDone: 100})
	if out.String() != "\r\x1b[K100 B of 200 B, 0 of" {
		t.Errorf("%q", out.String())
	}
}
