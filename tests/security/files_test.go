package security

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// stored is a host with a store, and its bucket.
func stored(t *testing.T) (*host, *testenv.Server, string) {
	t.Helper()
	h := newHost(t)
	s := testenv.StoreIn(t, t.TempDir())
	h.of(s)
	h.env = append(h.env, s.Env()...)
	return h, s, s.Bucket(t)
}

func (h *host) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.mnt, name), []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// stopped stops the store behind a mount that knows its root: names may still be made there.
func (h *host) stopped(s *testenv.Server) {
	h.t.Helper()
	if _, err := os.ReadDir(h.mnt); err != nil {
		h.t.Fatal(err)
	}
	s.Stop(h.t)
}

// What a mount keeps on this host is its user's alone: directories 0700, files and sockets 0600, whatever the umask.
func TestWhatIsKeptIsPrivate(t *testing.T) {
	h, s, bucket := stored(t)
	old := unix.Umask(0)
	h.mount(bucket, h.mnt, "--durability", "journal", "--cache-dir", h.base+"/blocks", "--cache-size", "64MiB", "--metrics-addr", "unix:"+h.base+"/m.sock", "--debug-addr", "unix:"+h.base+"/d.sock", "--metadata-ttl", "1h")
	unix.Umask(old)
	h.stopped(s)
	h.write("small", "kept in the log")
	h.write("large", strings.Repeat("kept in a spool of its own ", 1<<16))
	s.Start(t)
	h.expect(0, "flush", h.mnt)
	if _, err := os.ReadFile(h.mnt + "/large"); err != nil {
		t.Error(err)
	}
	seen := map[fs.FileMode]int{}
	for _, dir := range []string{h.state, h.run, h.base + "/blocks", h.base + "/m.sock", h.base + "/d.sock"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			fi, err := d.Info()
			if err != nil {
				return err
			}
			want := fs.FileMode(0o600)
			if d.IsDir() {
				want = 0o700
			}
			if fi.Mode().Perm() != want {
				t.Errorf("%s has mode %v", path, fi.Mode())
			}
			seen[fi.Mode().Type()]++
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if seen[fs.ModeDir] < 8 || seen[0] < 5 || seen[fs.ModeSocket] != 3 {
		t.Errorf("looked at %v", seen)
	}
	h.expect(0, "umount", h.mnt)
}

// The control socket listens to its own user and root, whatever the modes of its directory say.
func TestTheControlSocketKnowsItsPeer(t *testing.T) {
	h, _, bucket := stored(t)
	h.mount(bucket, h.mnt, "--debug-addr", "unix:"+h.base+"/d.sock")
	sockets, err := filepath.Glob(h.run + "/*.sock")
	if err != nil || len(sockets) != 1 {
		t.Fatalf("%v %v", sockets, err)
	}
	if said := h.as(nobody, "connect", sockets[0]); !strings.Contains(said, "permission denied") {
		t.Errorf("a socket that is private: %s", said)
	}
	if said := h.as(nobody, "connect", h.base+"/d.sock"); !strings.Contains(said, "permission denied") {
		t.Errorf("that of --debug-addr: %s", said)
	}
	for _, name := range []string{h.run, sockets[0]} {
		if err := os.Chmod(name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if said := h.as(nobody, "connect", sockets[0]); strings.HasPrefix(said, "ok") {
		t.Errorf("an open socket answers another user: %s", said)
	}
	if said := h.as(0, "connect", sockets[0]); !strings.HasPrefix(said, "ok HTTP/1.1 200") {
		t.Errorf("it does not answer its own user: %s", said)
	}
	if !strings.Contains(h.logText(), `msg="refused on the control socket" uid=65534`) {
		t.Error("the log does not say who was refused")
	}
	for _, args := range [][]string{{"status", h.mnt}, {"flush", h.mnt}, {"limit", "--bandwidth", "1MiB", h.mnt}, {"umount", h.mnt}} {
		if out, code := h.pailfsAs(nobody, args...); code == 0 {
			t.Errorf("%v by another user: %s", args, out)
		}
	}
	if !h.mounted() {
		t.Fatal("another user has unmounted it")
	}
	if err := os.Chmod(h.run, 0o700); err != nil {
		t.Fatal(err)
	}
	h.expect(0, "umount", h.mnt)
}

// An impostor's socket is not talked to: who runs a command makes sure who listens.
func TestAnImpostorsSocketIsNotTrusted(t *testing.T) {
	h, _, bucket := stored(t)
	h.mount(bucket, h.mnt)
	sockets, err := filepath.Glob(h.run + "/*.sock")
	if err != nil || len(sockets) != 1 {
		t.Fatalf("%v %v", sockets, err)
	}
	if err := os.Rename(sockets[0], sockets[0]+".real"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(h.run, 0o777); err != nil {
		t.Fatal(err)
	}
	end := h.listenAs(nobody, sockets[0])
	if err := os.Chmod(h.run, 0o700); err != nil {
		t.Fatal(err)
	}
	out, code := h.pailfs("status", h.mnt)
	if code == 0 || !strings.Contains(out, "a process of user 65534 answers there") {
		t.Errorf("code %d\n%s", code, out)
	}
	end()
	if err := errors.Join(os.Remove(sockets[0]), os.Rename(sockets[0]+".real", sockets[0])); err != nil {
		t.Fatal(err)
	}
	h.expect(0, "umount", h.mnt)
}

// victim is a directory of root's with a file that an attacker is after.
func (h *host) victim() (dir string, unharmed func()) {
	h.t.Helper()
	dir = h.base + "/victim"
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755), os.WriteFile(dir+"/precious", []byte("precious"), 0o644)); err != nil {
		h.t.Fatal(err)
	}
	return dir, func() {
		h.t.Helper()
		b, err := os.ReadFile(dir + "/precious")
		fi, statErr := os.Stat(dir)
		entries, _ := os.ReadDir(dir)
		if err != nil || statErr != nil || string(b) != "precious" || fi.Mode().Perm() != 0o755 || len(entries) != 1 {
			h.t.Errorf("the victim: %q %v, %v %v, %v", b, err, fi.Mode(), statErr, entries)
		}
	}
}

// own makes all of a tree another user's.
func (h *host) own(user int, root string) {
	h.t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, user, user))
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// In a directory that everybody writes to another user is faster: what is in the way of a mount is refused with what is wrong, and
// nothing of it is used, changed or removed.
func TestPlantedDirectoriesAndLinksAreRefused(t *testing.T) {
	h, _, bucket := stored(t)
	shared := h.base + "/shared"
	if err := errors.Join(os.Mkdir(shared, 0o777), os.Chmod(shared, os.ModeSticky|0o777)); err != nil {
		t.Fatal(err)
	}
	leaf := "mounts/" + strings.ReplaceAll(strings.ReplaceAll(strings.Trim(h.mnt, "/"), "-", `\x2d`), "/", "-")
	victim, unharmed := h.victim()
	link := func(path string) error {
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(victim, path))
	}
	file := func(path string) error {
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("planted"), 0o666))
	}
	for i, c := range []struct {
		name  string
		plant func(dir string) error
		args  func(dir string) []string
		says  string
	}{
		{"a state directory", func(d string) error { return os.MkdirAll(d+"/"+leaf, 0o777) }, func(d string) []string { return []string{"--state-dir", d} }, "belongs to user 65534"},
		{"a link for one", func(d string) error { return link(d + "/" + leaf) }, func(d string) []string { return []string{"--state-dir", d} }, "it is a link"},
		{"a link for its spools", func(d string) error { return link(d + "/" + leaf + "/spool") }, func(d string) []string { return []string{"--state-dir", d} }, "belongs to user 65534"},
		{"a disk cache", func(d string) error { return os.MkdirAll(d+"/"+leaf+"/pailfs.cache", 0o700) }, func(d string) []string { return []string{"--cache-dir", d} }, "not a directory of one's own"},
		{"a link for one", func(d string) error { return link(d + "/" + leaf + "/pailfs.cache") }, func(d string) []string { return []string{"--cache-dir", d} }, "not a directory of one's own"},
		{"a log", func(d string) error { return file(d + "/log") }, func(d string) []string { return []string{"--log-file", d + "/log"} }, "is a file of user 65534|permission denied"},
		{"a link for one", func(d string) error { return os.Symlink(victim+"/precious", d+"/log") }, func(d string) []string { return []string{"--log-file", d + "/log"} }, "is a link of user 65534|permission denied"},
		{"a socket", func(d string) error { return file(d + "/m.sock") }, func(d string) []string { return []string{"--metrics-addr", "unix:" + d + "/m.sock"} }, "is there and is no socket"},
		{"a link for one", func(d string) error { return os.Symlink(victim+"/precious", d+"/m.sock") }, func(d string) []string { return []string{"--debug-addr", "unix:" + d + "/m.sock"} }, "is there and is no socket"},
		{"a directory for sockets", func(d string) error { return os.Mkdir(d+"/run", 0o777) }, func(string) []string { return nil }, "belongs to user 65534"},
		{"a link for that", func(d string) error { return os.Symlink(victim, d+"/run") }, func(string) []string { return nil }, "is not a directory"},
	} {
		dir := fmt.Sprintf("%s/%d", shared, i)
		if err := errors.Join(os.Mkdir(dir, 0o777), os.Chmod(dir, os.ModeSticky|0o777), c.plant(dir)); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			h.own(nobody, dir+"/"+e.Name())
		}
		env := []string(nil)
		if _, err := os.Lstat(dir + "/run"); err == nil {
			env = []string{"PAILFS_RUN_DIR=" + dir + "/run"}
		}
		out, code := h.pailfsWith(env, append([]string{"mount", bucket, h.mnt}, c.args(dir)...)...)
		said := false
		for words := range strings.SplitSeq(c.says, "|") {
			said = said || strings.Contains(out, words)
		}
		if code == 0 || !said || !strings.Contains(out, "hint: ") {
			t.Errorf("%s: code %d\n%s", c.name, code, out)
		}
		if h.mounted() {
			h.expect(0, "umount", h.mnt)
		}
		unharmed()
	}
	// What HEADs said is only a help: a file of another user is not read, and the mount does without.
	kept := shared + "/attributes/" + leaf + "/attributes"
	if err := file(kept); err != nil {
		t.Fatal(err)
	}
	h.own(nobody, kept)
	out, code := h.pailfsWith([]string{"CACHE_DIRECTORY=" + shared + "/attributes"}, "mount", bucket, h.mnt)
	if code != 0 || !strings.Contains(h.logText(), "not a file of one's own") {
		t.Errorf("code %d\n%s%s", code, out, h.logText())
	}
	h.expect(0, "umount", h.mnt)
	if b, err := os.ReadFile(kept); err != nil || string(b) != "planted" {
		t.Errorf("%q %v", b, err)
	}
}

