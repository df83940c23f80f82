package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// answers is a store that says what a test wants, and remembers what it was asked.
type answers struct {
	*httptest.Server
	mu struct {
		sync.Mutex
		asked []string
	}
	say func(w http.ResponseWriter, r *http.Request)
}

func newAnswers(t *testing.T, say func(w http.ResponseWriter, r *http.Request)) *answers {
	t.Helper()
	a := &answers{say: say}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.mu.asked = append(a.mu.asked, r.Method+" "+r.URL.RequestURI())
		a.mu.Unlock()
		io.Copy(io.Discard, r.Body)
		a.say(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *answers) asked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.mu.asked...)
}

// refusing answers everything with an error document.
func refusing(status int, code, more string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.Header().Set("X-Amz-Request-Id", "tx42")
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>m</Message>%s</Error>`, code, more)
	}
}

// withKeys gives the process credentials and nothing else that configures pailfs.
func withKeys(t *testing.T) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "PAILFS_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("PAILFS_RUN_DIR", t.TempDir())
	t.Setenv("AWS_ACCESS_KEY_ID", "ACCESSKEY")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "topsecret")
}

// mountpoint is an empty directory to mount on; the mounts of these tests fail before they use it.
func mountpoint(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("no /dev/fuse")
	}
	if os.Geteuid() != 0 {
		t.Skip("checks of the host come first for users")
	}
	umask := unix.Umask(0o077)
	unix.Umask(umask)
	t.Cleanup(func() { unix.Umask(umask) }) // a mount sets it to 0
	return t.TempDir()
}

func TestAMountThatCannotBeSaysWhy(t *testing.T) {
	withKeys(t)
	for name, c := range map[string]struct {
		say       func(http.ResponseWriter, *http.Request)
		code      int
		why, hint string
	}{
		"wrong secret": {refusing(403, "SignatureDoesNotMatch", ""), exitDenied, "does not know these credentials (403 SignatureDoesNotMatch", "secret key"},
		"wrong region": {refusing(400, "AuthorizationHeaderMalformed", "<Region>JP1</Region>"), exitDenied, "is not the region", "--region JP1"},
		"no bucket":    {refusing(404, "NoSuchBucket", ""), exitNotFound, "no bucket data", "bucket create data"},
		"denied":       {refusing(403, "AccessDenied", ""), exitDenied, "denies", "data"},
		"clock": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(-3*time.Hour).UTC().Format(http.TimeFormat))
			refusing(403, "RequestTimeTooSkewed", "")(w, r)
		}, exitDenied, "clock is 3h0m", "timedatectl"},
		"5xx": {refusing(500, "InternalError", ""), exitUnreachable, "answers with errors (500 InternalError", "tx"},
		"no s3": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>nginx", http.StatusNotFound) },
			exitGeneral, "unexpected answer", "address of an S3 store"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newAnswers(t, c.say)
			_, stderr, code := output(t, "mount", "data", mountpoint(t), "--foreground", "--endpoint", srv.URL, "--region", "KR1", "--timeout", "1s",
				"--state-dir", t.TempDir(), "--log-file", filepath.Join(t.TempDir(), "log"))
			why, hint, _ := strings.Cut(stderr, "\n")
			if code != c.code || !strings.HasPrefix(why, "pailfs: mount: cannot mount bucket data: ") || !strings.Contains(why, c.why) ||
				!strings.HasPrefix(hint, "hint: ") || !strings.Contains(stderr, c.hint) {
				t.Errorf("code %d\n%s", code, stderr)
			}
			if strings.Contains(stderr, "topsecret") {
				t.Errorf("the secret is shown: %s", stderr)
			}
			if asked := srv.asked(); len(asked) == 0 {
				t.Error("nothing was asked")
			}
		})
	}
}

func TestAMountProvesTheStoreWithOneRequest(t *testing.T) {
	withKeys(t)
	for what, want := range map[string]string{"": "GET /", "data": "GET /data/?", "data/a b/c/": "GET /data/?"} {
		srv := newAnswers(t, refusing(403, "AccessDenied", ""))
		args := []string{"mount", "--foreground", "--endpoint", srv.URL, "--timeout", "1s", "--state-dir", t.TempDir(), "--log-file", filepath.Join(t.TempDir(), "log")}
		if what != "" {
			args = append(args, what)
		}
		_, stderr, code := output(t, append(args, mountpoint(t))...)
		asked := srv.asked()
		if code != exitDenied || len(asked) != 1 || !strings.HasPrefix(asked[0], want) {
			t.Errorf("%q: code %d, asked %q\n%s", what, code, asked, stderr)
		}
		if strings.Contains(what, "a b") && (!strings.Contains(asked[0], "a%20b%2Fc%2F") || !strings.Contains(asked[0], "max-keys=1")) {
			t.Errorf("%q: asked %q", what, asked)
		}
	}
}

func TestAStoreThatDoesNotAnswer(t *testing.T) {
	withKeys(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the client that does not trust it
	secure.StartTLS()
	defer secure.Close()
	plain := newAnswers(t, refusing(500, "x", ""))
	for _, c := range []struct{ endpoint, why, hint string }{
		{"http://" + closed.Addr().String(), "refuses connections", "nothing listens"},
		{secure.URL, "authority this host does not know", "--ca-file"},
		{strings.Replace(plain.URL, "http:", "https:", 1), "does not speak TLS", "http://"},
		{"http://no-such-host.invalid", "cannot be looked up", "DNS"},
	} {
		_, stderr, code := output(t, "bucket", "list", "--endpoint", c.endpoint, "--timeout", "1s")
		if code != exitUnreachable || !strings.Contains(stderr, c.why) || !strings.Contains(stderr, c.hint) {
			t.Errorf("%s: code %d\n%s", c.endpoint, code, stderr)
		}
	}
}

func TestBucketCommands(t *testing.T) {
	withKeys(t)
	const list = `<ListAllMyBucketsResult><Owner><ID>me</ID></Owner><Buckets>` +
		`<Bucket><Name>bk1</Name><CreationDate>2009-02-03T16:45:09.000Z</CreationDate></Bucket>` +
		`<Bucket><Name>bk2</Name><CreationDate>2026-02-03T16:45:09.000Z</CreationDate></Bucket></Buckets></ListAllMyBucketsResult>`
	const acl = `<AccessControlPolicy xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Owner><ID>me</ID></Owner><AccessControlList><Grant>` +
		`<Grantee xsi:type="CanonicalUser"><ID>me</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>`
	srv := newAnswers(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		case r.Method == http.MethodPut:
		case r.URL.Path == "/":
			io.WriteString(w, list)
		case q.Has("acl"):
			io.WriteString(w, acl)
		case q.Has("location"):
			io.WriteString(w, `<LocationConstraint>KR1</LocationConstraint>`)
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	})
	t.Setenv("PAILFS_ENDPOINT", srv.URL)
	t.Setenv("PAILFS_REGION", "KR1")
	t.Setenv("PAILFS_TIMEOUT", "2s")
	for _, c := range []struct {
		args, want, asked string
	}{
		{"bucket list", "bk1\nbk2\n", "GET /"},
		{"bucket create new", "", "PUT /new"},
		{"bucket delete old", "", "DELETE /old"},
		{"bucket acl get bk1", "owner me\nFULL_CONTROL me\n", "GET /bk1"},
		{"bucket acl set bk1 public-read", "", "PUT /bk1"},
		{"bucket location bk1", "KR1\n", ""},
	} {
		stdout, stderr, code := output(t, strings.Fields(c.args)...)
		asked := srv.asked()
		if code != exitOK || stdout != c.want || len(asked) == 0 || !strings.HasPrefix(asked[len(asked)-1], c.asked) {
			t.Errorf("%s: code %d, %q, asked %q\n%s", c.args, code, stdout, asked, stderr)
		}
	}
	stdout, _, _ := output(t, "bucket", "list", "--json")
	var buckets []bucketJSON
	if err := json.Unmarshal([]byte(stdout), &buckets); err != nil || len(buckets) != 2 || buckets[1].Name != "bk2" || buckets[1].Created.Year() != 2026 {
		t.Errorf("%s: %v", stdout, err)
	}
	stdout, _, _ = output(t, "bucket", "acl", "get", "--json", "bk1")
	var rights aclJSON
	if err := json.Unmarshal([]byte(stdout), &rights); err != nil || len(rights.Grants) != 1 || rights.Grants[0].Permission != "FULL_CONTROL" {
		t.Errorf("%s: %v", stdout, err)
	}
	for _, args := range []string{"bucket create", "bucket create a b", "bucket list x", "bucket acl set bkt"} {
		if _, _, code := output(t, strings.Fields(args)...); code != exitUsage {
			t.Errorf("%s: code %d", args, code)
		}
	}
	// A store without buckets prints an empty list, not null.
	empty := newAnswers(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>`)
	})
	if stdout, _, _ := output(t, "bucket", "list", "--json", "--endpoint", empty.URL); strings.TrimSpace(stdout) != "[]" {
		t.Errorf("%q", stdout)
	}
}

