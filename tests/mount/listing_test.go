package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

func keysOf(dirs, files int) (keys []string) {
	for d := range dirs {
		for f := range files {
			keys = append(keys, fmt.Sprintf("d%03d/f%04d", d, f))
		}
	}
	return keys
}

// within checks how many LISTs and HEADs a program has cost.
func (c *catalogue) within(t *testing.T, what string, least, most int64, heads int64) {
	t.Helper()
	if n := c.lists.Load(); n < least || n > most || c.heads.Load() != heads || c.others.Load() > 0 {
		t.Errorf("%s: %v", what, c)
	}
	t.Logf("%s: %v", what, c)
	c.reset()
}

// Ten thousand objects in a hundred directories: programs that walk through them cost as many LISTs as the keys fill pages,
// and again within the TTL none.
func TestWalksCostPages(t *testing.T) {
	for _, program := range [][]string{
		{"ls", "-lR"}, {"ls", "-R"}, {"find", ".", "-size", "+1"}, {"find", ".", "-name", "x"}, {"du", "-s"}, {"rsync", "-an", ".", t.TempDir()},
	} {
		t.Run(strings.Join(program[:min(len(program), 2)], " "), func(t *testing.T) {
			testenv.Programs(t, program[0])
			c, m := catalogued(t, keysOf(100, 100), testenv.TTL(unhurried), testenv.Args("--attributes", "basic"))
			run(t, m.Dir, program...)
			c.within(t, "cold", 10, 12, 0)
			run(t, m.Dir, program...)
			c.within(t, "again", 0, 0, 0)
			if _, err := os.Stat(m.Path("d050", "missing")); !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			if _, err := os.Stat(m.Path("missing")); !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			c.within(t, "stat of names that are not there", 0, 0, 0)
		})
	}
}

// With attributes names alone cost no HEAD, and the directories' own attributes no LIST each.
func TestWalksWithAttributes(t *testing.T) {
	for _, program := range [][]string{{"ls", "-R"}, {"find", ".", "-name", "x"}} {
		c, m := catalogued(t, keysOf(100, 100), testenv.TTL(unhurried))
		run(t, m.Dir, program...)
		c.within(t, program[0], 10, 14, 0)
	}
}

// A flat directory of fifty thousand: a LIST a page.
func TestFlatDirectoryCostsPages(t *testing.T) {
	var keys []string
	for i := range 50_000 {
		keys = append(keys, fmt.Sprintf("f%05d", i))
	}
	c, m := catalogued(t, keys, testenv.TTL(unhurried))
	if n := strings.Count(run(t, m.Dir, "ls", "-f"), "\n"); n != 50_002 {
		t.Errorf("%d names", n)
	}
	c.within(t, "ls -f", 50, 52, 0)
}

// ls -lR with attributes: one HEAD a file and no more, at least 32 at a time. The store answers none of a directory's HEADs
// before so many are under way; in the first one those of its beginning, by which it shows that it is being looked through.
func TestAttributesAreAskedForTogether(t *testing.T) {
	c, m := catalogued(t, keysOf(100, 100), testenv.TTL(unhurried))
	c.together = 32
	c.hold = func(key string) string {
		dir, name, _ := strings.Cut(key, "/")
		if dir == "d000" && name < "f0060" {
			return ""
		}
		return dir
	}
	if n := strings.Count(run(t, m.Dir, "ls", "-lR"), "\n"); n < 10_000 {
		t.Errorf("%d lines", n)
	}
	t.Log(c)
	if alone := c.alone(); len(c.held.groups) != 100 || len(alone) > 0 || c.most.Load() < 32 {
		t.Errorf("at most %d HEADs at once; fewer than %d in %v", c.most.Load(), c.together, alone)
	}
	// The first directory's marker is one more than without attributes. The first two files are tried by a GET, which would bring
	// their bytes along.
	if c.heads.Load() > 10_000 || c.lists.Load() > 13 || c.others.Load() > 2 {
		t.Errorf("cold: %v", c)
	}
	c.reset()
	run(t, m.Dir, "ls", "-lR")
	c.within(t, "again", 0, 0, 0)
}

// A store that knows version 1 of the call alone is found out by one request, and costs no more.
func TestListsOfVersion1CostPages(t *testing.T) {
	testenv.Programs(t, "find")
	keys := keysOf(40, 100)
	for i := range 5000 {
		keys = append(keys, fmt.Sprintf("flat/f%05d", i))
	}
	c, m := catalogued(t, keys, testenv.TTL(unhurried), testenv.Args("--attributes", "basic"))
	c.v1 = true
	if n := strings.Count(run(t, m.Path("flat"), "ls", "-f"), "\n"); n != 5002 {
		t.Errorf("%d names", n)
	}
	c.within(t, "ls -f", 6, 8, 0)
	if n := strings.Count(run(t, m.Dir, "find", ".", "-type", "f"), "\n"); n != 9000 {
		t.Errorf("%d files", n)
	}
	c.within(t, "find", 5, 7, 0)
}

