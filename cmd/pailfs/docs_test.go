package main

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// output runs the program in this process.
func output(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	code = run(t.Context(), append([]string{"pailfs"}, args...), strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), code
}

func TestDocumentsAreMadeOfTheTables(t *testing.T) {
	for file, args := range map[string][]string{
		"testdata/options.md":   {"docs", "options"},
		"testdata/exitcodes.md": {"docs", "exitcodes"},
		"testdata/mount.txt":    {"help", "mount"},
		"testdata/list.txt":     {"uploads", "list", "--help"},
		"testdata/help.txt":     {"help"},
		"testdata/commands.md":  {"docs", "commands"},
		"testdata/status.md":    {"docs", "status"},
		"testdata/status.txt":   {"status", "--help"},
		"testdata/refresh.txt":  {"refresh", "--help"},
		"testdata/flush.txt":    {"flush", "--help"},
		"testdata/fstab.txt":    {"fstab", "--help"},
		"testdata/config.txt":   {"config", "check", "--help"},
		"testdata/helper.txt":   {"docs", "helper"},
		"testdata/umount.txt":   {"umount", "--help"},
		"testdata/umounted.txt": {"docs", "umounthelper"},
		"testdata/warm.txt":     {"warm", "--help"},
		"testdata/limit.txt":    {"limit", "--help"},
		"testdata/loglevel.txt": {"log-level", "--help"},
		"testdata/doctor.txt":   {"doctor", "--help"},
		"testdata/lend.txt":     {"mount-helper", "--help"},
		"testdata/register.txt": {"credentials", "register", "--help"},
	} {
		got, stderr, code := output(t, args...)
		if code != exitOK || stderr != "" {
			t.Errorf("%v: code %d, %s", args, code, stderr)
		}
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs from `pailfs %s`: look at it, then go test ./cmd/pailfs -update\n%s", file, strings.Join(args, " "), got)
		}
	}
}

func TestHelpNamesEveryOptionAndFitsThePage(t *testing.T) {
	help, _, _ := output(t, "mount", "--help")
	again, _, _ := output(t, "help", "mount")
	if help != again {
		t.Error("`mount --help` and `help mount` differ")
	}
	for _, o := range options {
		if !strings.Contains(help, "--"+o.name) {
			t.Errorf("--%s is missing", o.name)
		}
	}
	for _, line := range strings.Split(help, "\n") {
		if len(line) > 120 {
			t.Errorf("%d wide: %s", len(line), line)
		}
	}
}
