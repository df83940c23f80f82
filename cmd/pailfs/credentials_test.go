package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/s3client"
	"pailfs/s3client/keystone/keystonetest"
)

// signedIn is a service, an environment that signs in to it, and a home without keys.
func signedIn(t *testing.T, version string) *keystonetest.Service {
	t.Helper()
	withKeys(t)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OS_") || strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "XDG_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	t.Chdir(t.TempDir())
	srv := keystonetest.New(t)
	t.Setenv("OS_AUTH_URL", srv.URL+version)
	t.Setenv("OS_USERNAME", keystonetest.User)
	t.Setenv("OS_PASSWORD", keystonetest.Password)
	t.Setenv("OS_TENANT_ID", keystonetest.ProjectID)
	return srv
}

// noSecret fails when an output has a password, a token or a key's secret in it.
func noSecret(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for _, secret := range []string{keystonetest.Password, keystonetest.ApplicationSecret, "secret0", "token-"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q stands in\n%s", secret, text)
			}
		}
	}
}

func TestRegisterWritesAKeyThatTheStoreIsAskedWith(t *testing.T) {
	for _, version := range []string{"/v2.0", "/v3", ""} {
		srv := signedIn(t, version)
		out, stderr, code := output(t, "credentials", "register", "--region", "KR1")
		noSecret(t, out, stderr)
		file := filepath.Join(os.Getenv("HOME"), ".aws", "credentials")
		key := srv.Keys()[0]
		if code != exitOK || !strings.Contains(out, key.Access) || !strings.Contains(out, "written to "+file+", profile default") || !strings.Contains(out, "bucket list --region KR1") {
			t.Errorf("%s: code %d\n%s%s", version, code, out, stderr)
		}
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
		asked := newAnswers(t, func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.Header.Get("Authorization"), "Credential="+key.Access+"/") {
				t.Errorf("signed %s", r.Header.Get("Authorization"))
			}
			fmt.Fprint(w, "<ListAllMyBucketsResult></ListAllMyBucketsResult>")
		})
		if _, stderr, code := output(t, "bucket", "list", "--endpoint", asked.URL); code != exitOK || len(asked.asked()) != 1 {
			t.Errorf("code %d %s", code, stderr)
		}
	}
}

func TestRegisterIntoAFileAndAProfile(t *testing.T) {
	srv := signedIn(t, "/v3")
	file := filepath.Join(t.TempDir(), "keys")
	run := func(args ...string) (string, string, int) {
		return output(t, append([]string{"credentials", "register", "--credentials-file", file}, args...)...)
	}
	if _, stderr, code := run("--profile", "one"); code != exitOK {
		t.Fatal(stderr)
	}
	// A profile that has a key is left alone before anything is asked.
	before := len(srv.Asked())
	out, stderr, code := run("--profile", "one")
	if code != exitUsage || !strings.Contains(stderr, "holds an access key already") || !strings.Contains(stderr, "--replace") || len(srv.Asked()) != before || out != "" {
		t.Errorf("code %d %s", code, stderr)
	}
	out, stderr, code = run("--profile", "one", "--replace", "--json")
	noSecret(t, out, stderr)
	var r registered
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK || r.Access != srv.Keys()[1].Access || r.Profile != "one" || r.File != file ||
		r.ProjectID != keystonetest.ProjectID || r.UserID != keystonetest.UserID || r.Secret != "" || r.Endpoint != "https://store.example" {
		t.Errorf("%v %d %+v", err, code, r)
	}
	out, _, code = run("--profile", "two", "--show-secret")
	if code != exitOK || !strings.Contains(out, "secret key "+srv.Keys()[2].Secret) {
		t.Errorf("code %d %s", code, out)
	}
	for profile, k := range map[string]keystonetest.Key{"one": srv.Keys()[1], "two": srv.Keys()[2]} {
		c, err := s3client.Open(s3client.Config{Region: "KR1", Credentials: s3client.CredentialsConfig{File: file, Profile: profile}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Keys(); err != nil || got.Access != k.Access[:4]+"..." || got.Blank {
			t.Errorf("%s: %+v %v", profile, got, err)
		}
	}
	// The fourth.
	out, stderr, code = run("--profile", "three")
	noSecret(t, out, stderr)
	if code != exitDenied || !strings.Contains(stderr, "at most 3") || !strings.Contains(stderr, "credentials list") || !strings.Contains(stderr, "credentials delete") ||
		!strings.Contains(stderr, srv.Keys()[1].Access) {
		t.Errorf("code %d\n%s", code, stderr)
	}
}

// A key that cannot be written down is nobody's: it is taken back.
func TestAKeyThatCannotBeWrittenIsTakenBack(t *testing.T) {
	srv := signedIn(t, "/v3")
	dir := t.TempDir()
	file := filepath.Join(dir, "keys")
	srv.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "OS-EC2") {
			if err := os.WriteFile(file, []byte("\x00 is no text"), 0o600); err != nil { // meanwhile
				t.Error(err)
			}
		}
		return false
	}
	_, stderr, code := output(t, "credentials", "register", "--credentials-file", file)
	if code != exitHost || !strings.Contains(stderr, "cannot write keys to "+file) || len(srv.Keys()) != 0 {
		t.Errorf("code %d, left %v\n%s", code, srv.Keys(), stderr)
	}
	asked := len(srv.Asked())
	_, stderr, code = output(t, "credentials", "register", "--credentials-file", "/proc/none/keys")
	if code != exitHost || len(srv.Asked()) != asked {
		t.Errorf("code %d, asked in vain\n%s", code, stderr)
	}
}

