package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// bashLines are command lines as they stand when the tab key is pressed, and what readline is given for its own last word: it
// parts words at = and : as well.
var bashLines = []struct{ line, want string }{
	{"pailfs bucket l", "list|location"},
	{"pailfs mount --durability ", "store|journal"},
	{"pailfs mount --durability=", "store|journal"},
	{"pailfs mount --durability=j", "journal"},
	{"pailfs mount --durabi", "--durability"},
	{"pailfs mount b /mnt -o ro,durability=s", "store"},
	{"pailfs mount b /mnt -o durab", "durability="},
	{"pailfs mount b /mnt -o ro,durab", "ro,durability="},
	{"pailfs --nothing ", ""},
	{"pailfs umount ", "/mnt/a:b|/mnt/photos|/mnt/two\\ words"},
	{"pailfs umount /mnt/t", "/mnt/two\\ words"},
	{`pailfs umount /mnt/two\ w`, "/mnt/two\\ words"},
	{"pailfs umount /mnt/a:", "b"},
	{"pailfs log-level /mnt/photos ", "debug|info|warn|error"},
	{"pailfs completion ", "bash|zsh|fish"},
}

// The script in bash itself, with the words parted as readline does.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	program, err := os.Executable() // by the name pailfs it is pailfs: script_test.go
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(program, dir+"/pailfs"); err != nil {
		t.Fatal(err)
	}
	for name, mountpoint := range map[string]string{"a": "/mnt/a:b", "p": "/mnt/photos", "t": "/mnt/two words"} {
		write(t, filepath.Join(dir, name+".json"), `{"pid":4712,"mountpoint":"`+mountpoint+`","source":"b","state_dir":"/s","started":"2026-05-01T12:00:00Z"}`, 0o600)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	script := bashCompletion + `
parted() { # what readline makes of a line: COMP_WORDS and its fellows
	COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=() COMP_CWORD=0
	local rest=$1 piece
	while [[ $rest =~ ^([[:space:]]*)(([^[:space:]=:\\]|\\.)+|[=:]+)(.*)$ ]]; do
		COMP_WORDS+=("${BASH_REMATCH[2]}")
		rest=${BASH_REMATCH[4]}
	done
	case $1 in *[[:space:]=:]) [[ $1 == *[=:] ]] || COMP_WORDS+=("") ;; esac
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
}
while IFS= read -r line; do
	parted "$line"
	_pailfs
	(IFS='|'; printf '%s\n' "${COMPREPLY[*]}")
done
`
	var lines []string
	for _, l := range bashLines {
		lines = append(lines, l.line)
	}
	cmd := exec.CommandContext(t.Context(), bash, "--norc", "--noprofile", "-c", script)
	cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "HOME=" + dir, "PAILFS_RUN_DIR=" + dir, "TMPDIR=" + dir, "LC_ALL=C"}
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(got) != len(bashLines) {
		t.Fatalf("%d answers, not %d:\n%s", len(got), len(bashLines), out)
	}
	for i, l := range bashLines {
		if got[i] != l.want {
			t.Errorf("%q: %q, want %q", l.line, got[i], l.want)
		}
	}
}