func TestUploadsCommands(t *testing.T) {
	srv := newUploads(t)
	listsUploads(t)
	if srv.deleted() != 0 {
		t.Error("list has aborted uploads")
	}
	abortsUploads(t, srv)
	sparesUploadsThatAreWritten(t, srv)
	if _, _, code := output(t, "uploads", "abort", "--older-than", "never", "bkt"); code != exitUsage {
		t.Errorf("code %d", code)
	}
}

// uploadsServer is a store with three unfinished uploads: id1 and id3 are two days old, id3 is gone when one asks for it.
type uploadsServer struct{ *answers }

func newUploads(t *testing.T) uploadsServer {
	t.Helper()
	withKeys(t)
	t.Setenv("PAILFS_RUN_DIR", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir()) // where root looks for the mounts of users
	old, young := time.Now().Add(-48*time.Hour), time.Now().Add(-time.Minute)
	upload := func(key, id string, at time.Time) string {
		return fmt.Sprintf(`<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiated>%s</Initiated></Upload>`, key, id, at.UTC().Format(time.RFC3339))
	}
	list := `<ListMultipartUploadsResult><Bucket>bkt</Bucket><IsTruncated>false</IsTruncated>` +
		upload("a", "id1", old) + upload("b", "id2", young) + upload("gone", "id3", old) + `</ListMultipartUploadsResult>`
	srv := newAnswers(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "gone"):
			refusing(404, "NoSuchUpload", "")(w, r)
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		case strings.Contains(r.URL.Path, "gone"):
			refusing(404, "NoSuchUpload", "")(w, r)
		case r.URL.Query().Get("uploadId") != "":
			io.WriteString(w, `<ListPartsResult><Bucket>bkt</Bucket><Key>a</Key><UploadId>id1</UploadId><IsTruncated>false</IsTruncated>`+
				`<Part><PartNumber>1</PartNumber><ETag>"0123456789abcdef0123456789abcdef"</ETag><Size>5242880</Size></Part>`+
				`<Part><PartNumber>2</PartNumber><ETag>"0123456789abcdef0123456789abcdef"</ETag><Size>1</Size></Part></ListPartsResult>`)
		default:
			io.WriteString(w, list)
		}
	})
	t.Setenv("PAILFS_ENDPOINT", srv.URL)
	return uploadsServer{srv}
}

