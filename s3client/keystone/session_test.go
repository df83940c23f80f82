package keystone_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pailfs/s3client/keystone"
	"pailfs/s3client/keystone/keystonetest"
)

// login is the user's own, in full.
func login(s *keystonetest.Service, version string) keystone.Login {
	return keystone.Login{URL: s.URL + version, User: keystonetest.User, Password: keystonetest.Password, ProjectID: keystonetest.ProjectID}
}

func signIn(t *testing.T, l keystone.Login) *keystone.Session {
	t.Helper()
	s, err := keystone.SignIn(t.Context(), l, keystone.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refused checks an error's kind, and that there is no secret in it.
func refused(t *testing.T, what string, err error, kind keystone.Kind) *keystone.Error {
	t.Helper()
	var e *keystone.Error
	if !errors.As(err, &e) || e.Kind != kind || !errors.Is(err, kind) {
		t.Fatalf("%s: %v, want kind %v", what, err, kind)
	}
	for _, text := range []string{e.Error(), fmt.Sprintf("%v %+v %#v", e, *e, *e)} {
		if strings.Contains(text, keystonetest.Password) || strings.Contains(text, keystonetest.ApplicationSecret) || strings.Contains(text, "token-") {
			t.Fatalf("%s: a secret in %s", what, text)
		}
	}
	return e
}

func TestKeysAreRegisteredListedAndDeleted(t *testing.T) {
	for _, version := range []string{"/v2.0", "/v3", "/v2.0/", "/v3/auth/tokens", "/v2.0/tokens"} {
		srv := keystonetest.New(t)
		s := signIn(t, login(srv, version))
		if s.User != (keystone.User{ID: keystonetest.UserID, Name: keystonetest.User}) || s.Project.ID != keystonetest.ProjectID || s.Expires.Year() != 2099 {
			t.Errorf("%s: %+v %+v %v", version, s.User, s.Project, s.Expires)
		}
		c, err := s.Register(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		made := srv.Keys()[0]
		if c.Access != made.Access || c.Secret.Reveal() != made.Secret || c.ProjectID != keystonetest.ProjectID || c.Created.Month() != time.January {
			t.Errorf("%s: %+v, made %+v", version, c, made)
		}
		other := srv.Add(keystonetest.OtherProjectID)
		all, err := s.List(t.Context())
		if err != nil || len(all) != 2 || all[0].Access != c.Access || all[0].Secret != "" || all[1].ProjectID != keystonetest.OtherProjectID {
			t.Errorf("%s: %+v %v", version, all, err)
		}
		if one, err := s.Get(t.Context(), other.Access); err != nil || one.Access != other.Access || one.Secret != "" {
			t.Errorf("%s: %+v %v", version, one, err)
		}
		if err := s.Delete(t.Context(), c.Access); err != nil || len(srv.Keys()) != 1 {
			t.Errorf("%s: %v, left %v", version, err, srv.Keys())
		}
		refused(t, "again", s.Delete(t.Context(), c.Access), keystone.NotFound)
		_, err = s.Get(t.Context(), "nobody")
		refused(t, "get", err, keystone.NotFound)
		for _, access := range []string{"", ".", ".."} {
			refused(t, access, s.Delete(t.Context(), access), keystone.Invalid)
		}
	}
}

func TestTheFourthKeyIsRefusedWithThoseThereAre(t *testing.T) {
	for _, status := range []int{0, 400, 403, 409, 413} { // who knows how the service says it
		srv := keystonetest.New(t)
		if status != 0 {
			srv.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "OS-EC2") {
					keystonetest.Refuse(w, status, "no")
					return true
				}
				return false
			}
		}
		s := signIn(t, login(srv, "/v3"))
		for range 2 {
			srv.Add(keystonetest.ProjectID)
		}
		if status != 0 {
			_, err := s.Register(t.Context())
			if errors.Is(err, keystone.Limit) {
				t.Errorf("%d: two keys are not the limit: %v", status, err)
			}
		}
		srv.Add(keystonetest.ProjectID)
		_, err := s.Register(t.Context())
		e := refused(t, "the fourth", err, keystone.Limit)
		if len(e.Keys) != keystone.MostKeys || e.Keys[0].Secret != "" {
			t.Errorf("%d: %+v", status, e.Keys)
		}
	}
}

func TestWaysToSignIn(t *testing.T) {
	srv := keystonetest.New(t)
	token := func(version string) keystone.Secret { // as `openstack token issue` gives it
		s := signIn(t, login(srv, version))
		if _, err := s.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		return keystone.Secret(fmt.Sprintf("token-%d-%s", len(srv.Asked())/2-1, keystonetest.ProjectID))
	}
	v2, v3 := token("/v2.0"), token("/v3")
	for name, change := range map[string]func(*keystone.Login){
		"user's id":        func(l *keystone.Login) { l.User, l.UserID = "", keystonetest.UserID },
		"tenant's name":    func(l *keystone.Login) { l.ProjectID, l.Project = "", keystonetest.Project },
		"the only project": func(l *keystone.Login) { l.ProjectID = "" },
		"a token": func(l *keystone.Login) {
			l.User, l.Password, l.Token = "", "", map[bool]keystone.Secret{true: v2, false: v3}[strings.HasSuffix(l.URL, "2.0")]
		},
		"a domain's name":   func(l *keystone.Login) { l.UserDomain = "Default" },
		"a domain's id":     func(l *keystone.Login) { l.UserDomainID = "default" },
		"without a version": func(l *keystone.Login) { l.URL = srv.URL },
		"version apart":     func(l *keystone.Login) { l.URL, l.Version = srv.URL+"/", 2 },
	} {
		for _, version := range []string{"/v2.0", "/v3"} {
			l := login(srv, version)
			change(&l)
			if s := signIn(t, l); s.Project.ID != keystonetest.ProjectID || s.User.ID != keystonetest.UserID {
				t.Errorf("%s%s: %+v %+v", name, version, s.User, s.Project)
			}
		}
	}
	app := keystone.Login{URL: srv.URL + "/v3", ApplicationID: keystonetest.ApplicationID, ApplicationSecret: keystonetest.ApplicationSecret}
	if s := signIn(t, app); s.Project.ID != keystonetest.ProjectID {
		t.Errorf("an application credential: %+v", s.Project)
	}
	app.URL = srv.URL + "/v2.0"
	_, err := keystone.SignIn(t.Context(), app, keystone.Options{})
	refused(t, "an application credential in v2.0", err, keystone.Invalid)
}

func TestRefusedLogins(t *testing.T) {
	srv := keystonetest.New(t)
	srv.Projects = []string{keystonetest.ProjectID, keystonetest.OtherProjectID}
	for name, c := range map[string]struct {
		change func(*keystone.Login)
		kind   keystone.Kind
	}{
		"wrong password":     {func(l *keystone.Login) { l.Password = "wrong" }, keystone.Refused},
		"no such user":       {func(l *keystone.Login) { l.User = "nobody" }, keystone.Refused},
		"no such project":    {func(l *keystone.Login) { l.ProjectID = "cc" }, keystone.Refused},
		"no project":         {func(l *keystone.Login) { l.ProjectID = "" }, keystone.NoProject},
		"no password":        {func(l *keystone.Login) { l.Password = "" }, keystone.Invalid},
		"no user":            {func(l *keystone.Login) { l.User = "" }, keystone.Invalid},
		"no address":         {func(l *keystone.Login) { l.URL = "" }, keystone.Invalid},
		"password in it":     {func(l *keystone.Login) { l.URL = strings.Replace(l.URL, "http://", "http://me:"+"secret@", 1) }, keystone.Invalid},
		"no such address":    {func(l *keystone.Login) { l.URL = strings.Replace(l.URL, "/v", "/identity/v", 1) }, keystone.NoAPI},
		"a token of nobody":  {func(l *keystone.Login) { l.Token = "gone" }, keystone.Refused},
		"a token of no kind": {func(l *keystone.Login) { l.Token = "two\nlines" }, keystone.Refused},
	} {
		for _, version := range []string{"/v2.0", "/v3"} {
			l := login(srv, version)
			c.change(&l)
			_, err := keystone.SignIn(t.Context(), l, keystone.Options{})
			e := refused(t, name+version, err, c.kind)
			if c.kind == keystone.NoProject && (len(e.Projects) != 2 || e.Projects[1].ID != keystonetest.OtherProjectID) {
				t.Errorf("%s: %+v", name, e.Projects)
			}
			if strings.Contains(e.Error(), "secret@") {
				t.Errorf("%s: %v", name, e)
			}
		}
	}
	l := login(srv, "/v3")
	l.UserDomain = "elsewhere"
	_, err := keystone.SignIn(t.Context(), l, keystone.Options{})
	refused(t, "another domain", err, keystone.Refused)
	srv.SecondFactor = true
	_, err = keystone.SignIn(t.Context(), login(srv, "/v3"), keystone.Options{})
	refused(t, "a second factor", err, keystone.SecondFactor)
}

func TestAnotherVersionIsNamed(t *testing.T) {
	srv := keystonetest.New(t)
	srv.NoV2 = true
	_, err := keystone.SignIn(t.Context(), login(srv, "/v2.0"), keystone.Options{})
	if e := refused(t, "v2.0", err, keystone.NoAPI); !slices.Equal(e.Versions, []int{3}) {
		t.Errorf("%+v", e)
	}
	srv.NoV2, srv.NoV3 = false, true
	_, err = keystone.SignIn(t.Context(), login(srv, "/v3"), keystone.Options{})
	if e := refused(t, "v3", err, keystone.NoAPI); !slices.Equal(e.Versions, []int{2}) {
		t.Errorf("%+v", e)
	}
	srv.NoV2 = true
	_, err = keystone.SignIn(t.Context(), login(srv, ""), keystone.Options{})
	refused(t, "none", err, keystone.NoAPI)
}

// What is no answer of an identity service: none of it is believed, followed, or repeated with a secret in it.
func TestStrangeAnswers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("followed to %s", r.URL) }))
	defer elsewhere.Close()
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		kind   keystone.Kind
		says   string
	}{
		"a page":       {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, keystone.NoAPI, "not the document"},
		"an empty one": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }, keystone.NoAPI, "no token"},
		"another's":    {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `[1]`) }, keystone.NoAPI, "not the document"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, keystone.NoAPI, elsewhere.URL},
		"an error":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, keystone.Unavailable, "500"},
		"a gateway's": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, keystone.Unavailable, "502"},
		"too many":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, keystone.Unavailable, "429"},
		"a teapot":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) }, keystone.Unknown, "418"},
		"an old fault": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(401)
			io.WriteString(w, `{"unauthorized":{"message":"Invalid user"}}`)
		}, keystone.Refused, "Invalid user"},
		"an echo": {func(w http.ResponseWriter, _ *http.Request) {
			keystonetest.Refuse(w, 400, "not "+keystonetest.Password+"\x1b[2J\nhere")
		}, keystone.Invalid, "not (not shown)"},
		"an endless": {func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2<<20)) }, keystone.Unknown, "more than"},
		"a broken one": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "{")
		}, keystone.Unavailable, "EOF"},
		"a wrong token": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Subject-Token", "t")
			io.WriteString(w, `{"token":{"user":{"id":"u"},"project":{"id":"p"}},"access":{"token":{"id":"t","tenant":{"id":"p"}},"user":{"id":"u"}}}`)
		}, keystone.Unknown, "project p"},
	} {
		for _, version := range []string{"/v2.0", "/v3"} {
			srv := httptest.NewServer(http.HandlerFunc(c.answer))
			l := keystone.Login{URL: srv.URL + version, User: keystonetest.User, Password: keystonetest.Password, ProjectID: keystonetest.ProjectID}
			_, err := keystone.SignIn(t.Context(), l, keystone.Options{})
			srv.Close()
			if e := refused(t, name+version, err, c.kind); !strings.Contains(e.Error(), c.says) || strings.ContainsAny(e.Message, "\n") {
				t.Errorf("%s%s: %q", name, version, e)
			}
		}
	}
}

