package s3client

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestReach(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	c, s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Date", at.Format(http.TimeFormat))
		w.Header().Set("Server", "store/1")
		w.WriteHeader(http.StatusForbidden)
	})
	r, err := c.Reach(t.Context())
	if err != nil || r.Status != 403 || r.Server != "store/1" || !r.Date.Equal(at) || r.Secure || r.Address == "" || r.Addresses != nil {
		t.Errorf("%+v %v", r, err)
	}
	if asked := s.requests(); len(asked) != 1 || asked[0] != "GET /" || s.header(1).Get("Authorization") != "" {
		t.Errorf("asked %q", asked)
	}
	if n := c.Counters().Snapshot().Total(); n != 0 {
		t.Errorf("%d requests are counted: it is none of the store's calls", n)
	}
	s.Close()
	if r, err = c.Reach(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) || r.Address != "" {
		t.Errorf("%+v %v", r, err)
	}
}

// What was reached is told with the error as well.
func TestReachEndsHalfWay(t *testing.T) {
	plain, _ := serve(t, func(http.ResponseWriter, *http.Request, int) {})
	c, err := Open(Config{Endpoint: strings.Replace(plain.profile.Endpoint, "http:", "https:", 1), Credentials: CredentialsConfig{Anonymous: true}})
	noError(t, err)
	if r, err := c.Reach(t.Context()); err == nil || r.Address == "" || r.Secure {
		t.Errorf("%+v %v", r, err)
	}
	silent := make(chan struct{})
	defer close(silent)
	c, _ = serve(t, func(http.ResponseWriter, *http.Request, int) { <-silent })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r, err := c.Reach(ctx); !errors.Is(err, context.DeadlineExceeded) || r.Status != 0 {
		t.Errorf("%+v %v", r, err)
	}
	c, err = Open(Config{Endpoint: "http://no-such-host.invalid", Credentials: CredentialsConfig{Anonymous: true}})
	noError(t, err)
	if r, err := c.Reach(t.Context()); err == nil || len(r.Addresses) != 0 {
		t.Errorf("%+v %v", r, err)
	}
}

func TestReachTellsOfTLSAndOfAProxy(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	c, err := Open(Config{Endpoint: secure.URL, Credentials: CredentialsConfig{Anonymous: true}})
	noError(t, err)
	if r, err := c.Reach(t.Context()); err == nil || r.Secure || r.Address == "" {
		t.Errorf("a certificate that nobody knows: %+v %v", r, err)
	}
	c.wire.own.TLSClientConfig.RootCAs = secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if r, err := c.Reach(t.Context()); err != nil || !r.Secure || r.Version != "TLS 1.3" || !r.Until.Equal(secure.Certificate().NotAfter) || r.Status != 404 {
		t.Errorf("%+v %v", r, err)
	}
	proxied, s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {})
	at, err := url.Parse(s.URL)
	noError(t, err)
	proxied.wire.own.Proxy = http.ProxyURL(at)
	proxied.profile.Endpoint = "http://store.invalid"
	if r, err := proxied.Reach(t.Context()); err != nil || r.Proxy != at.Host || r.Address != at.Host {
		t.Errorf("%+v %v", r, err)
	}
}

func TestKeysAreToldWithoutTheSecret(t *testing.T) {
	dir := home(t)
	told := func(cfg CredentialsConfig) Keys {
		t.Helper()
		c, err := Open(Config{Endpoint: "http://127.0.0.1:1", Credentials: cfg})
		noError(t, err)
		k, err := c.Keys()
		noError(t, err)
		return k
	}
	if k := told(CredentialsConfig{AccessKey: "AKIAABCDEFGHIJKLMNOP", SecretKey: "s\n", SessionToken: "t"}); k.Access != "AKIA..." || !k.Blank || !k.Session {
		t.Errorf("%+v", k)
	}
	if k := told(CredentialsConfig{Anonymous: true}); k.Access != "" || k.Blank {
		t.Errorf("%+v", k)
	}
	file := writeFile(t, filepath.Join(dir, "keys"), twoProfiles, 0o600)
	if k := told(CredentialsConfig{File: file, Profile: "other"}); k.Where != file+", profile other" || k.Access != "..." || !k.Session || k.Blank {
		t.Errorf("%+v", k)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAABCDEFGHIJKLMNOP")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "topsecret")
	if k := told(CredentialsConfig{}); !strings.Contains(k.Where, "environment") || k.Session {
		t.Errorf("%+v", k)
	}
}