func TestListNeverShowsASecret(t *testing.T) {
	srv := signedIn(t, "/v2.0")
	if _, stderr, code := output(t, "credentials", "register", "--profile", "mine"); code != exitOK {
		t.Fatal(stderr)
	}
	mine, other := srv.Keys()[0], srv.Add(keystonetest.OtherProjectID)
	out, stderr, code := output(t, "credentials", "list")
	noSecret(t, out, stderr)
	lines := strings.Split(out, "\n")
	if code != exitOK || !strings.Contains(lines[0], mine.Access) || !strings.Contains(lines[0], "profile mine of ") || !strings.Contains(lines[0], "made 2026-01-02") ||
		!strings.Contains(lines[1], other.Access) || !strings.Contains(lines[1], "another project, "+keystonetest.OtherProjectID) ||
		lines[2] != "1 of 3 for project tester ("+keystonetest.ProjectID+")" {
		t.Errorf("code %d\n%s%s", code, out, stderr)
	}
	out, stderr, code = output(t, "credentials", "list", "--json")
	noSecret(t, out, stderr)
	var list []listed
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != exitOK || len(list) != 2 || !list[0].Here || list[1].Here || list[0].Profiles[0] != "mine" {
		t.Errorf("%v %d %s", err, code, out)
	}
}

func TestDeleteAsks(t *testing.T) {
	srv := signedIn(t, "/v3")
	key := srv.Add(keystonetest.ProjectID)
	_, stderr, code := output(t, "credentials", "delete", key.Access)
	if code != exitUsage || !strings.Contains(stderr, "--yes") || len(srv.Asked()) != 0 {
		t.Errorf("code %d %s", code, stderr)
	}
	out, _, code := output(t, "credentials", "delete", "--yes", key.Access)
	if code != exitOK || !strings.Contains(out, "deleted access key "+key.Access) || len(srv.Keys()) != 0 {
		t.Errorf("code %d %s", code, out)
	}
	_, stderr, code = output(t, "credentials", "delete", key.Access, "--yes")
	if code != exitNotFound || !strings.Contains(stderr, "no such access key") || !strings.Contains(stderr, "credentials list") {
		t.Errorf("code %d %s", code, stderr)
	}
	if _, stderr, code = output(t, "credentials", "delete", "--yes"); code != exitUsage || !strings.Contains(stderr, "delete [OPTIONS] ACCESS") {
		t.Errorf("code %d %s", code, stderr)
	}
}

