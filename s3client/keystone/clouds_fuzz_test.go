package keystone

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzClouds: whatever stands in clouds.yaml and beside it, the error does not repeat the password.
func FuzzClouds(f *testing.F) {
	const planted = "hunter2planted"
	for _, text := range []string{
		"clouds:\n  c:\n    auth: {auth_url: https://id, username: u, password: SECRET}\n", "clouds:\n  c:\n    auth: SECRET\n", "clouds: SECRET\n",
		"clouds:\n  c:\n    auth:\n      password: *SECRET\n", "clouds:\n  c:\n    auth:\n      password: [SECRET]\n", "SECRET\n", "clouds:\n  c: SECRET\n",
		"clouds:\n  c:\n    auth:\n      password: \"SECRET\n", "clouds:\n  c:\n    identity_api_version: 9\n    auth: {password: !!int SECRET}\n",
		"clouds:\n  c: &a\n    auth: {token: SECRET}\n  d: *a\n", "clouds:\n  c:\n    auth: {auth_url: \"https://u:SECRET@id/v3\", password: p}\n", "a: &a [*a]\n",
	} {
		f.Add(strings.ReplaceAll(text, "SECRET", planted), "")
		f.Add("clouds:\n  c:\n    auth: {auth_url: https://id}\n", strings.ReplaceAll(text, "SECRET", planted))
	}
	f.Fuzz(func(t *testing.T, clouds, secure string) {
		dir := t.TempDir()
		for name, text := range map[string]string{"clouds.yaml": clouds, "secure.yaml": secure} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		getenv := func(name string) string {
			if name == "OS_CLIENT_CONFIG_FILE" {
				return filepath.Join(dir, "clouds.yaml")
			}
			return ""
		}
		l, err := Cloud("c", getenv)
		if err == nil {
			_, _, err = address(l.URL)
		}
		// A name is no secret: whoever is told that there is no such cloud is told which there are.
		if err != nil && strings.Contains(err.Error(), planted) && !strings.Contains(err.Error(), "has no cloud") {
			t.Errorf("%v\nof %q and %q", err, clouds, secure)
		}
	})
}

// FuzzServiceAnswer: what the identity service says is shown without the secrets it was sent, and bounded.
func FuzzServiceAnswer(f *testing.F) {
	for _, doc := range []string{`{"error": {"code": 401, "message": "no hunter2planted", "title": "Unauthorized"}}`, `{"a": {"message": 1}}`, `[]`, `{`, `{"x": "y"}`, "<html>"} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		w := &wire{secrets: []Secret{"hunter2planted"}}
		words, own := w.words(doc)
		if strings.Contains(words, "hunter2planted") || len(words) > maxMessage+3 || !own && words != "" {
			t.Errorf("%q", words)
		}
	})
}
