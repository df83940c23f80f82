package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// observed is what these tests read of `pailfs status --json`.
type observed struct {
	State       string `json:"state"`
	LogLevel    string `json:"log_level"`
	LogFile     string `json:"log_file"`
	MetricsAddr string `json:"metrics_addr"`
	Limits      struct {
		Up        int64   `json:"bandwidth_up"`
		Down      int64   `json:"bandwidth_down"`
		WriteRate float64 `json:"write_rate"`
		Requests  int     `json:"max_requests"`
	} `json:"limits"`
	Operations struct {
		Count  int64 `json:"count"`
		Failed int64 `json:"failed"`
	} `json:"operations"`
	Store struct {
		Requests int64   `json:"requests_last_minute"`
		P99      float64 `json:"p99_seconds"`
	} `json:"store"`
	Requests struct {
		Put      int64 `json:"put"`
		BytesOut int64 `json:"bytes_out"`
	} `json:"requests"`
}

func (d *desk) observed() observed {
	d.t.Helper()
	var list []observed
	out := d.output(0, "status", "--json", d.mnt)
	if err := json.Unmarshal(out, &list); err != nil || len(list) != 1 {
		d.t.Fatalf("%v\n%s", err, out)
	}
	return list[0]
}

// page asks for a page of an address.
func page(t *testing.T, addr, path string) (status int, body string) {
	t.Helper()
	network := "tcp"
	if name, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", name
	}
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		}}}
	resp, err := client.Get("http://pailfs" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// scraped are metrics: by name the labels of each series.
type scraped map[string][]map[string]string

var (
	seriesLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"`)
)

func scrape(t *testing.T, addr string) (all scraped, text string) {
	t.Helper()
	status, text := page(t, addr, "/metrics")
	if status != 200 {
		t.Fatalf("status %d: %s", status, text)
	}
	all = scraped{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := seriesLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			t.Fatalf("%q is no line of metrics", line)
		}
		labels := map[string]string{}
		for _, pair := range labelPair.FindAllStringSubmatch(m[2], -1) {
			labels[pair[1]] = pair[2]
		}
		all[m[1]] = append(all[m[1]], labels)
	}
	return all, text
}

var (
	// metricUse is a metric in an expression, with what stands in its braces.
	metricUse = regexp.MustCompile(`\b((?:pailfs|go|process)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matcher   = regexp.MustCompile(`([a-z_]+) *(=~|!~|!=|=) *"([^"]*)"`)
	grouping  = regexp.MustCompile(`by \(([^)]*)\)`)
)

// check holds an expression of a dashboard or a rule to what is scraped: the metrics, the labels, and the values that are asked for.
func (all scraped) check(expr string) (wrong []string) {
	labels := map[string]bool{"instance": true, "job": true} // Prometheus adds them
	uses := metricUse.FindAllStringSubmatch(expr, -1)
	if len(uses) == 0 {
		return []string{"no metric"}
	}
	for _, use := range uses {
		series := all[use[1]]
		if len(series) == 0 {
			wrong = append(wrong, use[1]+" does not exist")
			continue
		}
		for name := range series[0] {
			labels[name] = true
		}
		for _, m := range matcher.FindAllStringSubmatch(use[2], -1) {
			name, how, value := m[1], m[2], m[3]
			if name == "instance" || name == "job" {
				continue
			}
			if _, has := series[0][name]; !has {
				wrong = append(wrong, fmt.Sprintf("%s has no label %s", use[1], name))
			} else if how == "=~" && use[1] != "pailfs_operation_errors_total" && !slices.ContainsFunc(series, func(s map[string]string) bool {
				return regexp.MustCompile("^(?:" + value + ")$").MatchString(s[name])
			}) {
				wrong = append(wrong, fmt.Sprintf("%s has no %s like %s", use[1], name, value))
			}
		}
	}
	for _, by := range grouping.FindAllStringSubmatch(expr, -1) {
		for name := range strings.SplitSeq(by[1], ",") {
			if name = strings.TrimSpace(name); !labels[name] {
				wrong = append(wrong, "nothing has the label "+name)
			}
		}
	}
	return wrong
}