// Root looks into the directories where users have their mounts. What they write there does not make root open, change or remove
// anything of theirs, or in their stead.
func TestRootDoesNotActOnWhatUsersWrite(t *testing.T) {
	h, _, _ := stored(t)
	victim, unharmed := h.victim()
	const mountpoint = "/mnt/of-a-user"
	evil := h.base + "/evil/mounts/mnt-of\\x2da\\x2duser"
	run := h.base + "/pailfs-65534" // below TMPDIR, where root looks
	if err := errors.Join(os.MkdirAll(evil, 0o700), os.Mkdir(run, 0o700), os.Symlink(victim, evil+"/spool"), os.Symlink(victim, evil+"/log"), os.Symlink(victim, evil+"/damaged"),
		os.WriteFile(evil+"/lock", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"pid": 1, "mountpoint": mountpoint, "source": "\x1b[2Jb", "state_dir": h.base + "/evil", "log_file": "/x\x1b[2J", "socket": "../../x.sock"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(run+`/mnt-of\x2da\x2duser.json`, text, 0o600); err != nil {
		t.Fatal(err)
	}
	h.own(nobody, h.base+"/evil")
	h.own(nobody, run)
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"status", mountpoint}, {"umount", mountpoint}, {"umount", "--force", mountpoint}, {"doctor", "--anonymous", "--timeout", "1s"}} {
		out, _ := h.pailfs(args...)
		wantQuiet(t, strings.Join(args, " "), out)
		if strings.Join(args, " ") == "umount "+mountpoint && !strings.Contains(out, "belongs to user 65534") {
			t.Errorf("%v: %s", args, out)
		}
		unharmed()
	}
	for _, name := range []string{evil, evil + "/lock"} {
		fi, err := os.Lstat(name)
		if err != nil || fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%v %v", fi, err)
		}
	}
	if b, err := os.ReadFile(evil + "/lock"); err != nil || len(b) > 0 {
		t.Errorf("root has written %q: %v", b, err)
	}
}