// deleted counts the uploads that were asked to be aborted.
func (s uploadsServer) deleted() (n int) {
	for _, a := range s.asked() {
		if strings.HasPrefix(a, "DELETE") {
			n++
		}
	}
	return n
}

func listsUploads(t *testing.T) {
	stdout, stderr, code := output(t, "uploads", "list", "bkt")
	if code != exitOK || strings.Count(stdout, "\n") != 3 || !strings.Contains(stdout, "id2  b\n") {
		t.Errorf("code %d %q %s", code, stdout, stderr)
	}
	stdout, _, _ = output(t, "uploads", "list", "--json", "bkt")
	var uploads []uploadJSON
	if err := json.Unmarshal([]byte(stdout), &uploads); err != nil || len(uploads) != 3 || uploads[0].ID != "id1" {
		t.Errorf("%s: %v", stdout, err)
	}
	stdout, _, _ = output(t, "uploads", "list", "--json", "--older-than", "47h", "--sizes", "bkt")
	uploads = nil
	if err := json.Unmarshal([]byte(stdout), &uploads); err != nil || len(uploads) != 1 || uploads[0].ID != "id1" || uploads[0].Age < 48*3600 ||
		*uploads[0].Parts != 2 || *uploads[0].Bytes != 5<<20+1 {
		t.Errorf("%s: %v", stdout, err)
	}
	stdout, stderr, code = output(t, "uploads", "list", "--older-than", "47h", "--sizes", "bkt")
	if code != exitOK || !strings.HasSuffix(stdout, "  2d  2 parts, 5 MiB  id1  a\n") || strings.Contains(stdout, "gone") {
		t.Errorf("code %d %q %s", code, stdout, stderr)
	}
}