// A deep tree of small directories is read by its keys; where a program stays above directories that are full it is a LIST each,
// and behind them keys again.
func TestDeepWalksChangeTheirWay(t *testing.T) {
	var keys []string
	for i := range 10_000 {
		keys = append(keys, fmt.Sprintf("deep/a%02d/b%d/c%d/f%d", i/500, i/50%10, i/10%5, i%10))
	}
	for i := range 20 {
		for j := range 2000 {
			keys = append(keys, fmt.Sprintf("full/d%02d/below/f%04d", i, j))
		}
	}
	for _, program := range [][]string{{"find", "deep"}, {"du", "-s", "deep"}} {
		c, m := catalogued(t, keys, testenv.TTL(unhurried), testenv.Args("--attributes", "basic"))
		run(t, m.Dir, program...)
		c.within(t, program[0], 12, 20, 0) // of 1,221 directories
		run(t, m.Dir, "find", "full", "-maxdepth", "2")
		c.within(t, "find above full directories", 20, 30, 0)
		run(t, m.Dir, append(program, "full")...)
		c.within(t, program[0]+" of all", 20, 65, 0)
	}
}

// find goes through a directory of more than 10,000 names in the order of their inode numbers, where it is told any: they
// are not, so that it keeps the order in which attributes are asked for ahead.
func TestLargeDirectoriesAreWalkedInOrder(t *testing.T) {
	var keys []string
	for i := range 10_500 {
		keys = append(keys, fmt.Sprintf("f%05d", i))
	}
	c, m := catalogued(t, keys, testenv.TTL(unhurried))
	c.headDelay = time.Millisecond
	run(t, m.Dir, "find", ".", "-size", "+1")
	if n := c.most.Load(); n < 8 {
		t.Errorf("at most %d HEADs at once: %v", n, c)
	}
}

// Directories that nobody walks into are not read: what is not worth its pages is given up.
func TestWalksGiveUp(t *testing.T) {
	var keys []string
	for d := range 60 {
		for f := range 3000 {
			keys = append(keys, fmt.Sprintf("d%02d/deep/f%04d", d, f))
		}
	}
	c, m := catalogued(t, keys, testenv.TTL(unhurried), testenv.Args("--attributes", "basic"))
	for d := range 60 {
		if n := names(t, m.Path(fmt.Sprintf("d%02d", d))); len(n) != 1 {
			t.Errorf("%q", n)
		}
	}
	c.within(t, "the upper directories", 60, 70, 0)
}

// Programs that walk by themselves over a real store see all of it.
func TestWalksSeeEverything(t *testing.T) {
	all := map[string][]byte{}
	for i := range 500 {
		all[fmt.Sprintf("a%d/b-%d/c%d/f%d", i%7, i%3, i%11, i)] = nil
		all[fmt.Sprintf("a%d-/x%d", i%5, i)] = nil
	}
	_, _, l, m := watched(t, all, testenv.TTL(unhurried))
	l.tally(t)
	n := 0
	err := filepath.WalkDir(m.Dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(m.Dir, p)
		if _, ok := all[rel]; ok {
			n++
		} else if !d.IsDir() {
			t.Errorf("%s is no object", rel)
		}
		return nil
	})
	if err != nil || n != len(all) {
		t.Errorf("%d of %d objects, %v", n, len(all), err)
	}
	if c := l.tally(t); c.lists > 40 { // 268 directories
		t.Errorf("%v%s", c, c.page())
	}
}

