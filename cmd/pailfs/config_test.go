package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseConfig(t *testing.T) {
	c := parseConfig("/c", []byte(`
# for all
options:
  region: KR1
  file_mode: 0640
  read-only: yes
  bucket-pattern: ["data-*", "logs-??"]
mounts:
  photos: &photos
    source: photos/2026
    mountpoint: /mnt/photos
    metadata-ttl: forever
    o: [nosuid, noexec]
  account:
    mountpoint: "/mnt/all"
    access-key: A
    secret-key: topsecret
  copy: *photos
`))
	if len(c.problems) != 0 || !c.secrets || len(c.mounts) != 3 {
		t.Fatalf("%+v", c.problems)
	}
	for name, want := range map[string]string{"region": "KR1 /c:4", "file-mode": "0640 /c:5", "read-only": "yes /c:6", "bucket-pattern": "data-*:logs-?? /c:7"} {
		if v := c.options.values[name]; v.value+" "+v.where() != want || v.from != fromFile {
			t.Errorf("%s: %+v", name, v)
		}
	}
	m := c.mounts[0]
	if m.name != "photos" || m.source != "photos/2026" || m.mountpoint != "/mnt/photos" || m.values["metadata-ttl"].value != "forever" || m.values["metadata-ttl"].line != 12 ||
		m.values["o"].value != "nosuid,noexec" {
		t.Errorf("%+v", m)
	}
	if c.mounts[1].keys["secret-key"].value != "topsecret" || c.mounts[1].values["secret-key"].value != "" || c.mounts[2].mountpoint != "/mnt/photos" {
		t.Errorf("%+v %+v", c.mounts[1], c.mounts[2])
	}
	for _, empty := range []string{"", "# nothing\n", "options:\nmounts:\n"} {
		if c := parseConfig("/c", []byte(empty)); len(c.problems) != 0 {
			t.Errorf("%q: %v", empty, c.problems)
		}
	}
}

func TestWrongConfig(t *testing.T) {
	for text, want := range map[string]string{
		"option:\n  region: KR1\n":                                "/c:1: unknown name option; did you mean options?",
		"options:\n  regoin: KR1\n":                               "/c:2: unknown name regoin; did you mean region?",
		"mounts:\n  a:\n    mountpoint: /a\n    sauce: b\n":       "/c:4: unknown name sauce; did you mean source?",
		"mounts:\n  a:\n    source: b\n":                          "/c:2: mount a has no mountpoint; mountpoint: /mnt/a",
		"mounts:\n  a:\n    mountpoint: a\n":                      `/c:3: mountpoint: "a" depends on`,
		"mounts:\n  a/b:\n    mountpoint: /a\n":                   "/c:2: a/b cannot be the name",
		"mounts:\n  a:\n    mountpoint: /a\n    source: b/../c\n": "/c:4: source: prefix",
		"options:\n  region: KR1\n  region: KR2\n":                "/c:3: region comes twice",
		"options:\n  part-size: 8MiB\n  part_size: 9MiB\n":        "/c:3: part_size comes twice",
		"options:\n  region:\n":                                   "/c:2: region has no value",
		"options:\n  region: [a]\n":                               "/c:2: region takes one value",
		"options: KR1\n":                                          "/c:1: options is no list",
		"- a\n":                                                   "/c:1: the file is no list",
		"options:\n\tregion: x\n":                                 "/c:2: is no YAML",
		"options: {}\n---\noptions: {}\n":                         "more than one document",
		"options:\n  config: /x\n":                                "/c:2: config: a file cannot name another",
		"options:\n  o: remount\n":                                "/c:2: o: remount",
		"options:\n  o: nosuid,metadata_ttl=5s\n":                 "/c:2: o: metadata-ttl is an option of pailfs and has a line of its own; metadata-ttl: 5s",
		"options:\n  o: bogus\n":                                  "/c:2: o: bogus: unknown mount option",
	} {
		c := parseConfig("/c", []byte(text))
		if len(c.problems) != 1 || !strings.Contains(c.problems[0].String()+"; "+c.problems[0].Hint, want) {
			t.Errorf("%q: %v", text, c.problems)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("options:\n  region: &a KR1\nmounts: {a: {mountpoint: /a, profile: *a}}\n")
	f.Fuzz(func(t *testing.T, text string) { parseConfig("/c", []byte(text)) })
}

// write makes a file of the test's.
func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

// planOf reads a request with a configuration file and an environment.
func planOf(t *testing.T, config string, env map[string]string, o string, flags map[string]string, args ...string) (*mountPlan, *mountRequest, error) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "A")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "topsecret")
	all := map[string]string{"PAILFS_CONFIG": config, "HOME": "/nonexistent"}
	for k, v := range env {
		all[k] = v
	}
	r := &mountRequest{command: "mount", opts: options, o: []string{o}, args: args, getenv: func(n string) string { return all[n] },
		flag: func(n string) (string, bool) { v, ok := flags[n]; return v, ok }}
	if err := r.configure(); err != nil {
		return nil, r, err
	}
	p, err := r.planned()
	return p, r, err
}