// A key whose registration was not answered may be there all the same: the error says so.
func TestAnUnansweredRegistration(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"cut off":      func(w http.ResponseWriter) { conn, _, _ := w.(http.Hijacker).Hijack(); conn.Close() },
		"502":          func(w http.ResponseWriter) { w.WriteHeader(502) },
		"no key in it": func(w http.ResponseWriter) { w.WriteHeader(201); io.WriteString(w, `{"credential":{}}`) },
		"no JSON":      func(w http.ResponseWriter) { w.WriteHeader(201); io.WriteString(w, "<html>") },
		"another project's": func(w http.ResponseWriter) {
			w.WriteHeader(201)
			io.WriteString(w, `{"credential":{"access":"a","secret":"s","tenant_id":"x"}}`)
		},
	} {
		srv := keystonetest.New(t)
		srv.Before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "OS-EC2") {
				answer(w)
				return true
			}
			return false
		}
		_, err := signIn(t, login(srv, "/v3")).Register(t.Context())
		var e *keystone.Error
		if !errors.As(err, &e) || !e.Sent {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAServiceThatHangsOrIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	in := keystone.Login{URL: "http://" + l.Addr().String() + "/v3", User: "u", Password: keystonetest.Password}
	_, err = keystone.SignIn(t.Context(), in, keystone.Options{Timeout: 50 * time.Millisecond})
	refused(t, "hangs", err, keystone.Unavailable)
	l.Close()
	_, err = keystone.SignIn(t.Context(), in, keystone.Options{})
	refused(t, "not there", err, keystone.Unavailable)
}

