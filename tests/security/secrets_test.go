package security

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// The secrets, one for each way by which one comes in. Each begins so that it is found wherever it gets out.
const (
	mark          = "PLANTED"
	plantedSecret = mark + "secretAccessKey0123456789"
	plantedToken  = mark + "sessionToken0123456789"
	plantedPass   = mark + "openstackPassword"
	plantedProxy  = mark + "proxyPassword"
	plantedWord   = mark + "mountOption"
	plantedURL    = mark + "endpointPassword"
)

// leaks looks for secrets in a text, as they are and as base64 would have them.
func leaks(t *testing.T, where, text string) {
	t.Helper()
	i := strings.Index(text, mark)
	for _, s := range []string{plantedSecret, plantedToken, plantedPass, plantedProxy} {
		if j := strings.Index(text, base64.StdEncoding.EncodeToString([]byte(s))[:16]); i < 0 {
			i = j
		}
	}
	if i >= 0 {
		t.Errorf("%s has a secret: %q", where, text[max(0, i-100):min(len(text), i+60)])
	}
}

// over asks over a UNIX socket.
func over(t *testing.T, socket, path string) string {
	t.Helper()
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	resp, err := client.Get("http://pailfs" + path)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s %v", path, resp.Status, err)
	}
	return string(b)
}

// ways are how keys are given to a mount: variables and arguments.
func (h *host) ways(s *testenv.Server) map[string]struct{ env, args []string } {
	h.t.Helper()
	file := func(name, text string) string {
		path := filepath.Join(h.base, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			h.t.Fatal(err)
		}
		return path
	}
	keys := "[default]\naws_access_key_id = " + s.AccessKey + "\naws_secret_access_key = " + s.SecretKey + "\n[other]\naws_session_token = " + plantedToken + "\n"
	config := "options:\n  access-key: " + s.AccessKey + "\n  secret-key: " + s.SecretKey + "\nmounts:\n  other:\n    mountpoint: /mnt/x\n    access-key: a\n    secret-key: b\n    session-token: " + plantedToken + "\n"
	file("home/.aws/credentials", "[default]\nregion = x\n[home]\n"+strings.TrimPrefix(keys, "[default]\n"))
	return map[string]struct{ env, args []string }{
		"variables":        {env: s.Env()},
		"a file":           {args: []string{"--credentials-file", file("keys", keys)}},
		"a file by its -o": {args: []string{"-o", "credentials_file=" + file("keys2", keys)}},
		"a profile":        {env: []string{"PAILFS_PROFILE=home"}},
		"a configuration":  {args: []string{"--config", file("config.yaml", config)}},
		"a unit":           {env: []string{"PAILFS_CREDENTIALS_FILE=" + file("unit/credentials", keys), "CREDENTIALS_DIRECTORY=" + h.base + "/unit"}},
	}
}

// Secrets come in by each way there is and are looked for wherever anything comes out: command lines, environments of helpers, logs of
// level debug, status, metrics, profiles, what doctor packs, errors, last words, files on this host, tables of mounts.
func TestSecretsAppearNowhere(t *testing.T) {
	h := newHost(t, "HTTPS_PROXY=http://me:"+plantedProxy+"@127.0.0.1:1", "OS_PASSWORD="+plantedPass, "OS_AUTH_URL=http://127.0.0.1:1", "OS_USERNAME=u", "OS_TENANT_ID=t")
	s := testenv.StoreAs(t, t.TempDir(), "KR1", "AKIAPUBLICPUBLIC", plantedSecret)
	h.of(s)
	bucket := s.Bucket(t)
	if err := os.MkdirAll(h.base+"/home/.config/openstack", 0o700); err != nil {
		t.Fatal(err)
	}
	clouds := "clouds:\n  c:\n    auth: {auth_url: http://127.0.0.1:1, username: u, password: " + plantedPass + ", project_id: p}\n"
	if err := os.WriteFile(h.base+"/home/.config/openstack/clouds.yaml", []byte(clouds), 0o600); err != nil {
		t.Fatal(err)
	}
	metrics, debug := h.base+"/m.sock", h.base+"/d.sock"
	n := 0
	for name, way := range h.ways(s) {
		n++
		h.asks(name, way.env, way.args, bucket)
		args := append([]string{"mount", bucket, h.mnt, "--log-level", "debug", "--durability", "journal", "--cache-dir", h.base + "/blocks", "--cache-size", "64MiB",
			"--metrics-addr", "unix:" + metrics, "--debug-addr", "unix:" + debug}, way.args...)
		out, code := h.pailfsWith(way.env, args...)
		leaks(t, name+": mount", out)
		if code != 0 || !h.mounted() {
			t.Fatalf("%s: code %d\n%s", name, code, out)
		}
		h.works(fmt.Sprint("f", n))
		h.showsNothing(name, metrics, debug)
		pid := h.pid()
		leaks(t, name+": the command line", procText(pid, "cmdline"))
		leaks(t, name+": the mount table", procText(pid, "mountinfo")+procText(pid, "mounts")+textOf("/run/mount/utab"))
		if n == 1 {
			h.helpers(pid, metrics)
			if err := unix.Kill(pid, unix.SIGQUIT); err != nil { // as a panic ends it
				t.Fatal(err)
			}
			h.awaitEnd(pid)
			h.pailfs("umount", h.mnt)
		} else {
			leaks(t, name+": umount", h.expect(0, "umount", h.mnt))
		}
		for _, dir := range []string{h.state, h.run, h.base + "/blocks", h.base + "/cache"} {
			err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					leaks(t, name+": "+path, textOf(path))
				}
				return nil // it may be gone
			})
			if err != nil {
				t.Error(err)
			}
		}
		if !strings.Contains(h.logText(), "call=\"PUT Object\"") {
			t.Errorf("%s: the log is not one of level debug", name)
		}
	}
	h.mistakes(bucket)
}