// Each source of a value gives way to the one before it: flag, -o, environment, the mount's section, the options section, the default.
func TestPrecedenceOfFiles(t *testing.T) {
	file := write(t, t.TempDir()+"/c.yaml", `
options: {region: KR1, timeout: 1m, profile: general}
mounts:
  a: {source: bkt/x, mountpoint: /mnt/a, timeout: 10s, o: noexec}
  b: {mountpoint: /mnt/b, profile: own}
`, 0o644)
	flag, env := map[string]string{"timeout": "4s"}, map[string]string{"PAILFS_TIMEOUT": "6s"}
	for _, c := range []struct {
		flag map[string]string
		o    string
		env  map[string]string
		args string
		want string // timeout and where it is from
	}{
		{flag, "timeout=5s", env, "a", "4s --timeout"},
		{nil, "timeout=5s", env, "a", "5s -o timeout"},
		{nil, "", env, "a", "6s PAILFS_TIMEOUT"},
		{nil, "", nil, "a", "10s " + file + ":4"},
		{nil, "", nil, "b", "1m " + file + ":2"},
		{nil, "", nil, "bkt /mnt/c", "1m " + file + ":2"},
	} {
		p, _, err := planOf(t, file, c.env, c.o, c.flag, strings.Fields(c.args)...)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		for _, o := range p.Origins {
			if got := o.value + " " + o.shown; o.name == "timeout" && got != c.want {
				t.Errorf("%+v: %s", c, got)
			}
		}
	}
	p, _, err := planOf(t, file, nil, "nosuid", nil, "a")
	if err != nil || p.bucket != "bkt" || p.prefix != "x/" || p.mountpoint != "/mnt/a" || p.source() != "bkt/x" || fmt.Sprint(p.MountWords) != "[noexec nosuid]" || p.Profile != "general" {
		t.Errorf("%+v %v", p, err)
	}
	if p, _, err := planOf(t, file, nil, "exec", nil, "a"); err != nil || fmt.Sprint(p.MountWords) != "[exec]" {
		t.Errorf("%+v %v", p, err)
	}
	if p, _, err := planOf(t, file, nil, "", nil, "b"); err != nil || p.bucket != "" || p.mountpoint != "/mnt/b" || p.Profile != "own" {
		t.Errorf("%+v %v", p, err)
	}
	if p, _, err := planOf(t, file, nil, "", nil, "./a"); err != nil || filepath.Base(p.mountpoint) != "a" || p.mountpoint == "/mnt/a" {
		t.Errorf("%+v %v", p, err)
	}
}

