package main

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"pailfs/s3client"
)

var testNow = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fullReport has all there can be.
func fullReport() statusReport {
	ago := func(d time.Duration) *time.Time {
		at := testNow.Add(-d)
		return &at
	}
	return statusReport{
		Mountpoint: "/mnt/x", State: stateDraining, Source: "b", PID: 42, Since: *ago(26 * time.Hour), Version: "1.0",
		StateDir: "/s", LogFile: "/s/log/x.log", Drain: &progress{Done: 1 << 20, Total: 4 << 20},
		Store:    &storeReport{Endpoint: "https://kr1", Region: "KR1", Provider: "nhn", Away: true, Since: ago(90 * time.Second), Error: "refused\nagain", Requests: 120, P50: 0.0125, P99: 2.34},
		LogLevel: "debug", MetricsAddr: "127.0.0.1:9090", Limits: &limitsReport{Up: 1 << 20, WriteRate: 450, Requests: 64},
		Operations: &operationsReport{Count: 1000, Failed: 7, InFlight: 2},
		Unsaved: unsavedOf([]unsavedFile{{Path: "b/a\x1b[2J", Bytes: 3 << 20, Since: *ago(time.Minute), Error: "denied"},
			{Path: "b/한글 b", Bytes: 1, Since: *ago(time.Hour)}}),
		Pending: pendingOf([]unsavedFile{{Path: "b/한글 b", Bytes: 1, Since: *ago(time.Hour)},
			{Path: "b/dir/", Change: changePut, Since: *ago(2 * time.Hour), Error: "PUT Object b/dir/: denied", Tries: 4, Next: ago(-20 * time.Second)},
			{Path: "b/due", Change: changePut, Since: *ago(time.Hour), Error: "denied", Tries: 2, Next: ago(-time.Second / 4)},
			{Path: "b/old", Change: changeDelete, Since: *ago(time.Minute)}}),
		Recovered: &recoveredReport{Files: 2, Bytes: 5 << 20, Names: 1, Stored: 1, Waiting: 2},
		Renames: []renameReport{{From: "b/d", To: "b/e", Stage: "copy", Since: *ago(time.Minute), Found: 2000, Copied: 1400},
			{From: "b/f", To: "b/g", Stage: "delete", Since: *ago(time.Minute), Found: 20, Copied: 20, Deleted: 5, Earlier: true}},
		Journal:     &journalReport{Durability: "journal", MaxLag: 30, Records: 2, Notes: 3, Log: 4 << 10, Spool: 3 << 20, Memory: 17, Syncs: 5, Entries: 600},
		Conflicts:   &conflictsReport{Count: 1, Files: []conflictReport{{Path: "b/c", Kept: "b/c.conflict-h-1"}}},
		Memory:      &memoryReport{Budget: 256 << 20, Cached: 34 << 20, InFlight: 8 << 20, RSS: 120 << 20},
		Blocks:      &blocksReport{Hits: 3, Misses: 1, Fetches: 2, Fetched: 4 << 20},
		Names:       &namesReport{Known: 1234, Attributes: 100, Changes: 2, Hidden: 1},
		Disk:        &diskReport{Dir: "/var/cache/pailfs", Bytes: 1 << 30, Limit: 10 << 30, Files: 7, Hits: 1, Misses: 1, Corrupt: 1, Paused: "the disk is full"},
		Ahead:       &aheadReport{Fetched: 9, Used: 8},
		Passthrough: &passthroughReport{Why: "needs root", Opens: 3},
		Requests:    &s3client.Counts{Get: 12, Head: 3, List: 2, Retries: 1, BytesIn: 1 << 30, BytesOut: 5},
	}
}