// works has something of each kind done.
func (h *host) works(name string) {
	h.t.Helper()
	h.write(name, "content")
	if err := errors.Join(os.Symlink("x", h.mnt+"/"+name+".link"), os.Chmod(h.mnt+"/"+name, 0o600), os.Rename(h.mnt+"/"+name, h.mnt+"/"+name+".new"), os.Mkdir(h.mnt+"/"+name+".dir", 0o755)); err != nil {
		h.t.Error(err)
	}
	h.expect(0, "flush", h.mnt)
}

// asks runs what needs no mount.
func (h *host) asks(name string, env, way []string, bucket string) {
	h.t.Helper()
	for _, args := range [][]string{{"bucket", "list"}, {"bucket", "location", "no-such-bucket"}, {"doctor", "--json", bucket}, {"mount", bucket, h.mnt, "--dry-run"}, {"config", "check"}, {"config", "check", "--json"}, {"fstab", bucket, h.mnt}} {
		some := append(append([]string{}, args...), way...)
		if args[0] == "config" || args[0] == "bucket" || args[0] == "doctor" { // which have no -o
			some = args
			if len(way) == 2 && way[0] != "-o" && (args[0] != "config" || way[0] == "--config") {
				some = append(append([]string{}, args...), way...)
			}
		}
		out, _ := h.pailfsWith(env, some...)
		leaks(h.t, fmt.Sprint(name, ": ", args), out)
	}
}

// showsNothing looks at all that is told of a mount while it stands.
func (h *host) showsNothing(name, metrics, debug string) {
	h.t.Helper()
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"status", "--all"}, {"status", "--ready", h.mnt}, {"limit", h.mnt}, {"warm", "--json", h.mnt}, {"refresh", h.mnt}} {
		out, _ := h.pailfs(args...)
		leaks(h.t, fmt.Sprint(name, ": ", args), out)
	}
	bundle := fmt.Sprintf("%s/%d.tar.gz", h.base, time.Now().UnixNano())
	out, _ := h.pailfs("doctor", "--bundle", bundle, "--timeout", "2s")
	leaks(h.t, name+": doctor --bundle", out)
	leaks(h.t, name+": the bundle", unpacked(h.t, bundle))
	leaks(h.t, name+": metrics", over(h.t, metrics, "/metrics")+over(h.t, metrics, "/livez"))
	for _, p := range []string{"goroutine?debug=2", "goroutine?debug=1", "heap?debug=1", "allocs?debug=1", "cmdline", "threadcreate?debug=1", "block?debug=1", "mutex?debug=1", "profile?seconds=1", "trace?seconds=1"} {
		leaks(h.t, name+": /debug/pprof/"+p, plain(over(h.t, debug, "/debug/pprof/"+p)))
	}
	leaks(h.t, name+": /debug/vars", over(h.t, debug, "/debug/vars"))
}

// plain unpacks what is packed.
func plain(text string) string {
	z, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		return text
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return text
	}
	return string(b)
}