func TestLoginsThatFailSayWhy(t *testing.T) {
	for name, c := range map[string]struct {
		version   string
		change    func(t *testing.T, srv *keystonetest.Service)
		args      []string
		code      int
		why, hint string
	}{
		"wrong password": {"/v2.0", func(t *testing.T, _ *keystonetest.Service) { t.Setenv("OS_PASSWORD", "wrong password") }, nil,
			exitDenied, "does not take user " + keystonetest.User + " with this password (401", "project " + keystonetest.ProjectID + "; they are from the environment"},
		"no domain": {"/v3", func(t *testing.T, _ *keystonetest.Service) { t.Setenv("OS_PASSWORD", "wrong password") }, nil,
			exitDenied, "(401 The request you have made", "OS_USER_DOMAIN_NAME"},
		"v2.0 of a v3 service": {"/v2.0", func(_ *testing.T, srv *keystonetest.Service) { srv.NoV2 = true }, nil,
			exitUsage, "does not answer as an identity service (404)", "/v3"},
		"v3 of a v2.0 service": {"/v3", func(_ *testing.T, srv *keystonetest.Service) { srv.NoV3 = true }, nil,
			exitUsage, "does not answer as an identity service (404)", "/v2.0"},
		"another address": {"/elsewhere/v3", nil, nil, exitUsage, "does not answer as an identity service (404)", "https://HOST/v2.0"},
		"a second factor": {"/v3", func(_ *testing.T, srv *keystonetest.Service) { srv.SecondFactor = true }, nil,
			exitDenied, "needs a second factor", "OS_TOKEN"},
		"many projects": {"/v3", func(t *testing.T, srv *keystonetest.Service) {
			srv.Projects = []string{keystonetest.ProjectID, keystonetest.OtherProjectID}
			t.Setenv("OS_TENANT_ID", "")
		}, nil, exitUsage, "has 2 projects", keystonetest.OtherProjectID},
		"no project": {"/v2.0", func(t *testing.T, srv *keystonetest.Service) { srv.Projects = nil; t.Setenv("OS_TENANT_ID", "") }, nil,
			exitUsage, "the user has no project", ""},
		"a token that has ended": {"/v3", func(t *testing.T, _ *keystonetest.Service) { t.Setenv("OS_TOKEN", "gone") }, nil,
			exitDenied, "does not take the token", "ended"},
		"half an application credential": {"/v3", func(t *testing.T, _ *keystonetest.Service) {
			t.Setenv("OS_USERNAME", "")
			t.Setenv("OS_APPLICATION_CREDENTIAL_ID", "i")
		}, nil, exitUsage, "is not complete", "OS_APPLICATION_CREDENTIAL_SECRET"},
		"no password": {"/v3", func(t *testing.T, _ *keystonetest.Service) { t.Setenv("OS_PASSWORD", "") }, nil,
			exitUsage, "no password is given", "OS_PASSWORD"},
		"no user": {"/v3", func(t *testing.T, _ *keystonetest.Service) { t.Setenv("OS_USERNAME", "") }, nil,
			exitUsage, "no user is given", "OS_USERNAME"},
		"no address": {"/v3", func(t *testing.T, _ *keystonetest.Service) { t.Setenv("OS_AUTH_URL", "") }, nil,
			exitUsage, "address is not given", "--auth-url"},
		"a password in it": {"/v3", nil, []string{"--auth-url", "https://me:" + "topsecret@id/v3"}, exitUsage, "user or password in it", ""},
		"no such cloud":    {"/v3", nil, []string{"--cloud", "nowhere"}, exitUsage, "no such cloud", "clouds.yaml"},
		"a strange version": {"/v3", func(t *testing.T, _ *keystonetest.Service) { t.Setenv("OS_IDENTITY_API_VERSION", "7") }, nil,
			exitUsage, "OS_IDENTITY_API_VERSION", ""},
		"trouble": {"/v3", func(_ *testing.T, srv *keystonetest.Service) {
			srv.Before = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true }
		}, nil, exitUnreachable, "in trouble (503)", "later"},
		"not there": {"/v3", func(t *testing.T, _ *keystonetest.Service) { t.Setenv("OS_AUTH_URL", "http://127.0.0.1:1/v3") }, nil,
			exitUnreachable, "127.0.0.1:1 refuses connections", "--auth-url"},
		"an unknown host": {"/v3", nil, []string{"--auth-url", "https://no-such-host.invalid/v3"}, exitUnreachable, "cannot be looked up", "--auth-url"},
		"forbidden": {"/v3", func(_ *testing.T, srv *keystonetest.Service) {
			srv.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "OS-EC2") {
					keystonetest.Refuse(w, 403, "You are not authorized")
					return true
				}
				return false
			}
		}, nil, exitDenied, "does not permit it (403 You are not authorized)", "unrestricted"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := signedIn(t, c.version)
			if c.change != nil {
				c.change(t, srv)
			}
			out, stderr, code := output(t, append([]string{"credentials", "list"}, c.args...)...)
			noSecret(t, stderr)
			why, hint, _ := strings.Cut(stderr, "\n")
			if code != c.code || out != "" || !strings.HasPrefix(why, "pailfs: credentials list: cannot list the access keys: ") ||
				!strings.Contains(why, c.why) || !strings.Contains(hint, c.hint) || strings.Contains(stderr, "topsecret") {
				t.Errorf("code %d\n%s", code, stderr)
			}
		})
	}
}

// What became of a registration that was not answered is not known, and said.
func TestAnUnansweredRegistrationIsToldOf(t *testing.T) {
	srv := signedIn(t, "/v3")
	srv.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "OS-EC2") {
			w.WriteHeader(504)
			return true
		}
		return false
	}
	_, stderr, code := output(t, "credentials", "register")
	if code != exitUnreachable || !strings.Contains(stderr, "may have been made all the same") {
		t.Errorf("code %d %s", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(os.Getenv("HOME"), ".aws", "credentials")); err == nil {
		t.Error("a file was written")
	}
}