func TestAProblemStopsTheMountsItIsAbout(t *testing.T) {
	file := write(t, t.TempDir()+"/c.yaml", "options: {region: KR1}\nmounts:\n  a: {mountpoint: /mnt/a}\n  b: {mountpoint: /mnt/b, regoin: x}\n", 0o644)
	if _, _, err := planOf(t, file, nil, "", nil, "a"); err != nil {
		t.Error(err)
	}
	_, _, err := planOf(t, file, nil, "", nil, "b")
	if f := failureOf(err); err == nil || f.code != exitUsage || !strings.Contains(f.message, ":4: unknown name regoin") || !strings.Contains(f.hint, "did you mean region?") {
		t.Errorf("%+v", err)
	}
	if _, _, err := planOf(t, file+".no", nil, "", nil, "a"); err == nil || !strings.Contains(err.Error(), "PAILFS_CONFIG: there is no ") {
		t.Errorf("%v", err)
	}
	named := write(t, t.TempDir()+"/c.yaml", "options: {region: KR1}\nmounts:\n  photos: {mountpoint: /mnt/a}\n", 0o644)
	_, _, err = planOf(t, named, nil, "", nil, "potos")
	if f := failureOf(errors.Join(err)); err == nil || f.code != exitUsage || !strings.Contains(f.hint, "did you mean `pailfs mount photos`?") {
		t.Errorf("%+v", err)
	}
	bad := write(t, t.TempDir()+"/c.yaml", "options: {region: KR1, timeout: soon}\n", 0o644)
	if _, _, err := planOf(t, bad, nil, "", nil, "x", "/mnt"); err == nil || !strings.Contains(err.Error(), bad+":1: timeout: \"soon\" is no time") {
		t.Errorf("%v", err)
	}
}

func TestAccessKeysInAFile(t *testing.T) {
	text := "options: {region: KR1, access-key: A, secret-key: topsecret, session-token: T}\nmounts:\n  own: {mountpoint: /mnt/a, access_key: B, secret_key: other}\n  file: {mountpoint: /mnt/b, profile: p}\n"
	file := write(t, t.TempDir()+"/c.yaml", text, 0o600)
	for _, c := range []struct {
		env  map[string]string
		o    string
		arg  string
		want string
	}{
		{nil, "", "/mnt", "A T"},
		{nil, "", "own", "B "},
		{nil, "", "file", " "}, // its own section says where keys are
		{map[string]string{"AWS_ACCESS_KEY_ID": "E"}, "", "own", " "},
		{nil, "profile=x", "own", " "},
		{map[string]string{"PAILFS_ANONYMOUS": "true"}, "", "/mnt", " "},
	} {
		r := &mountRequest{command: "mount", opts: options, o: []string{c.o}, args: []string{c.arg}, getenv: func(n string) string {
			if n == "PAILFS_CONFIG" {
				return file
			}
			return c.env[n]
		}, flag: func(string) (string, bool) { return "", false }}
		err := r.configure()
		if err == nil {
			_, _, err = r.target()
		}
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.settings()
		if err != nil || s.Keys.access+" "+s.Keys.session != c.want {
			t.Errorf("%+v: %+v %v", c, s.Keys.access, err)
		}
		if strings.Contains(fmt.Sprint(s.Keys), "topsecret") || strings.Contains(fmt.Sprintf("%+v", s.Keys), "topsecret") {
			t.Error("a secret is shown")
		}
	}
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o620} {
		open := write(t, t.TempDir()+"/c.yaml", text, mode)
		_, _, err := planOf(t, open, nil, "", nil, "own")
		if f := failureOf(errors.Join(err)); err == nil || f.hint != "chmod 600 "+open || !strings.Contains(f.message, "others can read it") || strings.Contains(f.message, "topsecret") {
			t.Errorf("%o: %+v", mode, err)
		}
	}
	half := write(t, t.TempDir()+"/c.yaml", "options: {region: KR1, access-key: A}\n", 0o600)
	if _, _, err := planOf(t, half, nil, "", nil, "/mnt"); err == nil || !strings.Contains(err.Error(), "belong together") {
		t.Errorf("%v", err)
	}
}