func TestStatusText(t *testing.T) {
	var b strings.Builder
	killed := statusReport{Mountpoint: "/mnt/\x1b]0;x\a", State: stateKilled, Why: "its process is gone", Source: "s", PID: 1, Since: testNow}
	if err := printReports(&b, []statusReport{fullReport(), killed}, testNow); err != nil {
		t.Fatal(err)
	}
	const want = `/mnt/x
  state       draining: unmounted, storing what is left, 1 MiB of 4 MiB
  source      b
  process     pid 42, since 2026-04-30 10:00:00 (1d2h), pailfs 1.0
  store       https://kr1, region KR1, nhn; away for 1m30s: refused again; last minute 120 requests, half within 12 ms, 99% within 2.3 s
  unsaved     2 files, 3 MiB, oldest 1h, 1 could not be stored
                "b/a\x1b[2J" (3 MiB): denied
                b/한글 b (1 B)
  changes     3 names to be changed in the store, 2 could not be
                b/dir/ (made here): PUT Object: denied; 4 tries; again in 20s
                b/due (made here): denied; 2 tries; being tried again
  recovered   2 files (5 MiB) and 1 name of an earlier run: 1 stored, 2 waiting
  renaming    b/d to b/e: 1400 of 2000 found so far copied; since 1m
  renaming    b/f to b/g: 20 copied, 5 of the old names deleted; since 1m, of an earlier run
  durability  journal, at most 30s behind; journal of 2 files: log 4 KiB, content 3 MiB and 17 B in memory; 5 syncs for 600 entries
  conflicts   1 file changed here and elsewhere, both versions kept
                b/c: the version of this mount is b/c.conflict-h-1
  memory      at most 256 MiB: 34 MiB cached, 8 MiB in flight, 0 B held; process 120 MiB
  reads       75% of blocks from memory; 2 fetches, 4 MiB; 9 small files ahead, 8 of them used
  disk cache  /var/cache/pailfs: 1 GiB of 10 GiB, 7 files; 50% of blocks found; 1 damaged; paused: the disk is full
  passthrough off: needs root; 3 opens
  names       1234 known, 100 with attributes, 2 changed here, 1 keys hidden
  requests    17: GET 12, HEAD 3, LIST 2, PUT 0, COPY 0, POST 0, DELETE 0; 1 retries, 0 throttled
  traffic     1 GiB in, 5 B out
  limits      bandwidth 1 MiB/s to the store, no limit from it, 450 writes a second, 64 requests in flight
  operations  1000 of the kernel, 7 failed, 2 being answered
  metrics     127.0.0.1:9090
  log         /s/log/x.log, level debug

"/mnt/\x1b]0;x\a"
  state       killed: its process is gone
  source      s
  process     pid 1, since 2026-05-01 12:00:00 (0s)
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// Nothing of what others have named moves the cursor, sets a title or breaks a line.
func TestNoEscapesReachTheTerminal(t *testing.T) {
	evil := "a\x1b]0;title\a\x9b2J\u009b31m\r\n\u2028\u202eb"
	r := fullReport()
	r.Source, r.Why, r.LogFile, r.Store.Endpoint, r.Store.Error, r.Disk.Paused, r.Passthrough.Why = evil, evil, evil, evil, evil, evil, evil
	r.Version, r.MetricsAddr, r.Disk.Dir = evil, evil, evil
	r.Unsaved = unsavedOf([]unsavedFile{{Path: evil, Error: evil}})
	r.Pending = pendingOf([]unsavedFile{{Path: evil, Change: changePut, Error: evil}})
	r.Renames[0].From, r.Conflicts.Files[0].Path, r.Conflicts.Files[0].Kept = evil, evil, evil
	var all, table strings.Builder
	if err := errors.Join(printReports(&all, []statusReport{r}, testNow), printTable(&table, []statusReport{r, r}, testNow)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{all.String(), table.String(), oneLine(evil), shown(evil)} {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool {
			return unicode.IsControl(c) && c != '\n' || unicode.Is(unicode.Bidi_Control, c) || c == '\u2028'
		}) {
			t.Errorf("%q", text)
		}
	}
	if plain, _, _ := strings.Cut(table.String(), "`"); strings.Count(plain, "\n") != 3 {
		t.Errorf("%s", table.String())
	}
}

