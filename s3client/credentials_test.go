package s3client

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// home makes an empty environment with a home directory of its own.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY",
		"AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_REGION",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_ROLE_ARN"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return dir
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	noError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	noError(t, os.WriteFile(path, []byte(text), mode))
	noError(t, os.Chmod(path, mode))
	return path
}

const twoProfiles = "[default]\naws_access_key_id = d\naws_secret_access_key = ds\n[other]\naws_access_key_id = o\naws_secret_access_key = os\naws_session_token = ot\n"

func access(t *testing.T, cfg CredentialsConfig) credentials.Value {
	t.Helper()
	c, err := findCredentials(cfg)
	noError(t, err)
	v, err := c.GetWithContext(nil)
	noError(t, err)
	return v
}

func TestCredentialsChain(t *testing.T) {
	dir := home(t)
	_, err := findCredentials(CredentialsConfig{})
	want(t, "nothing", err, Denied, "NoCredentials")

	writeFile(t, filepath.Join(dir, ".aws/credentials"), twoProfiles, 0o600)
	if v := access(t, CredentialsConfig{}); v.AccessKeyID != "d" || v.SecretAccessKey != "ds" {
		t.Errorf("default: %+v", v)
	}
	if v := access(t, CredentialsConfig{Profile: "other"}); v.AccessKeyID != "o" || v.SessionToken != "ot" {
		t.Errorf("profile: %+v", v)
	}
	t.Setenv("AWS_PROFILE", "other")
	if v := access(t, CredentialsConfig{}); v.AccessKeyID != "o" {
		t.Errorf("AWS_PROFILE: %+v", v)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", writeFile(t, filepath.Join(dir, "shared"), strings.ReplaceAll(twoProfiles, "= o", "= x"), 0o600))
	if v := access(t, CredentialsConfig{}); v.AccessKeyID != "x" {
		t.Errorf("AWS_SHARED_CREDENTIALS_FILE: %+v", v)
	}
	t.Setenv("AWS_PROFILE", "")
	file := writeFile(t, filepath.Join(dir, "mine"), "[default]\naws_access_key_id = f\naws_secret_access_key = fs\n", 0o600)
	if v := access(t, CredentialsConfig{File: file}); v.AccessKeyID != "f" {
		t.Errorf("file: %+v", v)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "e")
	_, err = findCredentials(CredentialsConfig{File: file})
	want(t, "half an environment", err, Invalid, "BadConfiguration")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "es")
	t.Setenv("AWS_SESSION_TOKEN", "et")
	if v := access(t, CredentialsConfig{File: file}); v.AccessKeyID != "e" || v.SessionToken != "et" {
		t.Errorf("environment: %+v", v)
	}
	if v := access(t, CredentialsConfig{AccessKey: "a", SecretKey: "s"}); v.AccessKeyID != "a" {
		t.Errorf("given: %+v", v)
	}
	if v := access(t, CredentialsConfig{Anonymous: true}); !v.SignerType.IsAnonymous() {
		t.Errorf("anonymous: %+v", v)
	}
}

func TestBadCredentialsFiles(t *testing.T) {
	dir := home(t)
	for name, tt := range map[string]struct {
		text    string
		mode    os.FileMode
		profile string
		code    string
		says    string
	}{
		"open to the group": {twoProfiles, 0o640, "", "CredentialsFileMode", "chmod 600 "},
		"open to all":       {twoProfiles, 0o604, "", "CredentialsFileMode", "chmod 600 "},
		"no profile":        {twoProfiles, 0o600, "third", "BadConfiguration", "third"},
		"no keys":           {"[default]\nregion = x\n", 0o600, "", "BadConfiguration", "aws_access_key_id"},
		"half a key":        {"[default]\naws_access_key_id = x\n", 0o600, "", "BadConfiguration", "default"},
		"empty":             {"", 0o600, "", "BadConfiguration", "default"},
	} {
		file := writeFile(t, filepath.Join(dir, "file"), tt.text, tt.mode)
		_, err := findCredentials(CredentialsConfig{File: file, Profile: tt.profile})
		if e := want(t, name, err, Invalid, tt.code); !strings.Contains(e.Error(), tt.says) || !strings.Contains(e.Error(), file) {
			t.Errorf("%s: %v", name, e)
		}
		if strings.Contains(err.Error(), "ds") && tt.text == twoProfiles {
			t.Errorf("%s: a secret in %v", name, err)
		}
	}
	_, err := findCredentials(CredentialsConfig{File: filepath.Join(dir, "none")})
	want(t, "no file", err, Invalid, "BadConfiguration")
	_, err = findCredentials(CredentialsConfig{Profile: "p"})
	want(t, "a profile without files", err, Invalid, "BadConfiguration")
	writeFile(t, filepath.Join(dir, ".aws/credentials"), twoProfiles, 0o644)
	_, err = findCredentials(CredentialsConfig{})
	want(t, "the default file is open", err, Invalid, "CredentialsFileMode")
	noError(t, os.Chmod(filepath.Join(dir, ".aws/credentials"), 0o600))
	_, err = findCredentials(CredentialsConfig{Profile: "third"})
	want(t, "no such profile", err, Invalid, "BadConfiguration")
}

