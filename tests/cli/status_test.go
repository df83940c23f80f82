package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// report is what these tests read of `pailfs status --json`.
type report struct {
	Mountpoint string `json:"mountpoint"`
	State      string `json:"state"`
	Source     string `json:"source"`
	PID        int    `json:"pid"`
	Store      *struct {
		Endpoint string `json:"endpoint"`
		Region   string `json:"region"`
	} `json:"store"`
	Unsaved *struct {
		Count  int   `json:"count"`
		Bytes  int64 `json:"bytes"`
		Failed int   `json:"failed"`
		Files  []struct {
			Path string `json:"path"`
		} `json:"files"`
	} `json:"unsaved"`
	Pending *struct {
		Files    int    `json:"files"`
		Bytes    int64  `json:"bytes"`
		Names    int    `json:"names"`
		Failed   int    `json:"failed"`
		Failures []left `json:"failures"`
	} `json:"pending"`
	Recovered *struct {
		Files   int   `json:"files"`
		Bytes   int64 `json:"bytes"`
		Names   int   `json:"names"`
		Stored  int   `json:"stored"`
		Waiting int   `json:"waiting"`
	} `json:"recovered"`
	Journal *struct {
		Durability string  `json:"durability"`
		MaxLag     float64 `json:"max_lag_seconds"`
		Records    int     `json:"records"`
		Log        int64   `json:"log_bytes"`
		Syncs      int64   `json:"syncs"`
	} `json:"journal"`
	Memory *struct {
		RSS int64 `json:"rss_bytes"`
	} `json:"memory"`
	Requests *struct {
		Get     int64 `json:"get"`
		Put     int64 `json:"put"`
		BytesIn int64 `json:"bytes_in"`
	} `json:"requests"`
}

// output is a command's standard output; it must end with a code.
func (d *desk) output(code int, args ...string) []byte {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), testenv.Binary(d.t), args...)
	cmd.Env = d.env
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		d.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		d.t.Errorf("pailfs %v: exit code %d, want %d\n%s%s", args, got, code, out, errs.String())
	}
	return out
}

func (d *desk) reports(code int, args ...string) []report {
	d.t.Helper()
	var list []report
	out := d.output(code, append([]string{"status", "--json"}, args...)...)
	if err := json.Unmarshal(out, &list); err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	return list
}

// report is the only mount's.
func (d *desk) report(code int) report {
	d.t.Helper()
	list := d.reports(code)
	if len(list) != 1 || list[0].Mountpoint != d.mnt {
		d.t.Fatalf("%+v", list)
	}
	return list[0]
}

func (d *desk) put(key, body string) {
	d.t.Helper()
	d.store.Put(d.t, d.bucket, key, []byte(body), nil)
}

func TestStatus(t *testing.T) {
	d := newDesk(t)
	d.expect(0, []string{"nothing is mounted"}, "status")
	if list := d.reports(0); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	d.expect(6, []string{"not on a mount of pailfs", "lists the mounts"}, "status", d.mnt)
	d.mount()
	if err := d.write("a", "hello"); err != nil {
		t.Error(err)
	}
	d.expect(0, []string{d.mnt + "\n", "state       serving\n", "unsaved     none\n", "pid " + fmt.Sprint(d.pid()), d.store.Endpoint, "PUT 1,"}, "status")
	d.expect(0, []string{"state       serving\n"}, "status", d.mnt+"/any/path")
	r := d.report(0)
	if r.State != "serving" || r.PID != d.pid() || r.Source != d.bucket || r.Store == nil || r.Store.Endpoint != d.store.Endpoint ||
		r.Unsaved == nil || r.Unsaved.Count != 0 || r.Memory == nil || r.Memory.RSS == 0 || r.Requests == nil || r.Requests.Put != 1 {
		t.Errorf("%+v", r)
	}
	sockets, err := filepath.Glob(filepath.Dir(d.mnt) + "/run/*.sock")
	if err != nil || len(sockets) != 1 {
		t.Fatalf("%v %v", sockets, err)
	}
	if fi, err := os.Stat(sockets[0]); err != nil || fi.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v %v", fi, err)
	}
	d.expect(0, nil, "umount", d.mnt)
	d.expect(0, []string{"nothing is mounted"}, "status")
	if left, err := os.ReadDir(filepath.Dir(d.mnt) + "/run"); err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}
}

func TestStatusOfAKilledProcess(t *testing.T) {
	d := newDesk(t)
	d.mount()
	pid := d.pid()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.awaitEnd(pid)
	d.expect(6, []string{"state       killed: its process is gone"}, "status")
	d.expect(6, []string{"state       killed"}, "status", d.mnt)
	d.expect(6, []string{"is gone", "pailfs umount"}, "refresh", d.mnt)
	if r := d.report(6); r.State != "killed" || r.PID != pid || r.Requests != nil {
		t.Errorf("%+v", r)
	}
	d.mount() // over the dead one, with its socket
	if r := d.report(0); r.State != "serving" || r.PID == pid {
		t.Errorf("%+v", r)
	}
	d.expect(0, nil, "umount", d.mnt)
}

