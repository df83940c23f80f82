package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// pageOf is one manual page, with a date and a version as a release has them.
func pageOf(t *testing.T, file string) string {
	t.Helper()
	text, err := manual(newApp(stdio{out: io.Discard, err: io.Discard}), file, build{Version: "1.2.3-dev.4", Date: "2026-11-23T09:17:00+01:00"})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Every row of every table is on its page.
func TestManualPagesHaveEveryRow(t *testing.T) {
	user, mount, config := pageOf(t, "pailfs.1"), pageOf(t, "mount.pailfs.8"), pageOf(t, "pailfs-config.5")
	has := func(page, text, what string) {
		t.Helper()
		if !strings.Contains(page, text) {
			t.Errorf("%s is missing: %s", what, text)
		}
	}
	for _, o := range options {
		has(user, ".TP\n"+roffHead(optionHead(o))+"\n", "pailfs(1): option")
		has(mount, ".TP\n"+`\fB`+roffEscape(o.key()), "mount.pailfs(8): option")
		if o.name != "config" {
			has(config, ".TP\n"+bold(o.name+":"), "pailfs-config(5): option")
		}
	}
	app := newApp(stdio{out: io.Discard, err: io.Discard})
	for _, name := range commandNames(app.Commands) {
		has(user, ".TP\n"+bold("pailfs")+" "+bold(name), "pailfs(1): command")
	}
	flat := strings.Join(strings.Fields(user), " ")
	for _, e := range exitCodes {
		has(flat, fmt.Sprintf(`.TP \fB%d\fR %s.`, e.code, roffInline(e.text)), "pailfs(1): exit code")
	}
	for _, e := range helperCodes {
		has(mount, strings.Fields(e.text)[0], "mount.pailfs(8): exit code")
	}
	has(pageOf(t, "umount.pailfs.8"), ".SH \"EXIT STATUS\"", "umount.pailfs(8)")
	for _, page := range []string{user, mount, config} {
		has(page, `"2026-11-23" "pailfs 1.2.3\-dev.4"`, "title")
	}
	for _, heading := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "FSTAB", "ENVIRONMENT", "FILES", "\"EXIT STATUS\"", "EXAMPLES", "\"SEE ALSO\""} {
		has(user, "\n.SH "+heading+"\n", "pailfs(1)")
	}
	if alias := pageOf(t, "umount.fuse.pailfs.8"); alias != ".so man8/umount.pailfs.8\n" {
		t.Errorf("%q", alias)
	}
}

func TestManualPagesOnTheCommandLine(t *testing.T) {
	names, stderr, code := output(t, "docs", "man")
	if want := "pailfs.1\npailfs-config.5\nmount.pailfs.8\nmount.fuse.pailfs.8\numount.pailfs.8\numount.fuse.pailfs.8\n"; names != want || code != exitOK || stderr != "" {
		t.Errorf("code %d, %s%s", code, names, stderr)
	}
	if out, _, code := output(t, "docs", "man", "pailfs.1"); code != exitOK || !strings.Contains(out, ".TH PAILFS 1 \"\" ") {
		t.Errorf("code %d, %.200s", code, out)
	}
	for _, args := range [][]string{{"docs", "man", "pailfs.9"}, {"docs", "man", "pailfs.1", "pailfs.1"}} {
		if out, stderr, code := output(t, args...); code != exitUsage || out != "" || stderr == "" {
			t.Errorf("%v: code %d, %s%s", args, code, out, stderr)
		}
	}
}

// What is a macro, an escape or a typographic sign to roff is itself on the page.
func TestRoffEscapes(t *testing.T) {
	for in, want := range map[string]string{
		`a\b`:             `a\(rsb`,
		"a-b --c":         `a\-b \-\-c`,
		"it's":            `it\(aqs`,
		`"q" ^ ~`:         `\(dqq\(dq \(ha \(ti`,
		"한":               `\[uD55C]`,
		"tab\there":       "tab?here",
		"--region is one": `\fB\-\-region\fR is one`,
		"with --fd=N, or": `with \fB\-\-fd\fR=N, or`,
		"`pailfs mount`":  `\fBpailfs mount\fR`,
		"one ` alone":     `one \(ga alone`,
	} {
		if got := roffInline(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	var r roff
	r.section("A B")
	r.paragraph(".first 'second " + strings.Repeat("word ", 40) + "One. Two.")
	r.verbatim(".TH x", "", "'y", `\z`)
	for line := range strings.Lines(r.b.String()) {
		if len(line) > roffWidth+1 || strings.HasPrefix(line, ".") && !slices.Contains([]string{".SH \"A B\"\n", ".PP\n", ".nf\n", ".fi\n", ".RS 4\n", ".RE\n"}, line) {
			t.Errorf("%q", line)
		}
	}
	for _, want := range []string{"\n\\&.first", "One.\nTwo.\n", "\n\\&.TH x\n\\&\n\\(aqy\n\\(rsz\n"} {
		if !strings.Contains(r.b.String(), want) {
			t.Errorf("%q is missing in %q", want, r.b.String())
		}
	}
}

// The examples of the pages are right.
func TestManualExamples(t *testing.T) {
	file := write(t, t.TempDir()+"/config.yaml", strings.Join(configExample, "\n")+"\n", 0o644)
	if stdout, stderr, code := output(t, "config", "check", file); code != exitOK || !strings.Contains(stdout, "photos: photos/2026 on /mnt/photos") {
		t.Errorf("code %d, %s%s", code, stdout, stderr)
	}
	example, err := os.ReadFile("../../contrib/fstab/fstab.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range fstabLines {
		if !strings.Contains(string(example), l+"\n") {
			t.Errorf("contrib/fstab has not got %s", l)
		}
	}
}

// groff and mandoc read the pages without a word.
func TestManualPagesAreClean(t *testing.T) {
	ran := 0
	for _, checker := range [][]string{{"mandoc", "-Tlint", "-Wwarning"}, {"groff", "-man", "-Tutf8", "-rLL=80n", "-ww", "-z"}} {
		program, err := exec.LookPath(checker[0])
		if err != nil {
			continue
		}
		ran++
		for _, p := range manualPages {
			if p.write == nil {
				continue
			}
			cmd := exec.CommandContext(t.Context(), program, checker[1:]...)
			cmd.Stdin = strings.NewReader(pageOf(t, p.file()))
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v, %s: %v\n%s", checker, p.file(), err, out)
			}
		}
	}
	if ran == 0 {
		t.Skip("neither mandoc nor groff is installed")
	}
}
