package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/s3client"
)

// newTestDoctor is a doctor of a host whose files lie in a directory of the test, and of a store.
func newTestDoctor(t *testing.T, endpoint string) *doctor {
	t.Helper()
	withKeys(t)
	dir := t.TempDir()
	d := &doctor{s: &settings{Endpoint: endpoint, Region: "KR1", Provider: "auto", Timeout: 2 * time.Second, MaxRequests: 8, StateDir: dir + "/state", CacheDir: dir + "/cache"},
		std: stdio{nil, nil, io.Discard, io.Discard}, now: time.Now, root: dir, uid: os.Geteuid(), json: true}
	t.Setenv("TMPDIR", t.TempDir()) // where root looks for the mounts of users
	return d
}

// at is the state and text of a check.
func (d *doctor) at(t *testing.T, check string) finding {
	t.Helper()
	for _, f := range d.report.Findings {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("nothing is found of %s: %+v", check, d.report.Findings)
	return finding{}
}

func (d *doctor) expect(t *testing.T, check, state, says, do string) {
	t.Helper()
	if f := d.at(t, check); f.State != state || !strings.Contains(f.Says, says) || !strings.Contains(f.Do, do) || state == isFailed && f.Do == "" {
		t.Errorf("%+v; want %s, %q, %q", f, state, says, do)
	}
}

const noBuckets = `<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>`

// An account without buckets that answers, at a clock of its own.
func aStore(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" {
		io.WriteString(w, noBuckets)
		return
	}
	refusing(404, "NoSuchBucket", "")(w, r)
}

func TestDoctorOfAStore(t *testing.T) {
	for name, c := range map[string]struct {
		say                    func(http.ResponseWriter, *http.Request)
		check, state, says, do string
		next                   string // the state of what is asked behind it
	}{
		"fine":         {aStore, checkSignIn, isOK, "accepted", "", isOK},
		"wrong secret": {refusing(403, "SignatureDoesNotMatch", ""), checkSignIn, isFailed, "does not know these credentials", "secret key", notChecked},
		"wrong region": {refusing(400, "AuthorizationHeaderMalformed", "<Region>JP1</Region>"), checkSignIn, isFailed, "is not the region", "--region JP1", notChecked},
		"denied":       {refusing(403, "AccessDenied", ""), checkBuckets, isWarning, "may not list", "name the bucket", isWarning},
		"5xx":          {refusing(500, "InternalError", ""), checkSignIn, isFailed, "answers with errors", "operator", notChecked},
		"no store":     {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>hello") }, checkSignIn, isFailed, "unexpected answer", "address of an S3 store", notChecked},
		"slow clock": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(20*time.Minute).UTC().Format(http.TimeFormat))
			aStore(w, r)
		}, checkClock, isFailed, "slow", "timedatectl", isOK},
		"odd clock": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(-3*time.Minute).UTC().Format(http.TimeFormat))
			aStore(w, r)
		}, checkClock, isWarning, "fast", "timedatectl", isOK},
		"no clock": {func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"] = nil
			aStore(w, r)
		}, checkClock, notChecked, "does not say", "", isOK},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newAnswers(t, c.say)
			d := newTestDoctor(t, srv.URL)
			d.s.Timeout = time.Second
			d.checkStore(t.Context())
			d.expect(t, c.check, c.state, c.says, c.do)
			if f := d.at(t, checkBuckets); f.State != c.next {
				t.Errorf("%+v", f)
			}
			for _, a := range srv.asked() {
				if !strings.HasPrefix(a, "GET /") {
					t.Errorf("asked %s", a)
				}
			}
		})
	}
}

// A store that cannot be reached is asked nothing more, and each check behind says why it was not made.
func TestDoctorOfAStoreThatIsAway(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	silent := make(chan struct{})
	srv := newAnswers(t, func(http.ResponseWriter, *http.Request) { <-silent })
	defer close(silent)
	for _, c := range []struct{ endpoint, check, says, do string }{
		{"http://" + closed.Addr().String(), checkConnection, "refuses connections", "nothing listens"},
		{"http://no-such-host.invalid", checkName, "cannot be looked up", "spelling"},
		{srv.URL, checkConnection, "in time", "network"},
		{strings.Replace(srv.URL, "http:", "https:", 1), checkTLS, "", ""},
	} {
		d := newTestDoctor(t, c.endpoint)
		d.s.Timeout = 300 * time.Millisecond
		d.bucket, d.write = "data", true
		d.checkStore(t.Context())
		d.expect(t, c.check, isFailed, c.says, c.do)
		if d.report.Failed != 1 {
			t.Errorf("%s: %+v", c.endpoint, d.report.Findings)
		}
		for _, check := range []string{checkSignIn, checkBuckets, checkList, checkRead, checkRegion, checkUploads, checkKeys, checkWrite, checkCopy, checkParts, checkDelete} {
			d.expect(t, check, notChecked, "the store cannot be reached", "")
		}
	}
	if n := len(srv.asked()); n > 1 {
		t.Errorf("%d requests to a store that is silent", n)
	}
}

