package s3client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

func keysOf(access string) string {
	return fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = secret-of-%s\n", access, access)
}

// accessOf is the access key that a request was signed with.
func accessOf(h http.Header) string {
	_, rest, _ := strings.Cut(h.Get("Authorization"), "Credential=")
	access, _, _ := strings.Cut(rest, "/")
	return access
}

// replace puts a file in place of another, as an editor or a rotation does.
func replace(t *testing.T, path, text string) {
	t.Helper()
	writeFile(t, path+".new", text, 0o600)
	noError(t, os.Rename(path+".new", path))
}

// A file that was replaced is taken up at once when the store refuses the old keys: one request more, for each call that was
// under way.
func TestRefusedKeysAreReadAgainAtOnce(t *testing.T) {
	dir := home(t)
	for _, code := range []string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "XAdminUserNotFound", ""} {
		file := writeFile(t, filepath.Join(dir, "keys"), keysOf("OLDOLDOLD"), 0o600)
		var log bytes.Buffer
		accepted := "OLDOLDOLD"
		c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			switch {
			case accessOf(r.Header) != accepted && code == "":
				w.WriteHeader(403) // a HEAD's answer has no code
			case accessOf(r.Header) != accepted:
				refuse(w, 403, code, "")
			default:
				headAnswer(w, "e", 1, time.Now())
			}
		}, func(cfg *Config) {
			cfg.Credentials = CredentialsConfig{File: file, Log: slog.New(slog.NewTextHandler(&log, nil))}
		})
		noError(t, head(c))
		replace(t, file, keysOf("NEWNEWNEW"))
		noError(t, head(c)) // the file is not looked at yet
		accepted = "NEWNEWNEW"
		noError(t, head(c))
		if n := len(srv.requests()); n != 4 || accessOf(srv.header(2)) != "OLDOLDOLD" || accessOf(srv.header(4)) != "NEWNEWNEW" {
			t.Errorf("%s: %d requests", code, n)
		}
		if k := c.KeysKnown(); k.Access != "NE..." || k.Trouble != "" || k.Where != file+", profile default" || time.Since(k.Read) > time.Minute {
			t.Errorf("%+v", k)
		}
		if strings.Count(log.String(), "other access keys") != 1 || strings.Contains(log.String(), "secret-of") || strings.Contains(log.String(), "NEWNEW") {
			t.Errorf("%s", log.String())
		}
	}
}

// Keys that nobody accepts are refused after a few attempts, whatever the file says.
func TestKeysThatStayWrong(t *testing.T) {
	file := writeFile(t, filepath.Join(home(t), "keys"), keysOf("OLD"), 0o600)
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) { refuse(w, 403, "InvalidAccessKeyId", "") },
		func(cfg *Config) { cfg.Credentials = CredentialsConfig{File: file} })
	_, err := c.List(t.Context(), ListRequest{Bucket: "bucket"})
	want(t, "wrong", err, Denied, "InvalidAccessKeyId")
	if n := len(srv.requests()); n != most403 {
		t.Errorf("%d requests", n)
	}
}

// watch is a file's keys as requests get them, in a bubble whose clock goes when everybody waits.
type watchedKeys struct {
	t     *testing.T
	log   bytes.Buffer
	found *found
}

func watchKeys(t *testing.T, file string) *watchedKeys {
	t.Helper()
	w := &watchedKeys{t: t}
	var err error
	w.found, err = findCredentials(CredentialsConfig{File: file, Log: slog.New(slog.NewTextHandler(&w.log, nil))})
	noError(t, err)
	return w
}

func (w *watchedKeys) now() string {
	w.t.Helper()
	v, err := w.found.GetWithContext(nil)
	noError(w.t, err)
	return v.AccessKeyID
}

// later lets the time pass after which files are looked at.
func (w *watchedKeys) later() string {
	w.t.Helper()
	time.Sleep(lookEvery + time.Second)
	return w.now()
}

