package s3client

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzCredentialsFile: whatever stands in a credentials file, the error does not repeat it. The planted words are secret wherever they
// stand.
func FuzzCredentialsFile(f *testing.F) {
	const planted = "wJalrXUtnFEMIplantedKEY"
	for _, text := range []string{
		twoProfiles, "[default]\naws_access_key_id = a\naws_secret_access_key = SECRET\n", "[default]\nSECRET\n", "SECRET", "[SECRET\n", "= SECRET", "\"SECRET = x",
		"`SECRET", "[default]\naws_access_key_id = a\naws_secret_access_key \"SECRET\"\n", "\"\"\"SECRET\n\"\"\" x", "[default]\naws_secret_access_key = \"\"\"SECRET\n",
		"[default]\naws_access_key_id = %(SECRET)s\naws_secret_access_key = s\n", "[default]\ncredential_process = SECRET\n", "[default]\nsso_role_name = SECRET\n", "'SECRET = y\n", "\xff\xfeSECRET",
	} {
		f.Add(strings.ReplaceAll(text, "SECRET", planted))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "credential_process") && !strings.Contains(text, "credential_process = "+planted+"\n") || strings.Contains(text, "sso_") && !strings.Contains(text, "sso_role_name = "+planted) {
			t.Skip("it would run a program, or ask the network")
		}
		path := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := openFile(path, "default")
		if err != nil && strings.Contains(err.Error(), planted) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
