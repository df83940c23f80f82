package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7/pkg/signer"

	"pailfs/tests/testenv"
)

// lock is a store that takes one access key at a time, and another when it is told to. Behind it stands a real one with keys of
// its own.
type lock struct {
	*httptest.Server
	mu struct {
		sync.Mutex
		accepted string
		refused  int
		asked    map[string]int // by access key
	}
}

func newLock(t *testing.T, s *testenv.Server, accepted string) *lock {
	t.Helper()
	behind, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	l := &lock{}
	l.mu.accepted, l.mu.asked = accepted, map[string]int{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.Out.Host = behind.Host
			r.Out.Header.Del("Authorization")
			r.Out.Header = signer.SignV4(*r.Out, s.AccessKey, s.SecretKey, "", s.Region).Header
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, err)
		},
	}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.takes(r) {
			proxy.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `<?xml version="1.0"?><Error><Code>InvalidAccessKeyId</Code><Message>nobody's</Message></Error>`)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *lock) takes(r *http.Request) bool {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	access, _, _ := strings.Cut(rest, "/")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.asked[access]++
	if access != l.mu.accepted {
		l.mu.refused++
	}
	return access == l.mu.accepted
}

// turn makes the lock take another key, and gives how many requests it has refused so far.
func (l *lock) turn(access string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.accepted = access
	return l.mu.refused
}

func keysText(access string) string {
	return "[default]\naws_access_key_id = " + access + "\naws_secret_access_key = secret-of-" + access + "\n"
}

// put replaces a file, as a rotation does.
func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// rotating is a mount whose keys are in a file.
func rotating(t *testing.T, file string, options ...testenv.Option) (*testenv.MountPoint, *testenv.Server, *lock, string) {
	t.Helper()
	testenv.Require(t)
	s := testenv.StoreIn(t, t.TempDir())
	bucket := s.Bucket(t)
	l := newLock(t, s, "FIRSTFIRSTFIRST")
	near := *s
	near.Endpoint = l.URL
	m := testenv.Mount(t, &near, append(options, testenv.Of(bucket), testenv.TTL(0), testenv.Args("--credentials-file", file),
		testenv.Env("AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="))...)
	return m, s, l, bucket
}