func (w *watchedKeys) says(n int, text string) {
	w.t.Helper()
	if got := strings.Count(w.log.String(), text); got != n {
		w.t.Errorf("%q stands %d times, not %d, in\n%s", text, got, n, w.log.String())
	}
}

// Without a refusal a file is looked at every few seconds.
func TestAChangedFileIsTakenUp(t *testing.T) {
	dir := home(t)
	synctest.Test(t, func(t *testing.T) {
		file := writeFile(t, filepath.Join(dir, "keys"), keysOf("first"), 0o600)
		w := watchKeys(t, file)
		if got := w.now(); got != "first" {
			t.Fatal(got)
		}
		replace(t, file, keysOf("second"))
		if got := w.now(); got != "first" {
			t.Errorf("looked at too soon: %s", got)
		}
		if got := w.later(); got != "second" {
			t.Errorf("replaced: %s", got)
		}
		// Written over in place, with the old time: size and ctime tell.
		info, err := os.Stat(file)
		noError(t, err)
		writeFile(t, file, keysOf("third!"), 0o600)
		noError(t, os.Chtimes(file, info.ModTime(), info.ModTime()))
		if got := w.later(); got != "third!" {
			t.Errorf("written over: %s", got)
		}
		w.says(2, "other access keys")
		if got := w.later(); got != "third!" {
			t.Error(got)
		}
		w.says(2, "msg=")
	})
}

// A secret of Kubernetes: a link to ..data, which is a link that is exchanged.
func TestALinkThatLeadsElsewhere(t *testing.T) {
	dir := home(t)
	synctest.Test(t, func(t *testing.T) {
		volume := filepath.Join(dir, "volume")
		writeFile(t, filepath.Join(volume, "..1", "keys"), keysOf("first"), 0o600)
		writeFile(t, filepath.Join(volume, "..2", "keys"), keysOf("other"), 0o600)
		noError(t, os.Symlink("..1", filepath.Join(volume, "..data")))
		noError(t, os.Symlink("..data/keys", filepath.Join(volume, "keys")))
		w := watchKeys(t, filepath.Join(volume, "keys"))
		if got := w.now(); got != "first" {
			t.Fatal(got)
		}
		noError(t, os.Symlink("..2", filepath.Join(volume, "..tmp")))
		noError(t, os.Rename(filepath.Join(volume, "..tmp"), filepath.Join(volume, "..data")))
		noError(t, os.RemoveAll(filepath.Join(volume, "..1")))
		if got := w.later(); got != "other" {
			t.Error(got)
		}
	})
}

// A file that became useless changes nothing but the log, which says it once for each reason.
func TestAFileThatBreaks(t *testing.T) {
	dir := home(t)
	synctest.Test(t, func(t *testing.T) {
		file := writeFile(t, filepath.Join(dir, "keys"), keysOf("first"), 0o600)
		w := watchKeys(t, file)
		w.now()
		for what, step := range map[string]func(){
			"half":     func() { replace(t, file, "[default]\naws_access_key_id = half\n") },
			"no keys":  func() { replace(t, file, "[default]\n") },
			"no INI":   func() { replace(t, file, "[default\n\x00") },
			"gone":     func() { noError(t, os.Remove(file)) },
			"readable": func() { replace(t, file, keysOf("open")); noError(t, os.Chmod(file, 0o644)) },
		} {
			w.log.Reset()
			step()
			for range 3 {
				if got := w.later(); got != "first" {
					t.Errorf("%s: %s", what, got)
				}
			}
			w.says(1, "cannot be read again")
			if k := w.found.told.known(); k.Trouble == "" || strings.Contains(k.Trouble+w.log.String(), "secret-of") {
				t.Errorf("%s: %+v %s", what, k, w.log.String())
			}
			w.found.Expire() // a refusal changes nothing either
			if got := w.now(); got != "first" {
				t.Errorf("%s: %s", what, got)
			}
			replace(t, file, keysOf("first"))
			w.later()
			w.says(1, "can be read again; they are the same")
			if k := w.found.told.known(); k.Trouble != "" {
				t.Errorf("%s: %+v", what, k)
			}
		}
	})
}

