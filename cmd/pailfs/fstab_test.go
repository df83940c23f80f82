package main

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseFstab(t *testing.T) {
	for text, want := range map[string]fstabLine{
		"b /mnt pailfs defaults 0 0":                   {"b", "/mnt", "pailfs", "defaults"},
		"  s3://b/p\t/mnt fuse.pailfs ro,_netdev":      {"s3://b/p", "/mnt", "fuse.pailfs", "ro,_netdev"},
		`b/a\040b /m\011t pailfs state_dir=/a\134,b 0`: {"b/a b", "/m\tt", "pailfs", `state_dir=/a\,b`},
		"b /mnt pailfs":   {"b", "/mnt", "pailfs", ""},
		`b\9 /mnt pailfs`: {`b\9`, "/mnt", "pailfs", ""},
	} {
		got, err := parseFstab(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                           "no line",
		"# b /mnt pailfs":            "no line",
		"b /mnt":                     "not 2",
		"b /mnt pailfs ro 0 0 x":     "not 7",
		"b /mnt dir pailfs":          "the type is dir",
		"b /mnt pailfs ro, nosuid 0": "numbers",
		"b /mnt ext4 ro":             "the type is ext4",
	} {
		if l, err := parseFstab(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v %v", text, l, err)
		}
	}
}

func TestFstabComesBack(t *testing.T) {
	field := rapid.StringMatching(`[a-z0-9 \t\\#,="./\n]{1,12}`)
	rapid.Check(t, func(t *rapid.T) {
		l := fstabLine{field.Draw(t, "source"), field.Draw(t, "mountpoint"), "pailfs", field.Draw(t, "options")}
		text := l.String()
		got, err := parseFstab(text)
		if err != nil || got != l || strings.Contains(text, "\n") {
			t.Fatalf("%+v -> %q -> %+v %v", l, text, got, err)
		}
	})
}

// A line that `pailfs fstab` prints means what the command line meant.
func TestFstabMeansTheCommandLine(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_ACCESS_KEY_ID", "A")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "topsecret")
	args := []string{"--region", "KR1", "photos/a b#c", "/m nt", "-o", `ro,nofail,noexec,x-systemd.requires="a,b",metadata_ttl=9s`, "--state-dir", `/x y,z\`, "--allow-other"}
	line, stderr, code := output(t, append([]string{"fstab"}, args...)...)
	want := `s3://photos/a\040b\043c /m\040nt pailfs _netdev,nofail,x-systemd.requires=a\134,b,noexec,region=KR1,ro,allow_other,metadata_ttl=9s,state_dir=/x\040y\134,z\134\134 0 0` + "\n"
	if code != exitOK || line != want {
		t.Fatalf("code %d, %s%s\nwant %s", code, line, stderr, want)
	}
	if !strings.Contains(stderr, "AWS_ACCESS_KEY_ID will not be set at boot") || strings.Contains(line, "topsecret") {
		t.Errorf("%s", stderr)
	}
	meaning, stderr, code := output(t, "mount", "--dry-run", strings.TrimSpace(line))
	if code != exitMountPoint || !strings.Contains(stderr, "/m nt: the directory does not exist") {
		t.Errorf("code %d, %s", code, stderr)
	}
	for _, want := range []string{"mount          photos/a b#c\n", "on             /m nt\n", "shown as       s3://photos/a b#c type fuse.pailfs (ro,nosuid,nodev,noexec,allow_other)\n",
		"left alone     _netdev,nofail,x-systemd.requires=a,b: ", `/x y,z\                      -o state_dir`, "\nmetadata-ttl       9s                           -o metadata_ttl\n"} {
		if !strings.Contains(meaning, want) {
			t.Errorf("%q is not in\n%s", want, meaning)
		}
	}
	if strings.Contains(meaning, "topsecret") {
		t.Error("a secret is shown")
	}
}

func TestWhatFstabCannotHold(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for want, args := range map[string][]string{
		"double quote":       {"--region", "KR1", "b", "/mnt", "--state-dir", `/a"b`},
		"neither region nor": {"b", "/mnt"},
		"names no bucket":    {"--region", "KR1", "/b", "/mnt"},
	} {
		stdout, stderr, code := output(t, append([]string{"fstab"}, args...)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, want) || !strings.Contains(stderr, "hint: ") {
			t.Errorf("%v: code %d, %s%s", args, code, stdout, stderr)
		}
	}
}