func TestStatusTable(t *testing.T) {
	var b strings.Builder
	idle := statusReport{Mountpoint: "/mnt/y", Source: "c", State: stateServing, ReadOnly: true, Store: &storeReport{}, Pending: &pendingReport{}}
	killed := statusReport{Mountpoint: "/mnt/\x1b]0;x\a", State: stateKilled, Why: "its process is gone", Source: "s", PID: 1, Since: testNow}
	if err := printTable(&b, []statusReport{fullReport(), idle, killed}, testNow); err != nil {
		t.Fatal(err)
	}
	const want = `MOUNT POINT        SOURCE  STATE      STORE       P50    P99    NOT STORED            FAILED  OLDEST  HITS
/mnt/x             b       draining   away 1m30s  12 ms  2.3 s  1 file, 1 B, 3 names  2       2h      75%
/mnt/y             c       read-only  answers     -      -      nothing               0       -       -
"/mnt/\x1b]0;x\a"  s       killed     -           -      -      -                     -       -       -
` + "`pailfs status MOUNTPOINT` tells more, --all of all\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestLongListsAreCut(t *testing.T) {
	var list []unsavedFile
	for range 150 {
		list = append(list, unsavedFile{Path: "b/k", Bytes: 1})
	}
	u := unsavedOf(list)
	if u.Count != 150 || u.Bytes != 150 || len(u.Files) != 100 || u.Oldest != nil {
		t.Errorf("%+v", u)
	}
	var b strings.Builder
	page{&b, testNow}.unsaved(*u)
	if n := strings.Count(b.String(), "\n"); n != 12 || !strings.Contains(b.String(), "and 140 more") {
		t.Errorf("%s", b.String())
	}
}

// Every field is documented, and named as fields are: small letters and underscores.
func TestStatusFieldsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("testdata/status.md")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(fullReport())
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		names := []string{name}
		if object, ok := value.(map[string]any); ok && name != "requests" && name != "drain" {
			names = nil
			for inner := range object {
				names = append(names, name+"."+inner)
			}
		}
		for _, n := range names {
			if !strings.Contains(string(doc), "| `"+n+"` |") || n != strings.ToLower(n) {
				t.Errorf("%s is not documented", n)
			}
		}
	}
}

func TestWhatARuntimeFileSays(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   func(r *runtimeFile) error
		state string // "" for nothing to report
		why   string
		code  int
	}{
		{"killed", func(r *runtimeFile) error { return r.close() }, stateKilled, "gone without a word", exitMountPoint},
		{"a good end", func(r *runtimeFile) error { return r.Finish(result{}) }, "", "", exitOK},
		{"data left", func(r *runtimeFile) error {
			return r.Finish(result{Code: exitUnsaved, Message: "1 file not stored", Hint: "mount again", Unsaved: []unsavedFile{{Path: "b/k", Bytes: 3}}})
		}, stateEnded, "1 file not stored (mount again)", exitUnsaved},
		{"finishing", func(r *runtimeFile) error { return r.Ending() }, stateDraining, "", exitOK},
		{"just started", func(r *runtimeFile) error {
			return r.write(func(s *runtimeState) { s.Started = time.Now() })
		}, stateStarting, "", exitOK},
		{"a socket that is gone", func(r *runtimeFile) error { return r.Socket("gone.sock") }, stateUnanswered, "does not listen", exitMountPoint},
		{"a socket elsewhere", func(r *runtimeFile) error { return r.Socket("../x.sock") }, stateUnanswered, "damaged", exitMountPoint},
		{"damaged", func(r *runtimeFile) error { _, err := r.mu.f.WriteAt([]byte("}"), 0); return err }, stateUnanswered, "damaged", exitMountPoint},
	} {
		dir := t.TempDir()
		r := openTestRuntime(t, dir)
		v := viewOf(t, dir)
		if err := c.set(r); err != nil {
			t.Fatal(err)
		}
		got := reportOn(t.Context(), v)
		switch {
		case got == nil && c.state != "":
			t.Errorf("%s: nothing", c.name)
		case got != nil && (got.State != c.state || !strings.Contains(got.Why, c.why) || codeOf(*got) != c.code):
			t.Errorf("%s: %+v, code %d", c.name, got, codeOf(*got))
		}
		r.close()
	}
}

