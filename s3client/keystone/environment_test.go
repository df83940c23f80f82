package keystone_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pailfs/s3client/keystone"
)

func getenv(all map[string]string) func(string) string {
	return func(name string) string { return all[name] }
}

func TestTheEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want keystone.Login
		err  string
	}{
		"as v2.0 had it": {
			env:  map[string]string{"OS_AUTH_URL": "https://id/v2.0", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_TENANT_ID": "t", "OS_REGION_NAME": "KR1"},
			want: keystone.Login{URL: "https://id/v2.0", User: "u", Password: "p", ProjectID: "t", Region: "KR1"},
		},
		"as v3 has it": {
			env: map[string]string{"OS_AUTH_URL": "https://id/v3", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_PROJECT_NAME": "n", "OS_TENANT_NAME": "old",
				"OS_USER_DOMAIN_NAME": "ud", "OS_PROJECT_DOMAIN_ID": "pd", "OS_IDENTITY_API_VERSION": "3", "OS_CACERT": "/ca", "OS_INTERFACE": "internal"},
			want: keystone.Login{URL: "https://id/v3", Version: 3, User: "u", Password: "p", Project: "n", UserDomain: "ud", ProjectDomainID: "pd", CAFile: "/ca", Interface: "internal"},
		},
		"a default domain": {
			env:  map[string]string{"OS_DEFAULT_DOMAIN": "d"},
			want: keystone.Login{UserDomainID: "d", ProjectDomainID: "d"},
		},
		"a token": {
			env:  map[string]string{"OS_AUTH_TYPE": "v3token", "OS_TOKEN": "t", "OS_USERNAME": "u"},
			want: keystone.Login{Version: 3, Token: "t", User: "u"},
		},
		"a password, though there is a token": {
			env:  map[string]string{"OS_AUTH_TYPE": "password", "OS_TOKEN": "t", "OS_USERNAME": "u", "OS_PASSWORD": "p"},
			want: keystone.Login{User: "u", Password: "p"},
		},
		"an application credential": {
			env:  map[string]string{"OS_AUTH_TYPE": "v3applicationcredential", "OS_APPLICATION_CREDENTIAL_ID": "i", "OS_APPLICATION_CREDENTIAL_SECRET": "s"},
			want: keystone.Login{Version: 3, ApplicationID: "i", ApplicationSecret: "s"},
		},
		"version 4":   {env: map[string]string{"OS_IDENTITY_API_VERSION": "4"}, err: "OS_IDENTITY_API_VERSION"},
		"another way": {env: map[string]string{"OS_AUTH_TYPE": "v3oidcpassword"}, err: "OS_AUTH_TYPE"},
	} {
		got, err := keystone.FromEnvironment(getenv(c.env))
		got.From = ""
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil || got != c.want:
			t.Errorf("%s: %v\n%#v\n%#v", name, err, got, c.want)
		}
	}
}

const clouds = `
default: &d
  auth_url: https://id/v3
clouds:
  first:
    auth:
      <<: *d
      username: u
      password: 12345
      project_name: n
      user_domain_name: ud
    region_name: KR1
    identity_api_version: 3
    cacert: ~/ca.pem
  second:
    auth_type: v3applicationcredential
    auth: {auth_url: "https://id", application_credential_id: i}
  third:
    auth_type: v3oidc
`

const secure = `
clouds:
  first: {auth: {password: "from secure.yaml"}}
  second: {auth: {application_credential_secret: s}}
`

func TestClouds(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Chdir(t.TempDir())
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := keystone.Cloud("first", os.Getenv)
	if !errors.Is(err, keystone.ErrNoCloud) || keystone.Clouds(os.Getenv) != nil {
		t.Errorf("no file: %v", err)
	}
	dir := filepath.Join(home, ".config", "openstack")
	write(filepath.Join(dir, "clouds.yaml"), clouds)
	got, err := keystone.Cloud("first", os.Getenv)
	want := keystone.Login{URL: "https://id/v3", User: "u", Password: "12345", Project: "n", UserDomain: "ud", Region: "KR1", Version: 3,
		CAFile: filepath.Join(home, "ca.pem"), From: "cloud first of " + dir + "/clouds.yaml"}
	if err != nil || got != want {
		t.Errorf("%v\n%#v\n%#v", err, got, want)
	}
	write(filepath.Join(dir, "secure.yaml"), secure)
	if got, err = keystone.Cloud("first", os.Getenv); err != nil || got.Password != "from secure.yaml" || got.User != "u" {
		t.Errorf("%v %#v", err, got)
	}
	if got, err = keystone.Cloud("second", os.Getenv); err != nil || !got.Signs() || got.ApplicationSecret != "s" {
		t.Errorf("%v %#v", err, got)
	}
	if _, err = keystone.Cloud("third", os.Getenv); err == nil || !strings.Contains(err.Error(), "v3oidc") {
		t.Errorf("%v", err)
	}
	if _, err = keystone.Cloud("fourth", os.Getenv); !errors.Is(err, keystone.ErrNoCloud) || !strings.Contains(err.Error(), "first, second, third") {
		t.Errorf("%v", err)
	}
	if got := keystone.Clouds(os.Getenv); !slices.Equal(got, []string{"first", "second", "third"}) {
		t.Errorf("%q", got)
	}
	named := filepath.Join(t.TempDir(), "named.yaml")
	write(named, "clouds: {first: {auth: {username: other}}}")
	t.Setenv("OS_CLIENT_CONFIG_FILE", named)
	t.Setenv("OS_CLIENT_SECURE_FILE", filepath.Join(dir, "secure.yaml"))
	if got, err = keystone.Cloud("first", os.Getenv); err != nil || got.User != "other" || got.Password != "from secure.yaml" {
		t.Errorf("%v %#v", err, got)
	}
	t.Setenv("OS_CLIENT_SECURE_FILE", named+".none")
	if _, err = keystone.Cloud("first", os.Getenv); err == nil {
		t.Error("a secure file that was named is missing")
	}
	write(named, "clouds: [1, 2]")
	if _, err = keystone.Cloud("first", os.Getenv); err == nil || !strings.Contains(err.Error(), named) {
		t.Errorf("%v", err)
	}
	write(named, strings.Repeat("#", 2<<20))
	if _, err = keystone.Cloud("first", os.Getenv); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("%v", err)
	}
}

func TestWhoListens(t *testing.T) {
	for url, want := range map[string]bool{"https://id": false, "http://id": true, "http://127.0.0.1:5000/v3": false, "http://localhost": false, "http://[::1]": false, "http://10.1.2.3": true} {
		if got := (keystone.Login{URL: url}).Plain(); got != want {
			t.Errorf("%s: %v", url, got)
		}
	}
}