// The keys of a mount are changed while a file is being written and another one read: nobody notices.
func TestKeysAreChangedUnderAMount(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	put(t, file, keysText("FIRSTFIRSTFIRST"))
	m, s, l, bucket := rotating(t, file, testenv.Args("--part-size", "5MiB"))
	content := bytes.Repeat([]byte("0123456789abcdef"), 24<<20/16)
	s.Put(t, bucket, "old", content, nil)

	f, err := os.Create(m.Path("new"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(m.Path("old"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i, access := range []string{"SECONDSECONDSECOND", "THIRDTHIRDTHIRD"} {
		at := int64(i) * 8 << 20
		if _, err := f.Write(content[at : at+8<<20]); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 8<<20)
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, content[at:at+8<<20]) {
			t.Fatalf("read at %d: %v", at, err)
		}
		put(t, file, keysText(access))
		l.turn(access)
	}
	if _, err := f.Write(content[16<<20:]); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || !bytes.Equal(rest, content[16<<20:]) {
		t.Errorf("the rest: %d bytes, %v", len(rest), err)
	}
	if err := os.WriteFile(m.Path("third"), []byte("x"), 0o644); err != nil {
		t.Error(err)
	}
	if got := s.Get(t, bucket, "new"); !bytes.Equal(got, content) {
		t.Errorf("%d bytes are stored", len(got))
	}
	l.mu.Lock()
	for _, access := range []string{"FIRSTFIRSTFIRST", "SECONDSECONDSECOND", "THIRDTHIRDTHIRD"} {
		if l.mu.asked[access] == 0 {
			t.Errorf("nothing was asked with %s: %v", access, l.mu.asked)
		}
	}
	if l.mu.refused == 0 {
		t.Error("nothing was refused: the keys were changed between the requests")
	}
	l.mu.Unlock()
	if log := m.Log(); strings.Count(log, "other access keys are used from now on") != 2 || strings.Contains(log, "secret-of") || strings.Contains(log, "SECONDSECOND") {
		t.Errorf("%s", log)
	}
	out, code := m.Command("status", m.Dir)
	if code != 0 || !strings.Contains(out, "THI... from "+file+", profile default, read ") {
		t.Errorf("code %d\n%s", code, out)
	}
}

// A file that cannot be used changes nothing: the keys read before are in use as long as the store takes them. When it does not,
// programs are told so, until there is a file again.
func TestAFileOfKeysThatBreaks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	put(t, file, keysText("FIRSTFIRSTFIRST"))
	m, _, l, _ := rotating(t, file, testenv.ExpectLog("the access keys cannot be read again"), testenv.AllowLog("InvalidAccessKeyId", "level=WARN"))
	write := func(name string) error { return os.WriteFile(m.Path(name), []byte(name), 0o644) }
	put(t, file, "[default]\naws_access_key_id = HALF\n")
	if err := write("a"); err != nil {
		t.Errorf("with the former keys: %v", err)
	}
	l.turn("SECONDSECONDSECOND")
	if err := write("b"); !os.IsPermission(err) {
		t.Errorf("with keys that nobody takes: %v", err)
	}
	out, code := m.Command("status", "--json", m.Dir)
	var all []struct {
		Store struct {
			Keys    string `json:"access_keys"`
			Read    string `json:"access_keys_read"`
			Trouble string `json:"access_keys_trouble"`
		}
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || len(all) != 1 || !strings.HasPrefix(all[0].Store.Keys, "FIR... from ") ||
		all[0].Store.Read == "" || all[0].Store.Trouble == "" {
		t.Errorf("code %d %v\n%s", code, err, out)
	}
	put(t, file, keysText("SECONDSECONDSECOND"))
	if err := write("c"); err != nil {
		t.Errorf("with the new keys: %v", err)
	}
	if err := write("b"); err != nil {
		t.Errorf("the refused file: %v", err)
	}
}

// A secret of Kubernetes is exchanged by one link.
func TestKeysBehindALinkAreChanged(t *testing.T) {
	volume := t.TempDir()
	for i, access := range []string{"FIRSTFIRSTFIRST", "SECONDSECONDSECOND"} {
		dir := filepath.Join(volume, fmt.Sprintf("..%d", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "credentials"), keysText(access))
	}
	link := func(to string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(volume, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(volume, "..tmp"), filepath.Join(volume, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	link("..0")
	if err := os.Symlink("..data/credentials", filepath.Join(volume, "credentials")); err != nil {
		t.Fatal(err)
	}
	m, s, l, bucket := rotating(t, filepath.Join(volume, "credentials"))
	if err := os.WriteFile(m.Path("a"), []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	link("..1")
	if err := os.RemoveAll(filepath.Join(volume, "..0")); err != nil {
		t.Fatal(err)
	}
	l.turn("SECONDSECONDSECOND")
	if err := os.WriteFile(m.Path("b"), []byte("b"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := s.Get(t, bucket, "b"); string(got) != "b" {
		t.Errorf("%q", got)
	}
}

// What nobody meant is said when a mount begins, and the mount works.
func TestNotesOfAMount(t *testing.T) {
	d := newDesk(t)
	d.env = append(d.env, "PAILFS_DURABILTY=journal")
	out, code := d.pailfs("mount", d.bucket+"/no/such", d.mnt)
	if code != 0 || !strings.Contains(out, "note: the variable PAILFS_DURABILTY stands for no option and does nothing; did you mean PAILFS_DURABILITY?") ||
		!strings.Contains(out, "note: nothing is below "+d.bucket+"/no/such/ yet") {
		t.Errorf("code %d\n%s", code, out)
	}
	if err := os.WriteFile(d.mnt+"/x", []byte("x"), 0o644); err != nil {
		t.Error(err)
	}
	if out, code := d.pailfs("umount", d.mnt); code != 0 {
		t.Errorf("%s", out)
	}
	if out, code := d.pailfs("mount", d.bucket+"/no/such", d.mnt); code != 0 || strings.Contains(out, "yet") {
		t.Errorf("code %d\n%s", code, out)
	}
	if out, code := d.pailfs("umount", d.mnt); code != 0 {
		t.Errorf("%s", out)
	}
}