// A new file in a directory that was listed costs its PUT alone.
func TestCreateInAListedDirectory(t *testing.T) {
	_, _, l, m := watched(t, files("d/f", 20, 10), testenv.TTL(unhurried))
	names(t, m.Path("d"))
	l.tally(t)
	for i := range 10 {
		if err := os.WriteFile(m.Path("d", fmt.Sprintf("new%d", i)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if c := l.tally(t); c.lists+c.heads+c.gets > 0 {
		t.Errorf("%v%s", c, c.page())
	}
}

// Names with anything in them but a slash and NUL are the keys that they are, read and written.
func TestNamesAreKeys(t *testing.T) {
	s, bucket, m := openStore(t, testenv.TTL(0))
	odd := []string{"a%41", "a%2Fb", "a+b", "a b", " lead", "trail ", "tab\tx", "nl\nx", "cr\rx", "\x7f", `back\slash`, "q?x=1&y", "h#x",
		"<x>", "'", `"`, "*", "\u00e9", "e\u0301", "\U0001F600", "...", ".hidden", "-rf", strings.Repeat("k", 255), "case", "CASE"}
	for _, name := range []string{"\x01", "esc\x1bx"} { // XML has no such characters: not every store's listings encode them
		put(t, s, bucket, name, nil)
		if slices.Contains(keys(t, s, bucket), name) {
			odd = append(odd, name)
		} else if err := s.Client.Delete(t.Context(), bucket, name); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range odd {
		if err := os.WriteFile(m.Path(name), []byte{byte(i)}, 0o644); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		put(t, s, bucket, "in/"+name, []byte{byte(i)})
	}
	stored := keys(t, s, bucket)
	for i, name := range odd {
		if !slices.Contains(stored, name) {
			t.Errorf("%q is not a key", name)
		}
		for _, p := range []string{m.Path(name), m.Path("in", name)} {
			if b, err := os.ReadFile(p); err != nil || len(b) != 1 || b[0] != byte(i) {
				t.Errorf("%q: %q %v", p, b, err)
			}
		}
	}
	slices.Sort(odd)
	if got := names(t, m.Path("in")); !slices.Equal(got, odd) {
		t.Errorf("%q", got)
	}
	run(t, m.Dir, "rm", "-r", "in")
	if left := s.Keys(t, bucket, "in"); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	for _, name := range []string{strings.Repeat("k", 256), strings.Repeat("d/", 511) + "xyz"} {
		if err := os.WriteFile(m.Path(name), nil, 0o644); err == nil {
			t.Errorf("a name of %d bytes was made", len(name))
		}
	}
	if err := os.WriteFile(m.Path("bad\xffutf8"), nil, 0o644); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a name that is no UTF-8: %v", err)
	}
}

// rm -r of a tree, slower than the TTL.
func TestRemovingBeyondTheTTL(t *testing.T) {
	all := files("d/f", 900, 0)
	for i := range 900 {
		all[fmt.Sprintf("d/g%04d", i)] = nil
	}
	_, _, l, m := watched(t, all, testenv.TTL(time.Second))
	l.tally(t)
	began := time.Now()
	run(t, m.Dir, "rm", "-r", "d")
	seconds := int(time.Since(began)/time.Second) + 1
	c := l.tally(t)
	t.Logf("%v in %d s", c, seconds)
	if c.lists > 12+4*seconds || c.heads > 12 {
		t.Errorf("%v%s", c, c.page())
	}
}

// run runs a program in a directory and gives what it says.
func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%.2000s", args, err, out)
	}
	return string(out)
}

// A flat directory of a million streams: the first names come at once, and memory grows by no more than the share of names.
func TestAMillionNamesInBoundedMemory(t *testing.T) {
	keys := make([]string, 0, 1_000_000)
	for i := range cap(keys) {
		keys = append(keys, fmt.Sprintf("part-%08d.parquet", i))
	}
	const memory = 256 << 20
	c, m := catalogued(t, keys, testenv.TTL(unhurried), testenv.Args("--attributes", "basic", "--memory", fmt.Sprint(memory)))
	before := resident(t, m.PID())
	d, err := os.Open(m.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if first, err := d.Readdirnames(1); err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	if n := c.lists.Load(); n > 4 { // the page, the one ahead, and what all the names begin with
		t.Errorf("%d LISTs before the first name", n)
	}
	n := 1
	for {
		some, err := d.Readdirnames(10_000)
		n += len(some)
		if err != nil {
			break
		}
	}
	if n != len(keys) {
		t.Errorf("%d names", n)
	}
	grown := resident(t, m.PID()) - before
	t.Logf("%d names, %v, %d KiB more resident of %d", n, c, grown>>10, memory/8>>10)
	if grown > memory/8 && os.Getenv("PAILFS_TEST_RACE") != "1" { // the detector's own memory is many times as much
		t.Errorf("%d KiB more resident", grown>>10)
	}
}

// git status looks at the files of its index without listing their directories: two LISTs a directory, the second of which brings
// all its names. Within the TTL it asks for none.
func TestGitStatusCostsTwoListsADirectory(t *testing.T) {
	testenv.Programs(t, "git")
	local := t.TempDir()
	git := "export HOME=" + local + " GIT_CONFIG_NOSYSTEM=1 GIT_OPTIONAL_LOCKS=0; git config --global safe.directory '*'\n"
	sh(t, local, git+`git config --global user.email a@b.c; git config --global user.name n; git init -q w; cd w
		for d in $(seq 10 49); do mkdir s$d; for f in $(seq 10 29); do echo $d.$f > s$d/f$f; done; done
		git add -A; git commit -qm first`)
	all := map[string][]byte{}
	err := filepath.WalkDir(filepath.Join(local, "w"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(local, p)
		if err == nil {
			all[rel], err = os.ReadFile(p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _, l, m := watched(t, all, testenv.TTL(unhurried), testenv.Args("--attributes", "basic"))
	status := git + `[ -z "$(git -C w status --porcelain)" ]`
	sh(t, m.Dir, status)
	if c := l.tally(t); c.lists > 2*40+30 || c.heads > 0 { // and git's own directories
		t.Errorf("cold: %v%s", c, c.page())
	} else {
		t.Logf("cold: %v", c)
	}
	sh(t, m.Dir, status)
	if c := l.tally(t); c.lists+c.heads > 0 {
		t.Errorf("again: %v%s", c, c.page())
	}
}
