package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The configuration files that a mount would read are named, checked, and in the archive, without the keys in them.
func TestDoctorKnowsTheConfiguration(t *testing.T) {
	withKeys(t)
	srv := newAnswers(t, refusing(403, "AccessDenied", ""))
	dir := t.TempDir()
	file := filepath.Join(os.Getenv("HOME"), ".config", "pailfs", "config.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"options:\n  endpoint: " + srv.URL + "\n  region: KR1\nmounts:\n  photos:\n    mountpoint: /mnt/photos\n    access-key: plantedkey\n    secret-key: plantedsecret\n": "read); mounts: photos",
		"options: {endpoint: \"" + srv.URL + "\"}\nmounts: {photos: {mountpoint: relative, sauce: x}}\n":                                                                     "wrong in 2 places:",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		bundle := filepath.Join(dir, want[:4]+".tar.gz")
		stdout, stderr, _ := output(t, "doctor", "--timeout", "1s", "--bundle", bundle)
		if !strings.Contains(stdout, "config files") || !strings.Contains(stdout, file) || !strings.Contains(stdout, want) {
			t.Errorf("%s%s", stdout, stderr)
		}
		files := unpacked(t, bundle)
		all := files["pailfs-doctor/config.txt"] + files["pailfs-doctor/config.json"]
		if !strings.Contains(all, "endpoint="+srv.URL+" ("+file+":") || !strings.Contains(all, "photos") {
			t.Errorf("%s", all)
		}
		for name, text := range files {
			if strings.Contains(text, "planted") {
				t.Errorf("%s: %s", name, text)
			}
		}
		if strings.Contains(text, "planted") && !strings.Contains(all, "secret-key is set ("+file+":") {
			t.Errorf("%s", all)
		}
	}
}