// The AWS tools' two files are watched both, and a configuration that others may read must not hold keys.
func TestTheDefaultFilesChange(t *testing.T) {
	dir := home(t)
	synctest.Test(t, func(t *testing.T) {
		file := writeFile(t, filepath.Join(dir, ".aws/credentials"), "[default]\nregion = x\n", 0o600)
		config := writeFile(t, filepath.Join(dir, ".aws/config"), keysOf("conf"), 0o600)
		w := watchKeys(t, "")
		if got := w.now(); got != "conf" {
			t.Fatal(got)
		}
		replace(t, config, keysOf("more"))
		if got := w.later(); got != "more" {
			t.Error(got)
		}
		replace(t, file, keysOf("best"))
		if got := w.later(); got != "best" {
			t.Error(got)
		}
		noError(t, os.Chmod(config, 0o644))
		_, err := findCredentials(CredentialsConfig{})
		if e := want(t, "an open configuration with keys", err, Invalid, "CredentialsFileMode"); !strings.Contains(e.Message, config) {
			t.Error(e)
		}
		writeFile(t, config, "[default]\nregion = y\n", 0o644)
		if got := access(t, CredentialsConfig{}).AccessKeyID; got != "best" {
			t.Error(got)
		}
	})
}

func TestWhoMayReadAFileOfKeys(t *testing.T) {
	dir := home(t)
	file := writeFile(t, filepath.Join(dir, "keys"), keysOf("a"), 0o600)
	others := func(mode os.FileMode) bool {
		t.Helper()
		noError(t, os.Chmod(file, mode))
		info, err := os.Stat(file)
		noError(t, err)
		return OthersRead(file, info)
	}
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o700: false, 0o640: true, 0o440: true, 0o644: true, 0o660: true, 0o604: true, 0o444: true} {
		if got := others(mode); got != want {
			t.Errorf("%04o: %v", mode, got)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for _, mode := range []os.FileMode{0o400, 0o440, 0o444} {
		if others(mode) {
			t.Errorf("%04o below $CREDENTIALS_DIRECTORY", mode)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Join(dir, "else"))
	if !others(0o440) {
		t.Error("0440 beside $CREDENTIALS_DIRECTORY")
	}
}

// A file of root's that a service reads by its group is the service's; its owner can make it his own.
func TestAFileThatRootGaveToAGroup(t *testing.T) {
	file := writeFile(t, filepath.Join(home(t), "keys"), keysOf("a"), 0o640)
	owner := os.Geteuid()
	for mode, want := range map[os.FileMode]bool{0o640: false, 0o440: false, 0o660: true, 0o644: true, 0o444: true} {
		noError(t, os.Chmod(file, mode))
		info, err := os.Stat(file)
		noError(t, err)
		if got := othersRead(file, info, owner+1); got != want {
			t.Errorf("%04o of another owner: %v", mode, got)
		}
		if !othersRead(file, info, owner) || !othersRead(file, info, 0) {
			t.Errorf("%04o of one's own", mode)
		}
	}
}

// A volume of Kubernetes, as a container sees it: memory, mounted read-only, with files of 0644.
func TestAFileOnAReadOnlyMemoryDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	dir := home(t)
	volume, seen := filepath.Join(dir, "volume"), filepath.Join(dir, "seen")
	noError(t, errors.Join(os.Mkdir(volume, 0o755), os.Mkdir(seen, 0o755)))
	noError(t, unix.Mount("tmpfs", volume, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { unix.Unmount(volume, unix.MNT_DETACH) })
	writeFile(t, filepath.Join(volume, "keys"), keysOf("a"), 0o644)
	noError(t, unix.Mount(volume, seen, "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(seen, unix.MNT_DETACH) })
	_, err := findCredentials(CredentialsConfig{File: filepath.Join(seen, "keys")})
	want(t, "it can be changed", err, Invalid, "CredentialsFileMode")
	noError(t, unix.Mount("", seen, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	if got := access(t, CredentialsConfig{File: filepath.Join(seen, "keys")}).AccessKeyID; got != "a" {
		t.Error(got)
	}
	_, err = findCredentials(CredentialsConfig{File: filepath.Join(volume, "keys")})
	want(t, "where it can be changed", err, Invalid, "CredentialsFileMode")
}

// A service that renews keys and is away for a while: those of before are used as long as they are valid.
func TestARoleThatCannotBeRenewed(t *testing.T) {
	home(t)
	var asked atomic.Int64
	down := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if down {
			w.WriteHeader(500)
			return
		}
		fmt.Fprintf(w, `{"AccessKeyId":"r%d","SecretAccessKey":"rs","Token":"rt","Expiration":%q}`, asked.Load(), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer srv.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", srv.URL)
	r := newRole()
	get := func() (credentials.Value, error) { return r.RetrieveWithCredContext(nil) }
	v, err := get()
	noError(t, err)
	if v.AccessKeyID != "r1" || r.trouble() != nil {
		t.Fatalf("%+v", v)
	}
	for range 10 { // requests that were refused together
		if v, err = get(); err != nil || v.AccessKeyID != "r1" || asked.Load() != 1 {
			t.Errorf("%+v %v, asked %d times", v, err, asked.Load())
		}
	}
	down = true
	r.got = r.got.Add(-time.Minute)
	for range 10 {
		if v, err = get(); err != nil || v.AccessKeyID != "r1" || asked.Load() != 2 || r.trouble() == nil {
			t.Errorf("%+v %v, asked %d times, %v", v, err, asked.Load(), r.trouble())
		}
	}
	r.value.Expiration = time.Now().Add(-time.Second)
	if _, err = get(); err == nil {
		t.Error("keys that are over were given")
	}
	down = false
	r.at = r.at.Add(-time.Minute)
	if v, err = get(); err != nil || v.AccessKeyID != "r3" || r.trouble() != nil {
		t.Errorf("%+v %v", v, err)
	}
}

// A question that hangs is given up, and asked by one goroutine however many want to know; a late answer counts.
func TestAQuestionThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a asking[string]
		asked, answer := 0, make(chan string)
		ask := func() (string, error) { asked++; return <-answer, nil }
		for range 3 {
			start := time.Now()
			if got, err := a.within(time.Second, ask); err == nil || got != "" || time.Since(start) != time.Second {
				t.Errorf("%q %v", got, err)
			}
		}
		answer <- "late"
		if got, err := a.within(time.Second, ask); got != "late" || err != nil || asked != 1 {
			t.Errorf("%q %v, asked %d times", got, err, asked)
		}
		boom := errors.New("boom")
		if _, err := a.within(time.Second, func() (string, error) { return "", boom }); !errors.Is(err, boom) {
			t.Error(err)
		}
	})
}

// A bucket's region is found by who does not know it; what HeadBucket says of a wrong one stays.
func TestABucketsRegionIsFoundWithoutKnowingIt(t *testing.T) {
	home(t)
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		switch {
		case strings.Contains(r.Header.Get("Authorization"), "/KR1/s3/"):
			w.Write([]byte("<LocationConstraint>KR1</LocationConstraint>"))
		case r.Method == http.MethodHead:
			w.WriteHeader(400)
		default:
			refuse(w, 400, "AuthorizationHeaderMalformed", "<Region>KR1</Region>")
		}
	})
	if got, err := c.BucketLocation(context.Background(), "bucket"); err != nil || got != "KR1" || len(srv.requests()) != 2 {
		t.Errorf("%q %v, %v", got, err, srv.requests())
	}
	err := c.HeadBucket(t.Context(), "bucket")
	if e := want(t, "HEAD", err, Denied, "AuthorizationHeaderMalformed"); e.Region != "KR1" {
		t.Errorf("%+v", e)
	}
}