// expressions are those of the dashboard and of the rules, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	read := func(name string, unmarshal func([]byte, any) error, into any) {
		b, err := os.ReadFile(filepath.Join("../../contrib", name))
		if err == nil {
			err = unmarshal(b, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	read("grafana/pailfs.json", json.Unmarshal, &dashboard)
	for _, p := range dashboard.Panels {
		for i, target := range p.Targets {
			all[fmt.Sprintf("panel %s %d", p.Title, i)] = target.Expr
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	read("prometheus/alerts.yaml", yaml.Unmarshal, &rules)
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if !strings.HasPrefix(r.Expr, "up{") { // Prometheus's own
				all["alert "+r.Alert] = r.Expr
			}
		}
	}
	if len(all) < 40 {
		t.Fatalf("only %d expressions: %v", len(all), slices.Sorted(maps.Keys(all)))
	}
	return all
}

// All that the dashboard and the rules ask for exists on a mount that has done something, and no name of a bucket, a key or a
// secret is in it.
func TestMetrics(t *testing.T) {
	d := newDesk(t)
	d.put("dir/read", strings.Repeat("r", 1<<20))
	debug := "unix:" + filepath.Dir(d.mnt) + "/debug.sock"
	d.mount("--metrics-addr", "127.0.0.1:0", "--debug-addr", debug, "--cache-dir", filepath.Dir(d.mnt)+"/cache", "--durability", "journal",
		"--log-level", "debug")
	addr := d.observed().MetricsAddr
	if b, err := os.ReadFile(d.mnt + "/dir/read"); err != nil || len(b) != 1<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if err := d.write("written-name", "hello"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.mnt + "/nowhere"); err == nil {
		t.Error("it is there")
	}
	d.expect(0, nil, "flush", d.mnt)
	all, text := scrape(t, addr)
	for where, expr := range expressions(t) {
		for _, wrong := range all.check(expr) {
			t.Errorf("%s: %s\n%s", where, wrong, expr)
		}
	}
	series := func(name string, labels ...string) int {
		return strings.Count(text, "\n"+name+"{"+strings.Join(labels, ",")+"} ")
	}
	for _, want := range []string{`operation="lookup"`, `operation="read"`, `operation="write"`, `operation="flush"`, `operation="create"`} {
		if series("pailfs_operation_duration_seconds_count", want) != 1 {
			t.Errorf("no operation %s", want)
		}
	}
	if !strings.Contains(text, "\n"+`pailfs_operation_errors_total{errno="ENOENT",operation="lookup"} `) ||
		!strings.Contains(text, "\n"+`pailfs_store_requests_total{kind="put",status="200"} 1`+"\n") ||
		!strings.Contains(text, "\npailfs_store_sent_bytes_total 5\n") || !strings.Contains(text, "\npailfs_ready 1\n") {
		t.Errorf("%s", text)
	}
	if n := len(strings.Split(text, "\n")); n > 2000 {
		t.Errorf("%d lines", n)
	}
	_, vars := page(t, debug, "/debug/vars")
	_, heap := page(t, debug, "/debug/pprof/goroutine?debug=2")
	_, cmdline := page(t, debug, "/debug/pprof/cmdline")
	if !strings.Contains(vars, `"Mountpoint"`) || !strings.Contains(heap, "goroutine ") {
		t.Errorf("%.300s\n%.300s", vars, heap)
	}
	for what, text := range map[string]string{"metrics": text, "vars": vars} {
		for _, name := range []string{d.bucket, "dir/read", "written-name"} {
			if strings.Contains(text, name) {
				t.Errorf("%s names %s", what, name)
			}
		}
	}
	log, err := os.ReadFile(d.observed().LogFile)
	if err != nil || !strings.Contains(string(log), "call=\"PUT Object\"") {
		t.Errorf("%v\n%s", err, log)
	}
	d.noSecret(map[string]string{"metrics": text, "vars": vars, "goroutines": heap, "cmdline": cmdline, "log": string(log),
		"status": string(d.output(0, "status", "--json")), "status text": string(d.output(0, "status", "--all"))})
	d.expect(0, nil, "umount", d.mnt)
}

// noSecret looks for the secret key, and for what is signed with it.
func (d *desk) noSecret(texts map[string]string) {
	d.t.Helper()
	for what, text := range texts {
		for _, secret := range []string{d.store.SecretKey, "AWS4-HMAC", "Signature=", "Authorization"} {
			if strings.Contains(text, secret) {
				d.t.Errorf("%s has %s", what, secret)
			}
		}
	}
}

func TestAnAddressThatIsTakenIsAnError(t *testing.T) {
	d := newDesk(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	d.expect(7, []string{"cannot listen on --metrics-addr " + addr, "in use", "an address of its own"}, "mount", d.bucket, d.mnt, "--metrics-addr", addr)
	if d.mounted() {
		t.Error("it is mounted")
	}
	d.expect(2, []string{"loopback"}, "mount", d.bucket, d.mnt, "--debug-addr", "0.0.0.0:6060")
}

// Probes tell a store that is away from a mount that is alive, and see it come back without any program's help.
func TestProbes(t *testing.T) {
	d := newDesk(t)
	d.mount("--metrics-addr", "unix:"+filepath.Dir(d.mnt)+"/metrics.sock", "--timeout", "2s")
	addr := d.observed().MetricsAddr
	want := func(path string, status int) string {
		t.Helper()
		for until := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			got, body := page(t, addr, path)
			if got == status {
				return body
			}
			if time.Now().After(until) {
				t.Fatalf("%s: %d %s, want %d", path, got, body, status)
			}
		}
	}
	if got, body := page(t, addr, "/livez"); got != 200 || body != "ok\n" {
		t.Errorf("%d %s", got, body)
	}
	if got, body := page(t, addr, "/readyz"); got != 200 || body != "ok\n" {
		t.Errorf("%d %s", got, body)
	}
	d.expect(0, []string{d.mnt + ": ready"}, "status", "--ready")
	d.store.Stop(t)
	if why := want("/readyz", 503); !strings.Contains(why, "the store") || strings.Count(why, "\n") != 1 {
		t.Errorf("%q", why)
	}
	d.expect(1, []string{"pailfs: status: not ready: " + d.mnt + ": the store"}, "status", "--ready", d.mnt)
	if got, body := page(t, addr, "/livez"); got != 200 {
		t.Errorf("%d %s", got, body)
	}
	d.store.Start(t)
	want("/readyz", 200)
	d.expect(0, []string{"ready"}, "status", "--ready", d.mnt)
	d.expect(0, nil, "umount", d.mnt)
	d.expect(1, []string{"not ready: ", "not on a mount"}, "status", "--ready", d.mnt)
	d.expect(1, []string{"not ready: nothing is mounted"}, "status", "--ready")
}

func TestTheLogLevelIsChanged(t *testing.T) {
	d := newDesk(t)
	d.mount("--metadata-ttl", "0")
	d.expect(0, []string{"info"}, "log-level")
	name := d.observed().LogFile
	look := func(file string) string {
		t.Helper()
		before, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		os.Stat(filepath.Join(d.mnt, file)) // there is none
		after, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(after[len(before):])
	}
	if said := look("quiet"); said != "" {
		t.Errorf("info says\n%s", said)
	}
	d.expect(0, []string{"debug"}, "log-level", d.mnt, "debug")
	said := look("heard")
	if !regexp.MustCompile(`msg=store call="[^"]+" object=\S+/heard attempt=1 status=\d+ .*op=f`).MatchString(said) || !strings.Contains(said, "msg=kernel operation=lookup") {
		t.Errorf("debug says\n%s", said)
	}
	d.expect(0, []string{"warn"}, "log-level", "warn")
	if said := look("quiet again"); said != "" || d.observed().LogLevel != "warn" {
		t.Errorf("warn says\n%s", said)
	}
	d.expect(2, []string{"loud is no level"}, "log-level", d.mnt, "loud")
	d.expect(6, []string{"not on a mount"}, "log-level", t.TempDir(), "debug")
	d.expect(0, nil, "umount", d.mnt)
}

// A limit is set and lifted while a file is on its way: what the store has been sent says that it held, and that it was lifted.
func TestLimitsAreChanged(t *testing.T) {
	d := newDesk(t)
	const size = 24 << 20 // six minutes at the least bandwidth
	d.mount("--max-requests", "8", "--write-rate", "100")
	d.expect(0, []string{"bandwidth: no limit; writes: 100 a second; requests: 8 in flight"}, "limit", d.mnt)
	d.expect(0, []string{"bandwidth: 64 KiB/s; writes: 50 a second; requests: 4 in flight"}, "limit", "--bandwidth", "64KiB", "--write-rate", "50",
		"--max-requests", "4")
	if l := d.observed().Limits; l.Up != 64<<10 || l.Down != 64<<10 || l.WriteRate != 50 || l.Requests != 4 {
		t.Errorf("%+v", l)
	}
	d.expect(0, []string{"limits      bandwidth 64 KiB/s, 50 writes a second, 4 requests in flight"}, "status", d.mnt)
	copied := make(chan error, 1)
	cmd := exec.CommandContext(t.Context(), "dd", "if=/dev/zero", "of="+d.mnt+"/large", "bs=1M", fmt.Sprint("count=", size>>20))
	go func() { copied <- cmd.Run() }()
	for d.observed().Requests.BytesOut == 0 {
		time.Sleep(50 * time.Millisecond)
	}
	if sent := d.observed().Requests.BytesOut; sent >= size {
		t.Errorf("%d bytes sent with the limit", sent)
	}
	d.expect(2, []string{"less than 64 KiB"}, "limit", "--bandwidth", "1K", d.mnt)
	d.expect(2, []string{"--max-requests"}, "limit", "--bandwidth", "0", "--max-requests", "0", d.mnt)
	if l := d.observed().Limits; l.Up != 64<<10 {
		t.Errorf("a refused change has changed something: %+v", l)
	}
	d.expect(0, []string{"bandwidth: no limit; writes: 50"}, "limit", "--bandwidth", "0", d.mnt)
	if err := <-copied; err != nil {
		t.Fatal(err)
	}
	if o, ok := d.store.Head(t, d.bucket, "large"); !ok || o.Size != size {
		t.Errorf("%v %+v", ok, o)
	}
	if sent := d.observed().Requests.BytesOut; sent < size || sent > size+4096 { // the list of parts as well
		t.Errorf("%d bytes sent for %d", sent, size)
	}
	if os.Geteuid() == 0 {
		d.expect(0, nil, "mount", "-o", "remount,bandwidth=1MiB:0,log_level=warn", d.mnt)
		if o := d.observed(); o.Limits.Up != 1<<20 || o.Limits.Down != 0 || o.Limits.WriteRate != 50 || o.LogLevel != "warn" {
			t.Errorf("%+v", o)
		}
		d.expect(0, nil, "mount", "-o", "remount,bandwidth=1MiB:0", d.mnt) // as it is
		d.expect(2, []string{"metadata_ttl cannot be changed", "bandwidth"}, "mount", "-o", "remount,metadata_ttl=9s,bandwidth=0", d.mnt)
	}
	if o := d.observed(); o.Operations.Count == 0 || o.Store.Requests == 0 {
		t.Errorf("%+v", o)
	}
	d.expect(0, nil, "umount", d.mnt)
}

// What was changed while it was mounted ends with the mount.
func TestWhatWasChangedEndsWithTheMount(t *testing.T) {
	d := newDesk(t)
	d.mount("--max-requests", "8")
	d.expect(0, nil, "limit", "--max-requests", "4", "--bandwidth", "1MiB", "--write-rate", "7", d.mnt)
	d.expect(0, nil, "log-level", d.mnt, "debug")
	changed := d.observed()
	d.expect(0, nil, "umount", d.mnt)
	d.mount("--max-requests", "8")
	o := d.observed()
	if o.Limits.Requests != 8 || o.Limits.Up != 0 || o.Limits.Down != 0 || o.Limits.WriteRate == 7 || o.LogLevel != "info" {
		t.Errorf("after\n%+v\nit is\n%+v", changed, o)
	}
	d.expect(0, nil, "umount", d.mnt)
}

// Several mounts are a table.
func TestStatusOfSeveralMounts(t *testing.T) {
	d := newDesk(t)
	other := filepath.Dir(d.mnt) + "/other"
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	d.mount()
	d.expect(0, nil, "mount", d.bucket, other)
	out := string(d.output(0, "status"))
	if n := strings.Count(out, "\n"); n != 4 || !strings.Contains(out, "MOUNT POINT") || !strings.Contains(out, d.mnt+" ") || !strings.Contains(out, other+" ") {
		t.Errorf("%s", out)
	}
	d.expect(0, []string{d.mnt + "\n  state       serving", other + "\n  state       serving"}, "status", "--all")
	d.expect(2, []string{"which of 2 mounts?", other}, "limit")
	d.expect(0, nil, "umount", other)
	d.expect(0, nil, "umount", d.mnt)
}