func TestStatusWhileItIsStoring(t *testing.T) {
	d := newDesk(t)
	d.mount("--timeout", "30s")
	w := d.open("slow", "bytes")
	if r := d.report(0); r.State != "serving" || r.Unsaved.Count != 1 || r.Unsaved.Bytes != 5 || r.Unsaved.Files[0].Path != d.bucket+"/slow" {
		t.Errorf("%+v", r)
	}
	d.store.Stop(t)
	d.expect(8, []string{"goes on in the background"}, "umount", "--force", "--timeout", "200ms", d.mnt)
	d.expect(0, []string{"state       draining: unmounted", "1 file, 5 B", d.bucket + "/slow"}, "status", d.mnt)
	if r := d.report(0); r.State != "draining" || r.Unsaved.Count != 1 {
		t.Errorf("%+v", r)
	}
	d.expect(6, []string{"not on a mount"}, "warm", d.mnt)
	again := d.startWaiting("umount", d.mnt)
	d.store.Start(t)
	if err := again.Wait(); err != nil {
		t.Errorf("%v\n%s", err, again.Stderr)
	}
	d.wantObject("slow", "bytes")
	w.fails()
}

func TestRefresh(t *testing.T) {
	d := newDesk(t)
	d.put("dir/old", "1")
	d.put("dir/grown", "1")
	d.mount("--metadata-ttl", "1h")
	names := func() (list []string) {
		t.Helper()
		entries, err := os.ReadDir(d.mnt + "/dir")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	size := func(name string) int64 {
		fi, err := os.Stat(d.mnt + "/dir/" + name)
		if err != nil {
			return -1
		}
		return fi.Size()
	}
	if got := fmt.Sprint(names(), size("new"), size("grown")); got != "[grown old] -1 1" {
		t.Fatal(got)
	}
	d.put("dir/new", "12")
	d.put("dir/grown", "123")
	if got := fmt.Sprint(names(), size("new"), size("grown")); got != "[grown old] -1 1" {
		t.Fatalf("within the TTL: %s", got)
	}
	d.expect(0, nil, "refresh", d.mnt+"/dir")
	if got := fmt.Sprint(names(), size("new"), size("grown")); got != "[grown new old] 2 3" {
		t.Errorf("after the refresh: %s", got)
	}
	out := d.output(6, "refresh", "--json", d.mnt+"/gone/long/ago", t.TempDir())
	var results []struct{ Path, Mountpoint, Error string }
	if err := json.Unmarshal(out, &results); err != nil || len(results) != 2 || results[0].Mountpoint != d.mnt || results[0].Error != "" ||
		!strings.Contains(results[1].Error, "not on a mount") {
		t.Errorf("%v %s", err, out)
	}
	d.expect(0, nil, "umount", d.mnt)
}

func TestWarm(t *testing.T) {
	d := newDesk(t)
	bodies := map[string]string{"w/a": strings.Repeat("a", 100_000), "w/b": strings.Repeat("b", 3<<20), "w/sub/c": "c", "other": "not warmed"}
	for key, body := range bodies {
		d.put(key, body)
	}
	d.mount("--metadata-ttl", "1h")
	var sum struct {
		Files, Bytes, Failed int64
		Failures             []struct{ Path, Error string }
	}
	out := d.output(0, "warm", d.mnt+"/w", "--jobs", "2", "--json")
	if err := json.Unmarshal(out, &sum); err != nil || sum.Files != 3 || sum.Bytes != 100_000+3<<20+1 || sum.Failed != 0 || len(sum.Failures) != 0 {
		t.Errorf("%v %s", err, out)
	}
	before := d.report(0).Requests
	for key, body := range bodies {
		if key == "other" {
			continue
		}
		if b, err := os.ReadFile(filepath.Join(d.mnt, key)); err != nil || string(b) != body {
			t.Errorf("%s: %d bytes, %v", key, len(b), err)
		}
	}
	if after := d.report(0).Requests; after.Get != before.Get {
		t.Errorf("%d GETs for what was warm", after.Get-before.Get)
	}
	d.expect(0, []string{"3 files, 3.1 MiB in "}, "warm", d.mnt+"/w")
	d.expect(5, []string{"pailfs: warm: "}, "warm", d.mnt+"/nowhere")
	d.expect(0, nil, "umount", d.mnt)
}

func TestWarmNamesWhatFails(t *testing.T) {
	d := newDesk(t)
	d.put("w/a", strings.Repeat("a", 1<<20))
	d.put("w/gone", strings.Repeat("g", 1<<20))
	d.mount("--metadata-ttl", "1h")
	if _, err := os.ReadDir(d.mnt + "/w"); err != nil {
		t.Fatal(err)
	}
	if err := d.store.Client.Delete(t.Context(), d.bucket, "w/gone"); err != nil {
		t.Fatal(err)
	}
	d.expect(1, []string{"not fetched: w/gone", "1 file, 1 MiB in ", "1 failed", "1 file could not be fetched"}, "warm", d.mnt+"/w")
	d.expect(0, nil, "umount", d.mnt)
}

func TestWhatIsWarmStaysOnDisk(t *testing.T) {
	d := newDesk(t)
	body := strings.Repeat("0123456789abcdef", 1<<17)
	d.put("a", body)
	cache := filepath.Dir(d.mnt) + "/cache"
	d.mount("--cache-dir", cache)
	d.expect(0, []string{"1 file, 2 MiB in "}, "warm", d.mnt)
	d.expect(0, []string{"disk cache  " + cache + ": 2 MiB of 10 GiB, 1 file"}, "status")
	d.expect(0, nil, "umount", d.mnt)
	d.mount("--cache-dir", cache)
	if b, err := os.ReadFile(d.mnt + "/a"); err != nil || string(b) != body {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if r := d.report(0); r.Requests.Get != 0 {
		t.Errorf("%d GETs for what is on disk", r.Requests.Get)
	}
	d.expect(0, nil, "umount", d.mnt)
}
