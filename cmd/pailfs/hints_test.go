package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	pfs "pailfs/fs"
	"pailfs/fs/journal"
	"pailfs/s3client"
)

func testSubject() subject {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return subject{command: "mount", cannot: "mount bucket data", region: "KR1", endpoint: "https://kr1.example.com", bucket: "data",
		now: func() time.Time { return now }, serverClock: func() (time.Time, bool) { return now.Add(-20 * time.Minute), true }}
}

// refused wraps an answer the way a caller of the store does.
func refused(e s3client.Error) error {
	e.Op = "List Objects"
	return fmt.Errorf("probe: %w", &e)
}

// unanswered is a request that got no answer.
func unanswered(cause error) error {
	return refused(s3client.Error{Kind: s3client.Temporary, Err: &url.Error{Op: "Get", URL: "https://kr1.example.com/data", Err: cause}})
}

func TestStoreFailures(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	for name, c := range map[string]struct {
		err       error
		code      int
		why, hint string
	}{
		"wrong secret": {refused(s3client.Error{Kind: s3client.Denied, Status: 403, Code: "SignatureDoesNotMatch", RequestID: "tx1"}),
			exitDenied, "does not know these credentials (403 SignatureDoesNotMatch, request tx1)", "issued for kr1.example.com"},
		"unknown key, versitygw": {refused(s3client.Error{Kind: s3client.Denied, Status: 404, Code: "XAdminUserNotFound"}), exitDenied, "does not know", "access key and secret key"},
		"unknown key":            {refused(s3client.Error{Kind: s3client.Denied, Status: 403, Code: "InvalidAccessKeyId"}), exitDenied, "does not know", "access key and secret key"},
		"no right":               {refused(s3client.Error{Kind: s3client.Denied, Status: 403, Code: "AccessDenied"}), exitDenied, "denies", "ask the bucket's owner"},
		"expired token":          {refused(s3client.Error{Kind: s3client.Denied, Status: 400, Code: "ExpiredToken"}), exitDenied, "session token", "AWS_SESSION_TOKEN"},
		"no credentials":         {refused(s3client.Error{Kind: s3client.Denied, Code: "NoCredentials"}), exitDenied, "no credentials found", "AWS_ACCESS_KEY_ID"},
		"open secrets": {refused(s3client.Error{Kind: s3client.Invalid, Code: "CredentialsFileMode", Message: "others can read f; run: chmod 600 f"}),
			exitDenied, "others can read f", "chmod 600 f"},
		"wrong region": {refused(s3client.Error{Kind: s3client.Denied, Status: 400, Code: "AuthorizationHeaderMalformed", Region: "JP1"}),
			exitDenied, "KR1 is not the region of kr1.example.com", "--region JP1"},
		"wrong region, unnamed": {refused(s3client.Error{Kind: s3client.Denied, Status: 400, Code: "AuthorizationHeaderMalformed"}),
			exitDenied, "is not the region", "--region NAME"},
		"redirect":           {refused(s3client.Error{Kind: s3client.Invalid, Status: 301, Code: "PermanentRedirect", Region: "eu-west-1"}), exitDenied, "is not the region", "--region eu-west-1"},
		"region of a denial": {refused(s3client.Error{Kind: s3client.Denied, Status: 403, Code: "AccessDenied", Region: "eu-west-1"}), exitDenied, "denies", "owner"},
		"missing bucket": {refused(s3client.Error{Kind: s3client.NotFound, Status: 404, Code: "NoSuchBucket"}), exitNotFound, "no bucket data in kr1.example.com",
			"`pailfs bucket list`"},
		"clock":         {refused(s3client.Error{Kind: s3client.Denied, Status: 403, Code: "RequestTimeTooSkewed"}), exitDenied, "clock is 20m0s fast", "ntp"},
		"dns":           {unanswered(dial2(&net.DNSError{Err: "no such host", Name: "kr1.example.com", IsNotFound: true})), exitUnreachable, "cannot be looked up", "spelling"},
		"dns server":    {unanswered(dial2(&net.DNSError{Err: "server misbehaving", IsTemporary: true})), exitUnreachable, "cannot be looked up", "DNS does not answer"},
		"refused":       {unanswered(dial(syscall.ECONNREFUSED)), exitUnreachable, "kr1.example.com refuses connections", "nothing listens"},
		"no route":      {unanswered(dial(syscall.EHOSTUNREACH)), exitUnreachable, "no route", "network"},
		"timeout":       {unanswered(dial(syscall.ETIMEDOUT)), exitUnreachable, "no answer from kr1.example.com in time", "HTTPS_PROXY"},
		"deadline":      {unanswered(context.DeadlineExceeded), exitUnreachable, "in time", "network"},
		"reset":         {unanswered(dial(syscall.ECONNRESET)), exitUnreachable, "closes the connection", "proxy"},
		"unknown ca":    {unanswered(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), exitUnreachable, "authority this host does not know", "--ca-file"},
		"wrong name":    {unanswered(&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}}), exitUnreachable, "other names", "--endpoint"},
		"expired cert":  {unanswered(x509.CertificateInvalidError{Reason: x509.Expired}), exitUnreachable, "not valid now", "clock first"},
		"no tls":        {unanswered(http.ErrSchemeMismatch), exitUnreachable, "does not speak TLS", "http://"},
		"5xx":           {refused(s3client.Error{Kind: s3client.Temporary, Status: 503, Code: "ServiceUnavailable", RequestID: "r"}), exitUnreachable, "answers with errors (503 ServiceUnavailable, request r)", "operator"},
		"broken off":    {unanswered(errors.New("unexpected EOF")), exitUnreachable, "no answer from kr1.example.com", "network"},
		"throttled":     {refused(s3client.Error{Kind: s3client.Throttled, Status: 503, Code: "SlowDown"}), exitUnreachable, "slow down", "--write-rate"},
		"no s3":         {refused(s3client.Error{Kind: s3client.Unknown, Status: 404, Code: "UnknownAnswer"}), exitGeneral, "unexpected answer", "really the address of an S3 store"},
		"bad name":      {refused(s3client.Error{Kind: s3client.Invalid, Status: 400, Code: "InvalidBucketName"}), exitGeneral, "does not accept", "3 to 63"},
		"configuration": {refused(s3client.Error{Kind: s3client.Invalid, Code: "BadConfiguration", Message: "no such file"}), exitUsage, "no such file", ""},
		"canceled":      {refused(s3client.Error{Kind: s3client.Canceled, Err: context.Canceled}), exitInterrupted, "interrupted", ""},
		"out of time":   {refused(s3client.Error{Kind: s3client.Canceled, Err: context.DeadlineExceeded}), exitUnreachable, "in time", "network"},
		"foreign":       {errors.New("something else"), exitGeneral, "something else", ""},
		"not empty":     {refused(s3client.Error{Kind: s3client.NotEmpty, Status: 409, Code: "BucketNotEmpty"}), exitGeneral, "not empty", "uploads abort data"},
		"exists":        {refused(s3client.Error{Kind: s3client.Exists, Status: 409, Code: "BucketAlreadyExists"}), exitGeneral, "exists already", "another"},
	} {
		f := testSubject().storeFailure(c.err)
		want := "cannot mount bucket data: "
		if f.code != c.code || f.command != "mount" || !strings.HasPrefix(f.message, want) || !strings.Contains(f.message, c.why) ||
			!strings.Contains(f.hint, c.hint) || c.hint == "" && f.hint != "" {
			t.Errorf("%s: code %d, %q, hint %q; want %d, %q, %q", name, f.code, f.message, f.hint, c.code, c.why, c.hint)
		}
	}
}