// A process without a control socket is waited for, for a while.
func TestAProcessWithoutASocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := openTestRuntime(t, dir)
		defer r.Discard()
		began := time.Now()
		_, err := daemon{viewOf(t, dir), "status", "/mnt/x"}.Status(t.Context())
		if f := failureOf(err); f.code != exitMountPoint || !strings.Contains(f.message, "no control socket") || time.Since(began) != socketPatience {
			t.Errorf("%+v after %v", f, time.Since(began))
		}
	})
}

func TestStatusOfAllMounts(t *testing.T) {
	dir := t.TempDir()
	serveFake(t, dir, &fakeMount{})
	other, err := openRuntime(dir, runtimeState{PID: 7, Mountpoint: "/mnt/a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.close(); err != nil { // killed
		t.Fatal(err)
	}
	var out strings.Builder
	s := &status{json: true, dirs: []string{dir}, std: stdio{out: &out, err: &out}, now: time.Now}
	f := failureOf(s.once(t.Context(), &out))
	if f.code != exitMountPoint || !f.silent {
		t.Errorf("%+v", f)
	}
	var list []statusReport
	if err := json.Unmarshal([]byte(out.String()), &list); err != nil || len(list) != 2 || list[0].State != stateKilled || list[1].State != stateServing {
		t.Errorf("%v %s", err, out.String())
	}
}

func TestWatchShowsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out countingWriter
		s := &status{json: true, dirs: []string{t.TempDir()}, std: stdio{out: &out}, now: time.Now}
		out.enough, out.stop = 3, errors.New("enough")
		began := time.Now()
		if err := s.run(t.Context(), 5*time.Second); !errors.Is(err, out.stop) {
			t.Error(err)
		}
		if time.Since(began) != 10*time.Second || slices.ContainsFunc(out.written, func(s string) bool { return s != "[]\n" }) {
			t.Errorf("%v after %v", out.written, time.Since(began))
		}
	})
}

// countingWriter fails at the last of enough writes.
type countingWriter struct {
	written []string
	enough  int
	stop    error
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.written = append(w.written, string(p))
	if len(w.written) == w.enough {
		return 0, w.stop
	}
	return len(p), nil
}

func TestWatchFlag(t *testing.T) {
	for in, want := range map[string]time.Duration{"": 0, "true": 2 * time.Second, "false": 0, "1": time.Second, "0.5": 500 * time.Millisecond, "1m": time.Minute} {
		w := watchFlag(in)
		if got, err := w.interval(); err != nil || got != want {
			t.Errorf("%s: %v %v", in, got, err)
		}
	}
	for _, in := range []string{"0", "-1", "soon", "48h"} {
		w := watchFlag(in)
		if got, err := w.interval(); err == nil {
			t.Errorf("%q was taken for %v", in, got)
		}
	}
}

func TestShortTime(t *testing.T) {
	for in, want := range map[time.Duration]string{0: "0s", 900 * time.Millisecond: "0s", -time.Second: "0s", 59 * time.Second: "59s", time.Minute: "1m",
		61 * time.Second: "1m1s", time.Hour + time.Second: "1h", 3*time.Hour + 12*time.Minute: "3h12m", 49 * time.Hour: "2d1h"} {
		if got := shortTime(in); got != want {
			t.Errorf("%v: %s", in, got)
		}
	}
}