func TestDoctorWithoutCredentials(t *testing.T) {
	srv := newAnswers(t, aStore)
	d := newTestDoctor(t, srv.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	d.checkStore(t.Context())
	d.expect(t, checkCredentials, isFailed, "no credentials", "AWS_ACCESS_KEY_ID")
	d.expect(t, checkConnection, isOK, "answer", "") // the way is looked at all the same
	d.expect(t, checkSignIn, notChecked, "there are no credentials", "")
	d = newTestDoctor(t, srv.URL)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "topsecret\n")
	d.checkStore(t.Context())
	d.expect(t, checkCredentials, isWarning, "blank", "take")
	d = newTestDoctor(t, "")
	d.s.Region, d.bucket = "nowhere", "data"
	d.checkStore(t.Context())
	d.expect(t, checkConfiguration, isFailed, "unknown region", "KR1")
	d.expect(t, checkList, notChecked, "configuration", "")
}

// The command as a whole: the code is that of the findings, and nothing that it prints is a secret.
func TestDoctorCommand(t *testing.T) {
	srv := newAnswers(t, aStore)
	newTestDoctor(t, "")
	args := []string{"doctor", "--endpoint", srv.URL, "--region", "KR1", "--timeout", "2s", "--state-dir", t.TempDir(), "--cache-dir", t.TempDir()}
	stdout, stderr, code := output(t, append(args, "--json")...)
	var r report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || len(r.Findings) != r.OK+r.Warnings+r.Failed+r.NotChecked || stderr != "" {
		t.Fatalf("code %d %v\n%s%s", code, err, stdout, stderr)
	}
	if want := map[bool]int{true: exitGeneral, false: exitOK}[r.Failed > 0]; code != want {
		t.Errorf("code %d with %d failures", code, r.Failed)
	}
	text, stderr, _ := output(t, args...)
	for _, f := range r.Findings {
		if !strings.Contains(text, f.Check) {
			t.Errorf("%s is not told: %s%s", f.Check, text, stderr)
		}
	}
	stdout, stderr, code = output(t, append(args, "data", "--write")...)
	if code != exitGeneral || !strings.Contains(stdout, "no bucket data") || !strings.Contains(stdout, "do: `pailfs bucket list`") || stderr != "" {
		t.Errorf("code %d\n%s%s", code, stdout, stderr)
	}
	if strings.Contains(text+stdout, "topsecret") || strings.Contains(text+stdout, "ACCESSKEY") {
		t.Errorf("a secret is shown:\n%s%s", text, stdout)
	}
	for _, a := range srv.asked() {
		if !strings.HasPrefix(a, "GET ") {
			t.Errorf("asked %s of a bucket that is not there", a)
		}
	}
	for _, wrong := range []string{"a b", "--keys", "--write", "--keys --write bkt", "--keys --bundle f bkt", "--part-size 5 bkt", "bkt/../x"} {
		if _, stderr, code := output(t, append([]string{"doctor"}, strings.Fields(wrong)...)...); code != exitUsage || !strings.Contains(stderr, "hint: ") {
			t.Errorf("%s: code %d %s", wrong, code, stderr)
		}
	}
}