// Keys that are changed in the file are used from then on, and half a file is not believed.
func TestCredentialsFileChanges(t *testing.T) {
	dir := home(t)
	file := writeFile(t, filepath.Join(dir, "file"), twoProfiles, 0o600)
	p, err := openFile(file, "")
	noError(t, err)
	c := credentials.New(p)
	read := func() string {
		v, err := c.GetWithContext(nil)
		noError(t, err)
		return v.AccessKeyID
	}
	if got := read(); got != "d" {
		t.Fatal(got)
	}
	next := time.Now()
	change := func(text string) {
		next = next.Add(time.Second)
		writeFile(t, file, text, 0o600)
		noError(t, os.Chtimes(file, next, next))
		p.looked = time.Time{}
	}
	change("[default]\naws_access_key_id = half")
	if got := read(); got != "d" {
		t.Errorf("half a file: %s", got)
	}
	change(strings.ReplaceAll(twoProfiles, "= d", "= new"))
	if got := read(); got != "new" {
		t.Errorf("changed file: %s", got)
	}
}

// A host without a metadata service says so soon, and does not ask again with each request.
func TestRole(t *testing.T) {
	home(t)
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if asked == 1 {
			w.WriteHeader(404)
			return
		}
		w.Write([]byte(`{"AccessKeyId":"r","SecretAccessKey":"rs","Token":"rt","Expiration":"2099-01-01T00:00:00Z"}`))
	}))
	defer srv.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", srv.URL)
	cfg := Config{Endpoint: "http://127.0.0.1:1", Timeout: time.Second}
	c, err := Open(cfg)
	noError(t, err)
	for range 3 {
		_, err = c.Head(t.Context(), "bucket", "k")
		e := want(t, "no role", err, Denied, "NoCredentials")
		if !strings.Contains(e.Error(), "404") {
			t.Errorf("%v", e)
		}
		_, err = c.Buckets(t.Context())
		want(t, "no role", err, Denied, "NoCredentials")
	}
	if asked != 1 || c.Counters().Snapshot().Total() != 0 {
		t.Errorf("asked %d times, %+v", asked, c.Counters().Snapshot())
	}
	r := newRole()
	v, err := r.Retrieve()
	if err != nil || v.AccessKeyID != "r" || v.SessionToken != "rt" || r.IsExpired() {
		t.Errorf("%+v %v", v, err)
	}
}

func TestRoleThatHangs(t *testing.T) {
	home(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	noError(t, err)
	defer l.Close()
	r := newRole()
	r.limit, r.Client.Timeout, r.Endpoint = 100*time.Millisecond, 100*time.Millisecond, "http://"+l.Addr().String()
	start := time.Now()
	_, err = r.Retrieve()
	want(t, "hangs", err, Denied, "NoCredentials")
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("after %v", d)
	}
}

func TestAnonymousIsNotSigned(t *testing.T) {
	home(t)
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.Method == http.MethodHead {
			headAnswer(w, "e", 1, time.Now())
			return
		}
		w.Write([]byte("<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"))
	}, func(cfg *Config) { cfg.Credentials = CredentialsConfig{Anonymous: true} })
	noError(t, head(c))
	_, err := c.List(t.Context(), ListRequest{Bucket: "bucket"})
	noError(t, err)
	for i := 1; i <= 2; i++ {
		if a := srv.header(i).Get("Authorization"); a != "" {
			t.Errorf("request %d: %s", i, a)
		}
	}
}