func TestTheUsersFileComesFirst(t *testing.T) {
	home := t.TempDir()
	write(t, home+"/.config/pailfs/config.yaml", "options: {region: KR2}\n", 0o644)
	c, err := loadConfig("", func(n string) string { return map[string]string{"HOME": home}[n] }, 0)
	if err != nil || len(c.files) < 1 || c.files[0].options.values["region"].value != "KR2" {
		t.Fatalf("%+v %v", c, err)
	}
	xdg := t.TempDir()
	if got := userConfig(func(n string) string { return map[string]string{"HOME": home, "XDG_CONFIG_HOME": xdg}[n] }); got != xdg+"/pailfs/config.yaml" {
		t.Error(got)
	}
	if got := userConfig(func(string) string { return "" }); got != "" {
		t.Error(got)
	}
	// Of two files the first that names a mount has it whole; options are taken one by one.
	two := &configuration{files: []*configFile{
		parseConfig("/u", []byte("options: {region: KR1}\nmounts:\n  a: {mountpoint: /u}\n")),
		parseConfig("/s", []byte("options: {region: KR2, profile: p}\nmounts:\n  a: {mountpoint: /s, timeout: 9s}\n  b: {mountpoint: /b}\n")),
	}}
	look := two.lookup(two.mount("a"))
	if v, _ := look("region"); v.where() != "/u:1" {
		t.Errorf("%+v", v)
	}
	if v, _ := look("profile"); v.where() != "/s:1" {
		t.Errorf("%+v", v)
	}
	if v, ok := look("timeout"); ok || two.mount("a").mountpoint != "/u" || two.mount("b") == nil {
		t.Errorf("%+v", v)
	}
}

func TestConfigCheck(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	good := write(t, t.TempDir()+"/c.yaml", "options: {region: KR1}\nmounts:\n  a: {source: b, mountpoint: /mnt/a}\n  all: {mountpoint: /mnt/all}\n", 0o644)
	stdout, stderr, code := output(t, "config", "check", good)
	want := "read       " + good + "\nmount      a: b on /mnt/a\nmount      all: s3:// on /mnt/all\nok\n"
	if code != exitOK || stdout != want || stderr != "" {
		t.Errorf("code %d, %s%s", code, stdout, stderr)
	}
	bad := write(t, t.TempDir()+"/c.yaml", "options: {timeout: soon, secret-key: topsecret}\nmounts:\n  a: {mountpoint: /mnt/a, regoin: KR1}\n  b: {mountpoint: /mnt/a/, region: KR1}\n", 0o644)
	stdout, _, code = output(t, "config", "check", "--json", bad)
	var r configReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitUsage {
		t.Fatalf("code %d, %v\n%s", code, err, stdout)
	}
	var all strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintf(&all, "%d %s %s\n", p.Line, p.Mount, p.Message)
	}
	for _, want := range []string{"others can read it", "unknown name regoin", `1  timeout: "soon" is no time`, "belong together", "mounts a and b have one mountpoint"} {
		if strings.Count(all.String(), want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, all.String())
		}
	}
	if strings.Contains(stdout, "topsecret") || len(r.Mounts) != 2 || len(r.Files) != 1 || r.Files[0].State != "read" {
		t.Errorf("%s", stdout)
	}
	nowhere := write(t, t.TempDir()+"/c.yaml", "mounts:\n  a: {mountpoint: /mnt/a}\n", 0o644)
	if stdout, _, code = output(t, "config", "check", nowhere); code != exitUsage || !strings.Contains(stdout, "mount a: neither region nor endpoint is given") {
		t.Errorf("code %d, %s", code, stdout)
	}
	if _, stderr, code = output(t, "config", "check", good+".no"); code != exitUsage || !strings.Contains(stderr, "no such file") {
		t.Errorf("code %d, %s", code, stderr)
	}
}
