// Package keystone holds `pailfs credentials` to what a real identity service does, Debian's Keystone, in both versions of the
// API, and a mount to the keys that come of it. It runs where tests/swift/up has started one.
package keystone

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/keystone"
	"pailfs/tests/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// rig is what tests/swift/up tells of its Keystone. The second user is nobody else's: its keys are made and deleted here.
type rig struct {
	v2, v3                           string
	user, userID, password, tenantID string
	ownAccess                        string // the key that the rig itself has made for this user
}

func startedRig(t *testing.T) rig {
	t.Helper()
	r := rig{v2: os.Getenv("SWIFT_IDENTITY_URL"), v3: os.Getenv("SWIFT_KEYSTONE_URL"), user: os.Getenv("SWIFT_ALT_USER"), userID: os.Getenv("SWIFT_ALT_USER_ID"),
		password: os.Getenv("SWIFT_ALT_PASSWORD"), tenantID: os.Getenv("SWIFT_ALT_TENANT_ID"), ownAccess: os.Getenv("SWIFT_ALT_ACCESS")}
	if r.v2 == "" || r.password == "" {
		testenv.Skip(t, "no Keystone: tests/swift/up starts one")
	}
	return r
}

func (r rig) login(url string) keystone.Login {
	return keystone.Login{URL: url, User: r.user, Password: keystone.Secret(r.password), ProjectID: r.tenantID}
}

