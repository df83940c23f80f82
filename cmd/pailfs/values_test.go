package main

import (
	"math"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "8388608": 8 << 20, "8MiB": 8 << 20, "8M": 8 << 20, "8mib": 8 << 20, "8MB": 8e6, "1.5GiB": 3 << 29,
		"512k": 512 << 10, "10 KiB": 10 << 10, "7b": 7, "1T": 1 << 40,
	} {
		if got, err := parseSize(in); err != nil || got != want {
			t.Errorf("%q: %d %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "M", "-1", "1e9", "0x10", "8 MiBs", "1.2.3", "NaN", "inf", "9999999T", "eight"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("%q is %d", in, got)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for in, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 8 << 20: "8 MiB", 5 << 30: "5 GiB",
		math.MaxInt64: "8 EiB"} {
		if got := formatSize(in); got != want {
			t.Errorf("%d: %q, want %q", in, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{"0": 0, "5": 5 * time.Second, "1.5": 1500 * time.Millisecond, "2m": 2 * time.Minute, "1h30m": 90 * time.Minute} {
		if got, err := parseDuration(in); err != nil || got != want {
			t.Errorf("%q: %v %v", in, got, err)
		}
	}
	for _, in := range []string{"", "soon", "1e300", "NaN", "5 s"} {
		if got, err := parseDuration(in); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
}

func TestSetters(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	own, err := strconv.ParseUint(me.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		option, value string
		good          func(*settings) bool // nil: refused
	}{
		{"uid", "1234", func(s *settings) bool { return s.UID == 1234 }},
		{"uid", me.Username, func(s *settings) bool { return s.UID == uint32(own) }},
		{"uid", "4294967295", nil}, // (uid_t)-1 is nobody
		{"uid", "4294967296", nil},
		{"uid", "-1", nil},
		{"uid", "no-such-user-here", nil},
		{"gid", "no-such-group-here", nil},
		{"gid", "0", func(s *settings) bool { return s.GID == 0 }},
		{"file-mode", "0600", func(s *settings) bool { return s.FileMode == 0o600 }},
		{"file-mode", "0o640", func(s *settings) bool { return s.FileMode == 0o640 }},
		{"dir-mode", "1777", func(s *settings) bool { return s.DirMode == 0o1777 }},
		{"dir-mode", "0888", nil},
		{"dir-mode", "10000", nil},
		{"write-rate", "0.5", func(s *settings) bool { return s.WriteRate == 0.5 }},
		{"write-rate", "-1", nil},
		{"write-rate", "NaN", nil},
		{"max-requests", "0", nil},
		{"max-requests", "1", func(s *settings) bool { return s.MaxRequests == 1 }},
		{"timeout", "0", nil},
		{"metadata-ttl", "0", func(s *settings) bool { return s.MetadataTTL == 0 }},
		{"provider", "floppy", nil},
		{"log-level", "DEBUG", func(s *settings) bool { return s.LogLevel < 0 }},
		{"log-level", "loud", nil},
		{"bucket-pattern", "data-*:logs-??", func(s *settings) bool { return slices.Equal(s.BucketPattern, []string{"data-*", "logs-??"}) }},
		{"bucket-pattern", "", func(s *settings) bool { return s.BucketPattern == nil }},
		{"bucket-pattern", "a:", nil},
		{"bucket-pattern", "[a", nil},
		{"bucket-pattern", "a/b", nil},
		{"attributes", "basic", func(s *settings) bool { return !s.FullAttributes }},
		{"state-dir", "x/../y", func(s *settings) bool { return s.StateDir == filepath.Join(cwd, "y") }},
		{"region", "KR 1", nil},
		{"endpoint", "https://h:9000/", func(s *settings) bool { return s.Endpoint == "https://h:9000" }},
		{"endpoint", "h:9000", func(s *settings) bool { return s.Endpoint == "https://h:9000" }},
		{"endpoint", "http://[::1]:9", func(s *settings) bool { return s.Endpoint == "http://[::1]:9" }},
		{"endpoint", "ftp://h", nil},
		{"endpoint", "https://h/bucket", nil},
		{"endpoint", "https://h?x=1", nil},
		{"endpoint", "https://", nil},
	} {
		o, ok := optionNamed(options, c.option)
		if !ok {
			t.Fatal(c.option)
		}
		s := &settings{}
		err := o.set(s, c.value)
		if (err == nil) != (c.good != nil) {
			t.Errorf("--%s %s: %v", c.option, c.value, err)
		} else if err == nil && !c.good(s) {
			t.Errorf("--%s %s: %+v", c.option, c.value, s)
		}
	}
}

func TestAnEndpointWithASecretIsNotRepeated(t *testing.T) {
	o, _ := optionNamed(options, "endpoint")
	for _, v := range []string{"https://key:hunter2@host", "https://key:hunter2@host:bad port", "hunter2@host"} {
		err := o.set(&settings{}, v)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", v, err)
		}
	}
}

func TestEscapedNamesAreFileNamesAndDiffer(t *testing.T) {
	for in, want := range map[string]string{"/": "-", "/mnt": "mnt", "/mnt/a": "mnt-a", "/mnt-a": `mnt\x2da`, "/mnt/my data": `mnt-my\x20data`,
		"/.x": `\x2ex`, "/a/b//c/": "a-b-c", `/a\x`: `a\x5cx`} {
		if got := escapeName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	part := rapid.StringMatching(`[a-z.\-\\ é_]{1,90}`)
	paths := rapid.Custom(func(t *rapid.T) string {
		return filepath.Clean("/" + strings.Join(rapid.SliceOfN(part, 1, 5).Draw(t, "parts"), "/"))
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := paths.Draw(t, "a"), paths.Draw(t, "b")
		x, y := escapeName(a), escapeName(b)
		if len(x) > 200 || strings.ContainsAny(x, "/\x00") || x == "." || x == ".." || x == "" {
			t.Fatalf("%q: %q", a, x)
		}
		if (a == b) != (x == y) {
			t.Fatalf("%q and %q: %q and %q", a, b, x, y)
		}
	})
}

func TestRealPath(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Mkdir(dir+"/real", 0o700), os.Mkdir(dir+"/real/sub", 0o700), os.Symlink("real", dir+"/link")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for in, want := range map[string]string{"/": "/", dir + "/real": dir + "/real", dir + "/link": dir + "/real", dir + "/link/sub": dir + "/real/sub",
		dir + "/link/./x/..": dir + "/real", dir + "/real/missing": dir + "/real/missing"} {
		if got, err := realPath(in); err != nil || got != want {
			t.Errorf("%s: %s %v, want %s", in, got, err, want)
		}
	}
	if got, err := realPath(dir + "/no/such"); err == nil {
		t.Errorf("a path through a missing directory is %s", got)
	}
	t.Chdir(dir)
	if got, err := realPath("link"); err != nil || got != dir+"/real" {
		t.Errorf("relative: %s %v", got, err)
	}
}

func TestRunDir(t *testing.T) {
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	for _, c := range []struct {
		uid  int
		env  map[string]string
		want string
	}{
		{0, nil, "/run/pailfs"},
		{0, map[string]string{"XDG_RUNTIME_DIR": "/run/user/0"}, "/run/pailfs"}, // found from every root session
		{0, map[string]string{"PAILFS_RUN_DIR": "/x"}, "/x"},
		{7, map[string]string{"XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7/pailfs"},
		{7, map[string]string{"XDG_RUNTIME_DIR": "relative"}, filepath.Join(os.TempDir(), "pailfs-7")},
	} {
		if got := runDirOf(c.uid, env(c.env)); got != c.want {
			t.Errorf("%d %v: %s, want %s", c.uid, c.env, got, c.want)
		}
	}
}

func TestPrivateDir(t *testing.T) {
	dir := t.TempDir()
	if err := privateDir(dir + "/a/b"); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(dir + "/a/b"); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	if err := os.Mkdir(dir+"/open", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/open", 0o777); err != nil { // the umask had its say in Mkdir
		t.Fatal(err)
	}
	if err := privateDir(dir + "/open"); err == nil {
		t.Error("a directory that everybody writes to was taken")
	}
	if fi, _ := os.Stat(dir + "/open"); fi.Mode().Perm() != 0o777 {
		t.Errorf("the mode of a directory that is not ours was changed to %v", fi.Mode())
	}
	if err := os.Symlink(dir+"/a", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := privateDir(dir + "/link"); err == nil {
		t.Error("a symbolic link was taken")
	}
}

func TestDefaultMemory(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct{ ram, limit, want int64 }{
		{0, 0, mostMemory}, {64 * gib, 0, mostMemory}, {512 << 20, 0, 128 << 20}, {64 * gib, 400 << 20, 100 << 20},
		{64 * gib, 32 << 20, leastMemory}, {gib / 2, 64 * gib, 128 << 20}, {0, gib, mostMemory},
	} {
		if got := memoryFor(c.ram, c.limit); got != c.want {
			t.Errorf("%d, %d: %d, want %d", c.ram, c.limit, got, c.want)
		}
	}
}

func TestCgroupMemory(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"none":            {map[string]string{}, 0},
		"v2":              {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1000\n"}, 1000},
		"v2 parent":       {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "500"}, 500},
		"v2 in container": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "700"}, 700},
		"v1":              {map[string]string{"proc/self/cgroup": "5:cpu,memory:/x\n1:name=systemd:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "300"}, 300},
		"v1 unlimited":    {map[string]string{"proc/self/cgroup": "5:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712"}, 0},
		"nonsense":        {map[string]string{"proc/self/cgroup": "what\n0::/a\n", "sys/fs/cgroup/a/memory.max": "lots"}, 0},
	} {
		root := t.TempDir()
		for file, text := range c.files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := cgroupMemory(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