// A credentials file that others can read is refused before any request, whichever way it is named.
func TestOpenCredentialsFilesAreRefused(t *testing.T) {
	h := newHost(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h.env = append(h.env, "PAILFS_ENDPOINT=http://"+l.Addr().String(), "PAILFS_REGION=KR1", "PAILFS_TIMEOUT=1s")
	const keys = "[default]\naws_access_key_id = AKIAPUBLIC\naws_secret_access_key = PLANTEDsecret\n"
	if err := errors.Join(os.Mkdir(h.base+"/home/.aws", 0o700), os.WriteFile(h.base+"/home/.aws/credentials", []byte(keys), 0o600), os.Chmod(h.base+"/home/.aws/credentials", 0o644),
		os.WriteFile(h.base+"/keys", []byte(keys), 0o600), os.Chmod(h.base+"/keys", 0o640), os.Chown(h.base+"/keys", 0, nobody),
		os.WriteFile(h.base+"/config.yaml", []byte("options:\n  access-key: AKIAPUBLIC\n  secret-key: PLANTEDsecret\n"), 0o600), os.Chmod(h.base+"/config.yaml", 0o604)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"bucket", "list"}, {"bucket", "list", "--credentials-file", h.base + "/keys"}, {"bucket", "list", "--config", h.base + "/config.yaml"}, {"mount", "b", h.mnt}} {
		out, code := h.pailfs(args...)
		if code == 0 || !strings.Contains(out, "chmod 600") || strings.Contains(out, "PLANTED") {
			t.Errorf("%v: code %d\n%s", args, code, out)
		}
	}
	if err := l.(*net.TCPListener).SetDeadline(unixEpoch); err != nil {
		t.Fatal(err)
	}
	if conn, err := l.Accept(); err == nil {
		conn.Close()
		t.Error("the store was asked")
	}
}