func (r rig) signIn(t *testing.T, l keystone.Login) *keystone.Session {
	t.Helper()
	s, err := keystone.SignIn(t.Context(), l, keystone.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// clean deletes the user's keys but the rig's own, before and after a test.
func (r rig) clean(t *testing.T) {
	t.Helper()
	sweep := func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s, err := keystone.SignIn(ctx, r.login(r.v3), keystone.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		keys, err := s.List(ctx)
		if err != nil {
			t.Error(err)
		}
		for _, k := range keys {
			if k.Access == r.ownAccess {
				continue
			}
			if err := s.Delete(ctx, k.Access); err != nil {
				t.Error(err)
			}
		}
	}
	sweep()
	t.Cleanup(sweep)
}

func kind(t *testing.T, what string, err error, want keystone.Kind, password string) *keystone.Error {
	t.Helper()
	var e *keystone.Error
	if !errors.As(err, &e) || e.Kind != want {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
	if strings.Contains(err.Error(), password) {
		t.Errorf("%s: the password is in %v", what, err)
	}
	return e
}

func TestKeysOfARealKeystone(t *testing.T) {
	r := startedRig(t)
	root := strings.TrimSuffix(r.v3, "/v3")
	for name, change := range map[string]func(*keystone.Login){
		"v2.0":               func(l *keystone.Login) { l.URL = r.v2 },
		"v3":                 func(*keystone.Login) {},
		"found out":          func(l *keystone.Login) { l.URL = root },
		"by ids":             func(l *keystone.Login) { l.User, l.UserID = "", r.userID },
		"the project's name": func(l *keystone.Login) { l.ProjectID, l.Project = "", "other" },
		"the default one":    func(l *keystone.Login) { l.ProjectID = "" },
		"a domain":           func(l *keystone.Login) { l.UserDomain = "Default" },
	} {
		t.Run(name, func(t *testing.T) {
			r.clean(t)
			l := r.login(r.v3)
			change(&l)
			s := r.signIn(t, l)
			if s.User.ID != r.userID || s.Project.ID != r.tenantID || s.Expires.Before(time.Now()) {
				t.Fatalf("%+v %+v %v", s.User, s.Project, s.Expires)
			}
			c, err := s.Register(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if c.Access == "" || c.Secret == "" || c.ProjectID != r.tenantID || c.UserID != r.userID {
				t.Errorf("%+v", c)
			}
			all, err := s.List(t.Context())
			if err != nil || len(all) != 2 {
				t.Errorf("%+v %v", all, err)
			}
			if one, err := s.Get(t.Context(), c.Access); err != nil || one.ProjectID != r.tenantID {
				t.Errorf("%+v %v", one, err)
			}
			if got := s.Endpoint(os.Getenv("PAILFS_TEST_REGION"), ""); got != os.Getenv("PAILFS_TEST_ENDPOINT") {
				t.Errorf("the catalog's address: %q", got)
			}
			if err := s.Delete(t.Context(), c.Access); err != nil {
				t.Error(err)
			}
			kind(t, "deleted twice", s.Delete(t.Context(), c.Access), keystone.NotFound, r.password)
			_, err = s.Get(t.Context(), c.Access)
			kind(t, "deleted", err, keystone.NotFound, r.password)
		})
	}
}

func TestRefusalsOfARealKeystone(t *testing.T) {
	r := startedRig(t)
	root := strings.TrimSuffix(r.v3, "/v3")
	for name, c := range map[string]struct {
		change func(*keystone.Login)
		want   keystone.Kind
	}{
		"wrong password, v3":   {func(l *keystone.Login) { l.Password += "x" }, keystone.Refused},
		"wrong password, v2.0": {func(l *keystone.Login) { l.Password += "x"; l.URL = r.v2 }, keystone.Refused},
		"nobody":               {func(l *keystone.Login) { l.User = "nobody@example.com" }, keystone.Refused},
		"another domain":       {func(l *keystone.Login) { l.UserDomain = "elsewhere" }, keystone.Refused},
		"another's project":    {func(l *keystone.Login) { l.ProjectID = os.Getenv("SWIFT_TENANT_ID") }, keystone.Refused},
		"another path":         {func(l *keystone.Login) { l.URL = root + "/identity/v3" }, keystone.NoAPI},
		"a token of nobody":    {func(l *keystone.Login) { l.Token = "gAAAAAnobody" }, keystone.Refused},
		"the store's address":  {func(l *keystone.Login) { l.URL = os.Getenv("PAILFS_TEST_ENDPOINT") + "/v3" }, keystone.NoAPI},
	} {
		l := r.login(r.v3)
		c.change(&l)
		_, err := keystone.SignIn(t.Context(), l, keystone.Options{Timeout: time.Minute})
		var e *keystone.Error
		if name == "the store's address" && errors.As(err, &e) && e.Kind != keystone.Unavailable {
			continue // Swift's own words for a path that it does not have: anything but a token
		}
		kind(t, name, err, c.want, r.password)
	}
	s := r.signIn(t, r.login(r.v3))
	other := *s
	other.User.ID = os.Getenv("SWIFT_USER_ID")
	_, err := other.List(t.Context())
	kind(t, "another's keys", err, keystone.Forbidden, r.password)
}

// The rig's Keystone gives three, as the service does.
func TestTheFourthKeyOfARealKeystone(t *testing.T) {
	r := startedRig(t)
	r.clean(t)
	s := r.signIn(t, r.login(r.v2))
	for range keystone.MostKeys - 1 {
		if _, err := s.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Register(t.Context())
	if e := kind(t, "the fourth", err, keystone.Limit, r.password); len(e.Keys) != keystone.MostKeys {
		t.Errorf("%+v", e.Keys)
	}
}

// desk is a user's surroundings for commands.
type desk struct {
	t   *testing.T
	env []string
	dir string
}

func (r rig) desk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir()}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PAILFS_") && !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "OS_") && !strings.HasPrefix(v, "HOME=") {
			d.env = append(d.env, v)
		}
	}
	d.env = append(d.env, "HOME="+d.dir, "OS_AUTH_URL="+r.v2, "OS_USERNAME="+r.user, "OS_PASSWORD="+r.password, "OS_TENANT_ID="+r.tenantID)
	return d
}

func (d *desk) pailfs(args ...string) (string, int) {
	d.t.Helper()
	cmd := exec.Command(testenv.Binary(d.t), args...)
	cmd.Env, cmd.Dir = d.env, d.dir
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		d.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// access are the keys of a `pailfs credentials list --json`.
func (d *desk) access() []string {
	d.t.Helper()
	out, code := d.pailfs("credentials", "list", "--json")
	var list []struct{ Access string }
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 {
		d.t.Fatalf("code %d %v\n%s", code, err, out)
	}
	var all []string
	for _, k := range list {
		all = append(all, k.Access)
	}
	return all
}

// The whole way: a key from Keystone, Swift mounted with it, another key taken up while it is mounted, the first one deleted.
func TestSwiftIsMountedWithAKeyFromKeystone(t *testing.T) {
	testenv.Require(t)
	r := startedRig(t)
	r.clean(t)
	d := r.desk(t)
	file := filepath.Join(d.dir, "keys")
	register := func(args ...string) string {
		t.Helper()
		before := d.access()
		out, code := d.pailfs(append([]string{"credentials", "register", "--credentials-file", file}, args...)...)
		if code != 0 || strings.Contains(out, r.password) || strings.Contains(out, "secret") {
			t.Fatalf("code %d\n%s", code, out)
		}
		for _, k := range d.access() {
			if !strings.Contains(strings.Join(before, " "), k) {
				return k
			}
		}
		t.Fatal("there is no new key")
		return ""
	}
	first := register()
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	s := testenv.Store(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "") // the other user's, and before any file
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	client, err := s3client.Open(s3client.Config{Endpoint: os.Getenv("PAILFS_TEST_ENDPOINT"), Region: os.Getenv("PAILFS_TEST_REGION"),
		Credentials: s3client.CredentialsConfig{File: file}})
	if err != nil {
		t.Fatal(err)
	}
	s.Client = client // the second user's account
	bucket := s.Bucket(t)
	m := testenv.Mount(t, s, testenv.Of(bucket), testenv.TTL(0), testenv.Args("--credentials-file", file), testenv.Env("AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="))
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(m.Path(name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := s.Get(t, bucket, name); string(got) != name {
			t.Errorf("%q", got)
		}
	}
	write("with the first key")

	second := register("--replace")
	if out, code := d.pailfs("credentials", "delete", "--yes", first); code != 0 {
		t.Fatalf("code %d\n%s", code, out)
	}
	if all := strings.Join(d.access(), " "); strings.Contains(all, first) || !strings.Contains(all, second) {
		t.Errorf("%s", all)
	}
	for i := 0; ; i++ { // within seconds the file is looked at; the proxy takes the first key as long as that
		write("with the second key " + strings.Repeat("I", i))
		if strings.Contains(m.Log(), "other access keys are used from now on") {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	if out, code := m.Command("status", m.Dir); code != 0 || !strings.Contains(out, second[:4]+"... from "+file) {
		t.Errorf("code %d\n%s", code, out)
	}
	write("and on")
}

// What a command says when Keystone refuses.
func TestCommandsThatKeystoneRefuses(t *testing.T) {
	r := startedRig(t)
	r.clean(t)
	for name, c := range map[string]struct {
		env       []string
		args      []string
		code      int
		why, hint string
	}{
		"wrong password": {[]string{"OS_PASSWORD=wrong"}, []string{"list"}, 3, "with this password (401", "check user and password"},
		"no v2.0 there":  {[]string{"OS_AUTH_URL=" + strings.TrimSuffix(r.v2, "/v2.0") + "/identity/v2.0"}, []string{"list"}, 2, "does not answer as an identity service", "/v2.0"},
		"no such key":    {nil, []string{"delete", "--yes", "0123456789abcdef0123456789abcdef"}, 5, "no such access key", "credentials list"},
	} {
		d := r.desk(t)
		d.env = append(d.env, c.env...)
		out, code := d.pailfs(append([]string{"credentials"}, c.args...)...)
		if code != c.code || !strings.Contains(out, c.why) || !strings.Contains(out, c.hint) {
			t.Errorf("%s: code %d\n%s", name, code, out)
		}
	}
	d := r.desk(t)
	for i := range keystone.MostKeys - 1 {
		if out, code := d.pailfs("credentials", "register", "--profile", string(rune('a'+i))); code != 0 {
			t.Fatalf("%s", out)
		}
	}
	out, code := d.pailfs("credentials", "register", "--profile", "fourth")
	if code != 3 || !strings.Contains(out, "at most 3") || !strings.Contains(out, "credentials delete") {
		t.Errorf("code %d\n%s", code, out)
	}
	if b, err := os.ReadFile(filepath.Join(d.dir, ".aws", "credentials")); err != nil || strings.Contains(string(b), "fourth") {
		t.Errorf("%v", err)
	}
}

// A Keystone that the rig does not have at its root answers as one: 300, with the versions.
func TestTheRootOfARealKeystone(t *testing.T) {
	r := startedRig(t)
	resp, err := http.Get(strings.TrimSuffix(r.v3, "/v3") + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMultipleChoices {
		t.Errorf("status %d", resp.StatusCode)
	}
}