func abortsUploads(t *testing.T, srv uploadsServer) {
	stdout, _, code := output(t, "uploads", "abort", "bkt", "--dry-run", "--json")
	var uploads []uploadJSON
	if err := json.Unmarshal([]byte(stdout), &uploads); err != nil || code != exitOK || srv.deleted() != 0 || len(uploads) != 2 || uploads[1].ID != "id3" {
		t.Errorf("code %d, %d aborted, %s", code, srv.deleted(), stdout)
	}
	stdout, stderr, code := output(t, "uploads", "abort", "bkt", "--dry-run")
	if code != exitOK || srv.deleted() != 0 || !strings.Contains(stdout, "id1") || strings.Contains(stdout, "id2") {
		t.Errorf("code %d, %d aborted, %q %s", code, srv.deleted(), stdout, stderr)
	}
	stdout, stderr, code = output(t, "uploads", "abort", "bkt")
	if code != exitOK || srv.deleted() != 2 || !strings.Contains(stdout, "id1") || strings.Contains(stdout, "id2") || strings.Contains(stdout, "id3") {
		t.Errorf("code %d, %d aborted, %q %s", code, srv.deleted(), stdout, stderr)
	}
	stdout, _, code = output(t, "uploads", "abort", "--older-than", "0", "bkt")
	if code != exitOK || !strings.Contains(stdout, "id2") {
		t.Errorf("code %d, %q", code, stdout)
	}
}

// What a mount of this host is writing is marked, and only aborted with all.
func sparesUploadsThatAreWritten(t *testing.T, srv uploadsServer) {
	run := t.TempDir()
	t.Setenv("PAILFS_RUN_DIR", run)
	serveFake(t, run, &fakeMount{uploads: []runningUpload{{"bkt", "a", "id1"}, {"other", "gone", "id3"}}})
	before := srv.deleted()
	stdout, _, code := output(t, "uploads", "list", "bkt")
	if code != exitOK || strings.Count(stdout, "being written") != 1 || !strings.Contains(stdout, "id1  a  (being written by the mount at /mnt/x)\n") {
		t.Errorf("code %d, %q", code, stdout)
	}
	stdout, _, code = output(t, "uploads", "abort", "bkt")
	if code != exitOK || srv.deleted() != before+1 || stdout != "" { // id3, which was gone
		t.Errorf("code %d, %d aborted, %q", code, srv.deleted()-before, stdout)
	}
	stdout, _, code = output(t, "uploads", "abort", "--older-than", "0", "bkt")
	if code != exitOK || !strings.Contains(stdout, "id1") {
		t.Errorf("code %d, %q", code, stdout)
	}
}

func TestSource(t *testing.T) {
	for given, want := range map[string]string{
		"b": "b", "b/": "b", "s3://b/x/": "s3://b/x", "b/a b/c,d": "b/a b/c,d", "s3://": "s3://", "b/a\nb": "b/a%0Ab",
	} {
		bucket, prefix, err := parseTarget(given)
		if err != nil {
			t.Fatal(err)
		}
		p := &mountPlan{given: given, bucket: bucket, prefix: prefix}
		if got := p.source(); got != want {
			t.Errorf("%q: %q", given, got)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for in, want := range map[string][2]string{"b": {"b", ""}, "b/": {"b", ""}, "b/a": {"b", "a/"}, "b/a/c//": {"b", "a/c/"}, "s3://b/x": {"b", "x/"}, "s3://": {"", ""}} {
		if b, p, err := parseTarget(in); err != nil || b != want[0] || p != want[1] {
			t.Errorf("%s: %q %q %v", in, b, p, err)
		}
	}
	for _, in := range []string{"", "/", "s3:///x", "b/a//c", "b/../c", "b/.", "b c", "b/" + strings.Repeat("x", 256), "b/" + strings.Repeat("x/", 600), strings.Repeat("b", 256)} {
		if b, p, err := parseTarget(in); err == nil {
			t.Errorf("%q: %q %q", in, b, p)
		}
	}
}
