package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unpacked are the files of an archive.
func unpacked(t *testing.T, name string) map[string]string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	zipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for in := tar.NewReader(zipped); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(b)
	}
}

// Secrets are planted wherever the program could come across one; none is in the archive, nor on the terminal.
func TestABundleHasNoSecrets(t *testing.T) {
	srv := newAnswers(t, aStore)
	newTestDoctor(t, "")
	dir, run := t.TempDir(), t.TempDir()
	t.Setenv("PAILFS_RUN_DIR", run)
	keys := filepath.Join(dir, "keys")
	if err := os.WriteFile(keys, []byte("[default]\naws_access_key_id = PLANTEDFILEKEY0\naws_secret_access_key = plantedfilesecret\naws_session_token = plantedfiletoken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_SECRET_ACCESS_KEY": "plantedenv\"secret", "AWS_SESSION_TOKEN": "plantedenvtoken", "AWS_ACCESS_KEY_ID": "PLANTEDENVKEY0",
		"OS_PASSWORD": "plantedpassword", "MY_API_TOKEN": "plantedapitoken", "HTTPS_PROXY": "http://user:plantedproxy@proxy.invalid:3128",
		"PAILFS_LOG_FILE": "/var/log/plantedenv\"secret.log", "PAILFS_CREDENTIALS_FILE": keys, "NO_PROXY": "127.0.0.1",
		"PAILFS_BUCKET_PATTERN": "https://me:planted:pass@word@host", // nobody writes this; nothing checks it here
	} {
		t.Setenv(name, value)
	}
	// A mount whose answers carry what they should not.
	serveFake(t, run, &fakeMount{status: &statusReport{Mountpoint: "/mnt/x", State: stateServing, Source: "pailfs#https://u:plantedsource@host:b",
		Store: &storeReport{Endpoint: srv.URL, Error: "GET /b?X-Amz-Signature=plantedsignature&x=1 with plantedapitoken"}}})
	for _, name := range []string{"environment", "file"} { // where the credentials are from
		if name == "file" {
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			t.Setenv("PAILFS_LOG_FILE", "")
		}
		bundle := filepath.Join(dir, name+".tar.gz")
		stdout, stderr, code := output(t, "doctor", "--endpoint", srv.URL, "--region", "KR1", "--timeout", "2s", "--state-dir", dir+"/plantedenvtoken", "--bundle", bundle)
		if code != exitOK && code != exitGeneral || !strings.Contains(stderr, bundle) {
			t.Fatalf("code %d\n%s%s", code, stdout, stderr)
		}
		files := unpacked(t, bundle)
		for _, want := range []string{"findings.json", "findings.txt", "version.json", "options.txt", "environment.txt", "status.json", "kernel.txt", "mounts.txt"} {
			if _, ok := files["pailfs-doctor/"+want]; !ok {
				t.Errorf("%s is missing", want)
			}
		}
		for file, text := range files {
			if i := strings.Index(strings.ToLower(text), "planted"); i >= 0 {
				t.Errorf("%s of %s has a secret: %q", file, name, text[max(0, i-40):min(len(text), i+40)])
			}
		}
		for _, secret := range []string{"plantedenv", "plantedfile", "plantedapi", "plantedproxy", "plantedpass"} {
			if strings.Contains(strings.ReplaceAll(stdout+stderr, dir+"/plantedenvtoken", ""), secret) {
				t.Errorf("%s is shown:\n%s%s", secret, stdout, stderr)
			}
		}
		for file, want := range map[string]string{"findings.txt": checkConnection, "status.json": "/mnt/x", "options.txt": "endpoint=" + srv.URL + " (flag)", "environment.txt": "OS_PASSWORD"} {
			if has := strings.Contains(files["pailfs-doctor/"+file], want); has != (want != "OS_PASSWORD") {
				t.Errorf("%s: %q", file, files["pailfs-doctor/"+file])
			}
		}
	}
	// What is there already is not written over, and said so before anything is asked.
	before := len(srv.asked())
	if _, stderr, code := output(t, "doctor", "--endpoint", srv.URL, "--bundle", filepath.Join(dir, "file.tar.gz")); code != exitUsage || !strings.Contains(stderr, "exists already") || len(srv.asked()) != before {
		t.Errorf("code %d %s", code, stderr)
	}
	if _, stderr, code := output(t, "doctor", "--endpoint", srv.URL, "--bundle", dir+"/none/x"); code != exitUsage || !strings.Contains(stderr, "no directory") {
		t.Errorf("code %d %s", code, stderr)
	}
}

func TestCensor(t *testing.T) {
	c := newCensor([]string{"A_SECRET=abc", "B_TOKEN=hidden", "C_TOKEN=hiddenlonger", "D_TOKEN_FILE=/a/path", "E=plain"})
	for in, want := range map[string]string{
		"x hiddenlonger y hidden": "x (not shown) y (not shown)", "abc": "abc", /* too short to be one */
		"at /a/path": "at /a/path", "http://u:p@h/x": "http://(not shown)@h/x", "http://h:80/a@b": "http://h:80/a@b", "https://u@h": "https://(not shown)@h",
		"me@example.com": "me@example.com", "?X-Amz-Credential=AK%2Fx&y=1": "?X-Amz-Credential=(not shown)&y=1",
		"AWS4-HMAC-SHA256 Credential=AK/2026/KR1, Signature=ff": "AWS4-HMAC-SHA256 Credential=(not shown), Signature=(not shown)",
	} {
		if got := string(c.clean([]byte(in))); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
