package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// offered asks what may stand in the place of a line's last word, "_" for an empty one.
func offered(t *testing.T, line string) (kind string, words []string) {
	t.Helper()
	args := strings.Fields(line)
	if n := len(args) - 1; n >= 0 && args[n] == "_" {
		args[n] = ""
	}
	out, stderr, code := output(t, append([]string{completing}, args...)...)
	if code != exitOK || stderr != "" {
		t.Errorf("%s: code %d, %s", line, code, stderr)
	}
	head, rest, _ := strings.Cut(out, "\n")
	kind, _, ok := strings.Cut(head, "\t")
	if !ok {
		t.Errorf("%s: no kind in %q", line, head)
	}
	for l := range strings.Lines(rest) {
		word, _, ok := strings.Cut(l, "\t")
		if !ok {
			t.Errorf("%s: no description in %q", line, l)
		}
		words = append(words, word)
	}
	return kind, words
}

func TestWhatMayFollow(t *testing.T) {
	withKeys(t)
	t.Setenv("PAILFS_RUN_DIR", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	for line, want := range map[string]string{
		"bucket _":                                  "words list create delete acl location",
		"bucket acl _":                              "words get set",
		"bucket acl set _":                          "words",
		"bucket acl set data _":                     "words private public-read public-read-write authenticated-read",
		"bucket acl set data pub":                   "words public-read public-read-write",
		"bucket acl set --region KR1 data _":        "words private public-read public-read-write authenticated-read",
		"bucket acl set --region=KR1 data _":        "words private public-read public-read-write authenticated-read",
		"completion _":                              "words bash zsh fish",
		"completion bash _":                         "words",
		"mount _":                                   "directories",
		"mount b _":                                 "directories",
		"mount b /mnt _":                            "words",
		"mount --durability _":                      "words store journal",
		"mount --durability=_":                      "words",
		"mount --durability=j":                      "words --durability=journal",
		"mount bucket --log-format _":               "words text json",
		"mount --region _":                          "words KR1 KR2 KR3 JP1 US1",
		"mount --region KR1 _":                      "directories",
		"mount --provider _":                        "words auto nhn swift ceph minio aws generic",
		"mount --log-level _":                       "words debug info warn error",
		"mount --state-dir _":                       "directories",
		"mount --config _":                          "files",
		"mount --config=/e":                         "files",
		"mount --metrics-addr _":                    "words",
		"mount --read-only _":                       "directories",
		"mount --metadata":                          "words --metadata-ttl",
		"mount -- --durability _":                   "directories",
		"mount -o ro,dur":                           "words ro,durability=",
		"mount -o ro,durability=":                   "words ro,durability=store ro,durability=journal",
		"mount -o log_level=w":                      "words log_level=warn",
		"mount -o no":                               "words nosuid nodev noexec nofail noauto",
		"mount -o config=/etc/p":                    "files",
		"umount _":                                  "directories",
		"flush a _":                                 "files",
		"config check _":                            "files",
		"log-level w":                               "words warn",
		"credentials _":                             "words register list delete",
		"credentials register --show":               "words --show-secret",
		"credentials register --credentials-file _": "files",
		"nonsense _":                                "words",
		"mount --no-such-option":                    "words",
	} {
		kind, words := offered(t, line)
		if got := strings.Join(append([]string{kind}, words...), " "); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	for _, line := range []string{"flush --", "flush /mnt --", "mount -"} {
		if _, words := offered(t, line); !slices.Contains(words, "--help") || !slices.Contains(words, "--timeout") {
			t.Errorf("%s: %q", line, words)
		}
	}
	if _, words := offered(t, "_"); !slices.Contains(words, "mount") || slices.Contains(words, "docs") {
		t.Errorf("%q", words)
	}
	if out, _, _ := output(t, completing, "mount", "--config=/etc/p"); out != "files\t/etc/p\n" {
		t.Errorf("%q", out)
	}
}

func TestTheVersionByItsUsualNames(t *testing.T) {
	want, _, _ := output(t, "version")
	for _, name := range []string{"--version", "-v", "-V"} {
		if got, stderr, code := output(t, name); got != want || code != exitOK || stderr != "" {
			t.Errorf("%s: %q %q %d", name, got, stderr, code)
		}
	}
}

func TestVariablesThatStandForNothing(t *testing.T) {
	for name, want := range map[string]string{
		"PAILFS_DURABILTY":          "PAILFS_DURABILTY stands for no option and does nothing; did you mean PAILFS_DURABILITY?",
		"PAILFS_COLOUR":             "PAILFS_COLOUR stands for no option and does nothing",
		"PAILFS_DURABILITY":         "",
		"PAILFS_RUN_DIR":            "",
		"PAILFS_TEST_BINARY":        "",
		"PAILFS_SERVICE_HOST":       "",
		"PAILFS_PORT_9090_TCP_ADDR": "",
		"PAILFS_WEB_SERVICE_PORT":   "",
		"AWS_REGIO":                 "",
	} {
		got := strings.Join(unknownVariables([]string{name + "=secret value"}), "\n")
		if strings.TrimPrefix(got, "the variable ") != want || strings.Contains(got, "secret value") {
			t.Errorf("%s: %q", name, got)
		}
	}
	// What the runs of the tests export is inherited by the commands they try.
	for _, script := range []string{"../../.ci/run", "../../tests/run", "../../tests/swift/up"} {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`PAILFS_[A-Z_]+`).FindAllString(string(text), -1)
		if notes := unknownVariables(names); len(notes) > 0 || len(names) == 0 {
			t.Errorf("%s sets %q: %q", script, names, notes)
		}
	}
	withKeys(t)
	t.Setenv("PAILFS_REGOIN", "KR1")
	if _, stderr, _ := output(t, "bucket", "list"); !strings.HasPrefix(stderr, "pailfs: note: the variable PAILFS_REGOIN stands for no option and does nothing; did you mean PAILFS_REGION?\n") {
		t.Errorf("%s", stderr)
	}
}