func TestDoctorThatIsInterrupted(t *testing.T) {
	srv := newAnswers(t, aStore)
	d := newTestDoctor(t, srv.URL)
	d.bucket, d.write = "data", true
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f := failureOf(d.run(ctx)); f.code != exitInterrupted {
		t.Errorf("%+v", f)
	}
	d.expect(t, checkWrite, notChecked, "interrupted", "")
	if n := len(srv.asked()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestDoctorOfAHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("makes files that only root can be kept from")
	}
	write := func(d *doctor, name, text string) {
		t.Helper()
		if err := os.MkdirAll(d.root+"/"+name[:strings.LastIndex(name, "/")], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.root+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := newTestDoctor(t, "")
	d.checkDevice()
	d.expect(t, "/dev/fuse", isFailed, "no /dev/fuse", "modprobe fuse")
	d = newTestDoctor(t, "")
	write(d, "dev/fuse", "")
	write(d, "proc/self/status", "Name:\tx\nCapEff:\t00000000a80425fb\n")
	d.checkDevice()
	d.expect(t, "/dev/fuse", isFailed, "no device", "modprobe")
	d.uid = 0
	d.checkRights()
	d.expect(t, "right to mount", isFailed, "CAP_SYS_ADMIN", "--cap-add")

	d = newTestDoctor(t, "")
	write(d, "proc/self/status", "CapEff:\t000001ffffffffff\n")
	d.uid = 0
	d.checkRights()
	d.expect(t, "right to mount", isOK, "root", "")
	d.checkAllowOther()
	d.expect(t, "user_allow_other", isOK, "root", "")

	d = newTestDoctor(t, "")
	t.Setenv("PATH", d.root)
	d.uid = 5
	d.checkRights()
	d.expect(t, "right to mount", isFailed, "fusermount3", "apt-get install fuse3")
	d.checkAllowOther()
	d.expect(t, "user_allow_other", isOK, "not set", "")
	d = newTestDoctor(t, "")
	t.Setenv("PATH", d.root+"/bin")
	d.uid, d.s.AllowOther = 5, true
	write(d, "bin/fusermount3", "")
	d.checkRights()
	d.expect(t, "right to mount", isWarning, "not setuid", "chmod u+s")
	d.checkAllowOther()
	d.expect(t, "user_allow_other", isFailed, "does not let users", "add a line")
}

func TestDoctorOfDirectories(t *testing.T) {
	d := newTestDoctor(t, "")
	check := func(dir directory) finding {
		t.Helper()
		dir.check = "dir"
		d.report = report{}
		d.checkDirectory(dir)
		return d.at(t, "dir")
	}
	if f := check(directory{path: d.s.StateDir + "/a/b"}); f.State != isOK || !strings.Contains(f.Says, "will be made") || !strings.Contains(f.Says, "free") {
		t.Errorf("%+v", f)
	}
	if _, err := os.Stat(d.s.StateDir); err == nil {
		t.Error("it was made")
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if f := check(directory{path: open, private: true}); f.State != isWarning || f.Do != "chmod 700 "+open {
		t.Errorf("%+v", f)
	}
	if f := check(directory{path: open, room: 1 << 60, option: "--cache-dir"}); f.State != isWarning || !strings.Contains(f.Do, "--cache-dir") {
		t.Errorf("%+v", f)
	}
	if err := os.WriteFile(open+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f := check(directory{path: open + "/file", option: "--state-dir"}); f.State != isFailed || !strings.Contains(f.Says, "not a directory") || f.Do == "" {
		t.Errorf("%+v", f)
	}
	if f := check(directory{path: "/proc/x", option: "--state-dir", state: true}); f.State != isFailed || !strings.Contains(f.Says, "full") {
		t.Errorf("%+v", f)
	}
	info, err := os.Stat(open)
	if err != nil {
		t.Fatal(err)
	}
	for magic, want := range map[int64]string{unix.TMPFS_MAGIC: "next boot", unix.OVERLAYFS_SUPER_MAGIC: "container", unix.NFS_SUPER_MAGIC: "locks", unix.EXT4_SUPER_MAGIC: ""} {
		got := directory{path: open, state: true}.wrong(open, info, &unix.Statfs_t{Type: magic}, 1<<40)
		if !strings.Contains(got[0], want) || (want == "") != (got[0] == "") || want != "" && got[1] == "" {
			t.Errorf("%#x: %q", magic, got)
		}
	}
}

func TestKernelVersion(t *testing.T) {
	for release, want := range map[string][2]int{"6.9.3-amd64": {6, 9}, "5.10.0": {5, 10}, "6.18-rc1": {6, 18}, "4": {4, 0}, "": {0, 0}, "x.y": {0, 0}} {
		if a, b := kernelVersion(release); a != want[0] || b != want[1] {
			t.Errorf("%q: %d.%d", release, a, b)
		}
	}
}

func TestDoctorTellsOfMounts(t *testing.T) {
	d := newTestDoctor(t, "")
	run := t.TempDir()
	t.Setenv("PAILFS_RUN_DIR", run)
	d.checkMounts(t.Context())
	d.expect(t, "mounts", isOK, "none", "")
	d.report = report{}
	killed, err := openRuntime(run, runtimeState{PID: 1, Mountpoint: "/mnt/killed", Started: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.close(); err != nil {
		t.Fatal(err)
	}
	d.checkMounts(t.Context())
	d.expect(t, "mounts", isWarning, "/mnt/killed: killed", "mount it again")
}

// What is told of a way, in the words of what was reached.
func TestDoctorTellsTheWay(t *testing.T) {
	soon, late := time.Now().Add(3*24*time.Hour), time.Now().Add(300*24*time.Hour)
	refused := &net.OpError{Op: "dial", Err: unix.ECONNREFUSED}
	for name, c := range map[string]struct {
		endpoint               string
		r                      s3client.Reached
		err                    error
		check, state, says, do string
		reached                bool
	}{
		"whole": {"https://s3.example.com", s3client.Reached{Addresses: []string{"192.0.2.1", "2001:db8::1"}, Address: "192.0.2.1:443", Secure: true, Version: "TLS 1.3", Until: late, Issuer: "CA", Status: 403},
			nil, checkName, isOK, "s3.example.com is 192.0.2.1, 2001:db8::1", "", true},
		"certificate": {"https://s3.example.com", s3client.Reached{Address: "192.0.2.1:443", Secure: true, Version: "TLS 1.3", Until: late, Issuer: "CA", Status: 403},
			nil, checkTLS, isOK, "TLS 1.3, a certificate by CA until " + late.Format(time.DateOnly), "", true},
		"certificate ends": {"https://s3.example.com", s3client.Reached{Address: "192.0.2.1:443", Secure: true, Version: "TLS 1.3", Until: soon, Status: 403},
			nil, checkTLS, isWarning, "ends on " + soon.Format(time.DateOnly), "renew", true},
		"plain":    {"http://s3.example.com", s3client.Reached{Address: "192.0.2.1:80", Status: 403}, nil, checkTLS, isWarning, "none", "https://", true},
		"loopback": {"http://127.0.0.1:9000", s3client.Reached{Address: "127.0.0.1:9000", Status: 403}, nil, checkTLS, isOK, "on this host", "", true},
		"proxy": {"https://s3.example.com", s3client.Reached{Proxy: "proxy.example.com:3128", Addresses: []string{"192.0.2.9"}}, refused,
			checkConnection, isFailed, "refuses connections", "through the proxy proxy.example.com:3128", false},
		"proxy's name": {"https://s3.example.com", s3client.Reached{Proxy: "proxy.example.com:3128"}, &net.DNSError{Name: "proxy.example.com", IsNotFound: true},
			checkName, isFailed, "looked up", "proxy.example.com", false},
		"strange certificate": {"https://s3.example.com", s3client.Reached{Address: "192.0.2.1:443"}, x509.UnknownAuthorityError{}, checkTLS, isFailed, "authority", "--ca-file", false},
	} {
		d := newTestDoctor(t, c.endpoint)
		about := subject{command: "doctor", cannot: "check it", endpoint: c.endpoint, now: time.Now}
		if reached := d.tellWay(c.r, c.err, about); reached != c.reached {
			t.Errorf("%s: reached is %v", name, reached)
		}
		d.expect(t, c.check, c.state, c.says, c.do)
		for _, check := range []string{checkName, checkConnection, checkTLS} {
			d.at(t, check)
		}
	}
}

func TestCountShow(t *testing.T) {
	var b strings.Builder
	now := time.Now()
	s := newCountShow(&b, func() time.Time { return now })
	s.tell(tally{Keys: 1000})
	if b.Len() > 0 {
		t.Errorf("%q", b.String())
	}
	now = now.Add(tellEvery)
	s.tell(tally{Keys: 5000, Hidden: 2})
	if b.String() != "listing: 5000 objects, 2 not shown, 1000/s\n" {
		t.Errorf("%q", b.String())
	}
	b.Reset()
	s.terminal = true
	s.tell(tally{Keys: 6000, Hidden: 2})
	s.clear()
	s.clear()
	if b.String() != "\r\x1b[Klisting: 6000 objects, 2 not shown, 1200/s\r\x1b[K" {
		t.Errorf("%q", b.String())
	}
}