func unpacked(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
		return ""
	}
	var all strings.Builder
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Error(err)
		return ""
	}
	files := 0
	for in := tar.NewReader(z); ; files++ {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Error(err)
			break
		}
		all.WriteString(head.Name)
		if _, err := io.Copy(&all, in); err != nil {
			t.Error(err)
		}
	}
	if files < 8 {
		t.Errorf("%d files in the bundle", files)
	}
	return all.String()
}

func textOf(path string) string {
	b, _ := os.ReadFile(path) // it may be gone
	return string(b)
}

func procText(pid int, name string) string { return textOf(fmt.Sprintf("/proc/%d/%s", pid, name)) }

// helpers catches a process that a mount starts, which must have nothing of its environment. It asks whether the mount is alive,
// which another process does, until one was seen.
func (h *host) helpers(pid int, metrics string) {
	h.t.Helper()
	var asking sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					over(h.t, metrics, "/livez")
				}
			}
		})
	}
	defer asking.Wait()
	defer close(stop)
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, task := range tasks {
			for child := range strings.FieldsSeq(textOf(task)) {
				command := textOf("/proc/" + child + "/cmdline")
				if !strings.Contains(command, "answers") { // not yet, or not any more
					continue
				}
				// Looked at behind the name: before its exec the child has its parent's.
				leaks(h.t, "the environment of "+command, textOf("/proc/"+child+"/environ"))
				return
			}
		}
	}
	h.t.Error("no helper was seen")
}

// mistakes are the ways by which people give secrets that are none; none is repeated.
func (h *host) mistakes(bucket string) {
	h.t.Helper()
	broken := h.base + "/broken"
	if err := os.WriteFile(broken, []byte("[default]\naws_access_key_id = a\n"+plantedSecret+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	wrong := h.base + "/wrong.yaml"
	if err := os.WriteFile(wrong, []byte("options:\n  secret-key: *"+plantedSecret+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	for _, c := range []struct{ env, args []string }{
		{nil, []string{"mount", bucket, h.mnt, "-o", "secret_key=" + plantedWord}}, {nil, []string{"mount", bucket, h.mnt, "-o", "passwd=" + plantedWord}},
		{nil, []string{"mount", bucket, h.mnt, "-o", "nonsense=" + plantedWord}}, {nil, []string{"mount", "--dry-run", bucket + " " + h.mnt + " pailfs aws_secret_access_key=" + plantedWord + " 0 0"}},
		{nil, []string{"bucket", "list", "--secret-key=" + plantedWord}}, {nil, []string{"bucket", "list", "--endpoint", "https://u:" + plantedURL + "@host"}},
		{[]string{"PAILFS_ENDPOINT=https://u:" + plantedURL + "@host"}, []string{"mount", bucket, h.mnt}}, {[]string{"PAILFS_SECRET_KEY=" + plantedWord}, []string{"bucket", "list"}},
		{nil, []string{"bucket", "list", "--credentials-file", broken}}, {nil, []string{"bucket", "list", "--config", wrong}}, {nil, []string{"config", "check", "--config", wrong}},
		{[]string{"HTTPS_PROXY=http://u:" + plantedProxy + "@%zz"}, []string{"bucket", "list", "--endpoint", "https://store.invalid", "--timeout", "1s"}},
		{[]string{"HTTPS_PROXY=http://u:" + plantedProxy + "@127.0.0.1:1"}, []string{"doctor", "--endpoint", "https://store.invalid", "--timeout", "1s"}},
		{[]string{"AWS_SESSION_TOKEN=" + plantedToken, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=" + plantedSecret}, []string{"mount", bucket, h.mnt}},
		{nil, []string{"credentials", "list"}}, {nil, []string{"credentials", "list", "--cloud", "c"}}, {nil, []string{"credentials", "register", "--auth-url", "http://u:" + plantedURL + "@127.0.0.1:1"}},
		{[]string{"OS_TOKEN=" + plantedToken}, []string{"credentials", "list"}},
	} {
		out, code := h.pailfsWith(c.env, c.args...)
		leaks(h.t, fmt.Sprint(c.args[:2]), out)
		if code == 0 && !h.mounted() {
			h.t.Errorf("%v %v is a success:\n%s", c.env, c.args, out)
		}
		if h.mounted() { // this store takes any session token
			h.expect(0, "umount", h.mnt)
		}
	}
	for _, args := range [][]string{{"help"}, {"mount", "--help"}, {"docs", "man", "pailfs.1"}, {"docs", "options"}, {"version"}, {"completion", "bash"}} {
		out, _ := h.pailfsWith([]string{"AWS_SECRET_ACCESS_KEY=" + plantedSecret}, args...)
		leaks(h.t, fmt.Sprint(args), out)
	}
}