// dial2 is a lookup that failed inside a dial.
func dial2(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }

func TestEveryKindOfErrorHasACode(t *testing.T) {
	known := map[int]bool{}
	for _, e := range exitCodes {
		known[e.code] = true
	}
	for _, k := range s3client.Kinds() {
		f := testSubject().storeFailure(refused(s3client.Error{Kind: k, Status: 400}))
		if f.code == exitOK || !known[f.code] {
			t.Errorf("%v: code %d", k, f.code)
		}
		if k != s3client.NotFound && f.code == exitNotFound {
			t.Errorf("%v is reported as not found", k)
		}
	}
}

func TestHostFailures(t *testing.T) {
	for name, c := range map[string]struct {
		err       error
		code      int
		why, hint string
	}{
		"missing":   {pfs.ErrNoMountpoint, exitMountPoint, "does not exist", "mkdir -p /m"},
		"file":      {pfs.ErrNotDirectory, exitMountPoint, "not a directory", "empty directory"},
		"not empty": {pfs.ErrNotEmpty, exitMountPoint, "not empty", "hidden"},
		"mounted":   {pfs.ErrMounted, exitMountPoint, "mounted there already", "`pailfs umount /m`"},
		"no fuse":   {pfs.ErrNoFuse, exitHost, "/dev/fuse", "modprobe fuse"},
		"no right":  {fmt.Errorf("%w: %w", pfs.ErrNoPermission, syscall.EPERM), exitHost, "no permission", "/dev/fuse"},
		"locked":    {fmt.Errorf("open: %w (pid 77)", journal.ErrLocked), exitMountPoint, "pid 77", "`pailfs umount /m` waits"},
		"served":    {fmt.Errorf("%w (pid 77)", errServed), exitMountPoint, "pid 77", "`pailfs umount /m` waits"},
		"newer":     {fmt.Errorf("open journal /s/x: %w: format 2, this one reads up to 1", journal.ErrNewer), exitHost, "format 2", "with the pailfs that wrote it"},
		"run dir":   {fmt.Errorf("%w: /r belongs to user 5", errRunDir), exitHost, "/r belongs to user 5", "PAILFS_RUN_DIR"},
		"full":      {&fs.PathError{Op: "write", Path: "/s/x", Err: syscall.ENOSPC}, exitHost, "no space", "disk of /s is full"},
		"forbidden": {&fs.PathError{Op: "mkdir", Path: "/s", Err: syscall.EACCES}, exitHost, "permission denied", "--state-dir"},
		"read-only": {&fs.PathError{Op: "mkdir", Path: "/s", Err: syscall.EROFS}, exitHost, "read-only", "--state-dir"},
	} {
		f := testSubject().hostFailure(fmt.Errorf("mount: %w", c.err), "/m", "/s")
		if f == nil || f.code != c.code || !strings.Contains(f.message, c.why) || !strings.Contains(f.hint, c.hint) {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if f := testSubject().hostFailure(errors.New("other"), "/m", "/s"); f != nil {
		t.Errorf("%+v", f)
	}
}

func TestStoreName(t *testing.T) {
	for _, c := range []struct{ region, endpoint, want string }{
		{"KR1", "https://kr1-api-object-storage.nhncloudservice.com", "KR1"},
		{"KR1", "http://127.0.0.1:9000", "127.0.0.1:9000"},
		{"us-east-1", "https://s3.example.com", "s3.example.com"},
	} {
		if got := storeName(c.region, c.endpoint); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestClockOff(t *testing.T) {
	for d, want := range map[time.Duration]string{20 * time.Minute: "20m0s fast", -90 * time.Second: "1m30s slow", -400 * 24 * time.Hour: "400 days slow"} {
		if got := clockOff(d); got != want {
			t.Errorf("%v: %s", d, got)
		}
	}
}

func TestServerClock(t *testing.T) {
	at := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", at.Format(http.TimeFormat))
		w.WriteHeader(http.StatusForbidden)
	}))
	if got, ok := serverClock(srv.URL); !ok || !got.Equal(at) {
		t.Errorf("%v %v", got, ok)
	}
	srv.Close()
	if got, ok := serverClock(srv.URL); ok {
		t.Errorf("a dead server says it is %v", got)
	}
}

func TestAProxyIsNotToldItsPasswordUnchecked(t *testing.T) {
	for given, want := range map[string]string{
		"https://me:secret@proxy:3129": "https://proxy:3129", "https://proxy:3129": "https://proxy:3129",
		"http://me:secret@proxy:3128": "http://me:secret@proxy:3128", // no TLS, which could be checked, leads there
	} {
		u, err := url.Parse(given)
		if err != nil {
			t.Fatal(err)
		}
		if got := untold(u); got.String() != want || u.String() != given {
			t.Errorf("%s: %s", given, got)
		}
	}
	if untold(nil) != nil {
		t.Error("no proxy has become one")
	}
}

func TestFailuresArePrintedOnOneLineEach(t *testing.T) {
	var b strings.Builder
	(&failure{command: "mount", message: "cannot:\r\n\tthe \x1b[31mserver said\n\nthis", hint: "do\nthat"}).print(&b)
	if got, want := b.String(), "pailfs: mount: cannot: the  [31mserver said this\nhint: do that\n"; got != want {
		t.Errorf("%q", got)
	}
	b.Reset()
	(&failure{message: "x", silent: true}).print(&b)
	if b.Len() > 0 {
		t.Errorf("%q", b.String())
	}
}

func TestNearest(t *testing.T) {
	names := []string{"region", "read-only", "uid", "gid", "endpoint"}
	for in, want := range map[string]string{"regoin": "region", "readonly": "read-only", "uidd": "uid", "endpont": "endpoint", "zzz": "", "": "", "x": ""} {
		if got := nearest(in, names); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestCheckHost(t *testing.T) {
	root := t.TempDir()
	t.Setenv("PATH", root)
	expect := func(allowOther bool, uid, code int) {
		t.Helper()
		err := checkHost(uid, allowOther, root)
		if (err == nil) != (code == 0) || err != nil && failureOf(err).code != code {
			t.Errorf("uid %d: %v, want code %d", uid, err, code)
		}
	}
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(root+"/etc", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+"/"+name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	expect(true, 0, 0) // root needs nothing
	expect(false, 5, exitHost)
	write("fusermount3", "#!/bin/sh\n", 0o700)
	expect(false, 5, 0)
	expect(true, 5, exitHost)
	write("etc/fuse.conf", "# user_allow_other\nmount_max = 5\n", 0o600)
	expect(true, 5, exitHost)
	write("etc/fuse.conf", "  user_allow_other # yes\n", 0o600)
	expect(true, 5, 0)
}