func TestTheCertificateIsChecked(t *testing.T) {
	plain := keystonetest.New(t)
	secure := httptest.NewUnstartedServer(plain.Config.Handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the client that does not trust it
	secure.StartTLS()
	defer secure.Close()
	l := login(plain, "/v3")
	l.URL = secure.URL
	_, err := keystone.SignIn(t.Context(), l, keystone.Options{})
	refused(t, "nobody's certificate", err, keystone.Unavailable)
	if len(plain.Asked()) != 0 {
		t.Errorf("asked %v", plain.Asked())
	}
	l.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(l.CAFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	signIn(t, l)
	l.CAFile += ".none"
	_, err = keystone.SignIn(t.Context(), l, keystone.Options{})
	refused(t, "no CA file", err, keystone.Invalid)
}

func TestEndpoints(t *testing.T) {
	srv := keystonetest.New(t)
	for _, c := range []struct{ version, region, iface, want string }{
		{"/v3", "KR1", "", "https://store.example"},
		{"/v3", "kr1", "publicURL", "https://store.example"},
		{"/v3", "KR1", "internal", "https://10.0.0.1"},
		{"/v3", "", "", "https://store.example"},
		{"/v3", "XX", "", ""},
		{"/v2.0", "JP1", "", "https://jp.example"},
		{"/v2.0", "", "", ""}, // which of the two?
	} {
		if got := signIn(t, login(srv, c.version)).Endpoint(c.region, c.iface); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestASecretIsNotPrinted(t *testing.T) {
	const secret = keystone.Secret("hush hush")
	c := keystone.Credential{Access: "a", Secret: secret}
	l := keystone.Login{Password: secret, Token: secret, ApplicationSecret: secret}
	text, err := json.Marshal(map[string]any{"c": c, "l": l, "s": secret})
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "s", secret, "c", c, "l", l)
	for _, out := range []string{string(text), logged.String(), fmt.Sprint(secret, c, l), fmt.Sprintf("%s %q %x %v %+v %#v %d", secret, secret, secret, c, l, l, secret)} {
		if strings.Contains(out, "hush") || strings.Contains(out, fmt.Sprintf("%x", "hush hush")) {
			t.Errorf("%s", out)
		}
	}
	if secret.Reveal() != "hush hush" {
		t.Error("it is lost")
	}
}