func TestACloudOfCloudsYAML(t *testing.T) {
	srv := signedIn(t, "/v3")
	t.Setenv("OS_AUTH_URL", "http://127.0.0.1:1/v3") // the cloud's counts
	t.Setenv("OS_USERNAME", "nobody")
	clouds := fmt.Sprintf("clouds: {mine: {auth: {auth_url: %q, username: %q, project_id: %q}}}", srv.URL+"/v3", keystonetest.User, keystonetest.ProjectID)
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	if err := os.WriteFile(file, []byte(clouds), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OS_CLIENT_CONFIG_FILE", file)
	if _, stderr, code := output(t, "credentials", "list", "--cloud", "mine"); code != exitOK { // with the password of the environment
		t.Errorf("code %d %s", code, stderr)
	}
	t.Setenv("OS_CLOUD", "mine")
	if _, stderr, code := output(t, "credentials", "list"); code != exitOK {
		t.Errorf("code %d %s", code, stderr)
	}
}

// console is a terminal with somebody at it.
type console struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	seen   strings.Builder
	read   *bufio.Reader
}

func newConsole(t *testing.T) *console {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals: ", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return &console{t: t, master: master, slave: slave, read: bufio.NewReader(master)}
}

// answers types an answer to each question, once it has been asked.
func (c *console) answers(said ...[2]string) {
	for _, s := range said {
		c.until(s[0])
		if _, err := c.master.WriteString(s[1] + "\n"); err != nil {
			c.t.Error(err)
			return
		}
	}
}

// until reads what the terminal shows up to a text.
func (c *console) until(text string) {
	from := c.seen.Len()
	for !strings.Contains(c.seen.String()[from:], text) {
		b, err := c.read.ReadByte()
		if err != nil {
			c.t.Errorf("waiting for %q: %v", text, err)
			return
		}
		c.seen.WriteByte(b)
	}
}

func (c *console) run(ctx context.Context, args ...string) (stdout string, code int) {
	var out strings.Builder
	code = run(ctx, append([]string{"pailfs"}, args...), c.slave, &out, c.slave)
	return out.String(), code
}

func TestWhoeverSitsAtTheTerminalIsAsked(t *testing.T) {
	srv := signedIn(t, "/v3")
	for _, name := range []string{"OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_TENANT_ID"} {
		t.Setenv(name, "")
	}
	c := newConsole(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.answers([2]string{"identity service: ", srv.URL + "/v3"}, [2]string{"user: ", keystonetest.User},
			[2]string{"only one): ", keystonetest.ProjectID}, [2]string{"password of " + keystonetest.User + ": ", keystonetest.Password})
	}()
	out, code := c.run(t.Context(), "credentials", "register")
	<-done
	if code != exitOK || len(srv.Keys()) != 1 || !strings.Contains(out, srv.Keys()[0].Access) {
		t.Fatalf("code %d\n%s", code, out)
	}
	// Behind the password the terminal shows what is typed again.
	t.Setenv("OS_AUTH_URL", srv.URL+"/v3")
	t.Setenv("OS_USERNAME", keystonetest.User)
	key := srv.Keys()[0]
	for _, answer := range []struct {
		typed string
		code  int
		left  int
	}{{"", exitInterrupted, 1}, {"no", exitInterrupted, 1}, {"yes", exitOK, 0}} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.answers([2]string{"password of " + keystonetest.User + ": ", keystonetest.Password}, [2]string{"[y/N] ", answer.typed})
		}()
		_, code := c.run(t.Context(), "credentials", "delete", key.Access)
		<-done
		if code != answer.code || len(srv.Keys()) != answer.left {
			t.Errorf("%q: code %d, %d keys left", answer.typed, code, len(srv.Keys()))
		}
	}
	if err := c.slave.Close(); err != nil {
		t.Fatal(err)
	}
	for {
		b, err := c.read.ReadByte()
		if err != nil {
			break // all that was shown
		}
		c.seen.WriteByte(b)
	}
	noSecret(t, c.seen.String())
	if !strings.Contains(c.seen.String(), "profile default of") || !strings.Contains(c.seen.String(), "[y/N] yes") {
		t.Errorf("%q", c.seen.String())
	}
}

// A signal at the password's prompt leaves the terminal as it was.
func TestASignalAtThePassword(t *testing.T) {
	signedIn(t, "/v3")
	t.Setenv("OS_PASSWORD", "")
	c := newConsole(t)
	before, err := unix.IoctlGetTermios(int(c.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		c.until("password of ")
		stop()
	}()
	if _, code := c.run(ctx, "credentials", "list"); code != exitInterrupted {
		t.Errorf("code %d", code)
	}
	if after, err := unix.IoctlGetTermios(int(c.slave.Fd()), unix.TCGETS); err != nil || after.Lflag != before.Lflag {
		t.Errorf("%v: %x before, %x after", err, before.Lflag, after.Lflag)
	}
	if _, err := c.master.WriteString("\n"); err != nil { // the read that is left ends
		t.Error(err)
	}
}
