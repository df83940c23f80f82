package posix

import (
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// readOnlyFamily has a mount of its own, with the file f, the directory d and the file d/f, for all rules together.
const readOnlyFamily = "read-only mount"

// TestReadOnly runs the rules of a mount with --read-only.
func TestReadOnly(t *testing.T) {
	testenv.Require(t)
	s := testenv.StoreIn(t, t.TempDir())
	bucket := s.Bucket(t)
	for key, content := range map[string]string{"f": "content", "d/": "", "d/f": "content"} {
		s.Put(t, bucket, key, []byte(content), nil)
	}
	m := mountedOn(t, s, bucket, "--read-only")
	for _, w := range []who{root, user} {
		p := startWorker(t, w)
		t.Cleanup(p.stop)
		for _, r := range readOnlyRules() {
			if !r.runsAs(w) {
				continue
			}
			t.Run(string(w)+"/"+r.name, func(t *testing.T) {
				o, err := p.run(task{Family: readOnlyFamily, Rule: r.name, Path: m.Dir})
				if err != nil {
					t.Fatal(err)
				}
				judge(t, readOnlyFamily+": "+r.name, w, o)
			})
		}
	}
}

// readOnlyRules are the EROFS of each call, and what goes on.
func readOnlyRules() []rule {
	const erofs = unix.EROFS
	return []rule{
		works("reading and listing", func(d *dir) {
			d.holds("d/f", "content")
			d.same("names", d.names("."), []string{"d", "f"})
		}),
		works("O_CREAT of a name that exists, to read", func(d *dir) { d.ok(d.opening(d.at("f"), unix.O_RDONLY|unix.O_CREAT, 0o644)) }),
		works("locks", func(d *dir) { d.ok(unix.Flock(d.open("f", unix.O_RDONLY), unix.LOCK_EX|unix.LOCK_NB)) }),
		works("a private mapping to write", func(d *dir) {
			copy(d.mapping(d.open("f", unix.O_RDONLY), 7, protWrite, unix.MAP_PRIVATE), "changed")
			d.holds("f", "content")
		}),
		works("statfs has ST_RDONLY", func(d *dir) {
			var st unix.Statfs_t
			d.ok(unix.Statfs(d.path, &st))
			d.same("flag", int64(st.Flags)&unix.ST_RDONLY, int64(unix.ST_RDONLY))
		}),
		fails(erofs, "open to write", func(d *dir) error { return d.opening(d.at("f"), unix.O_WRONLY, 0) }),
		fails(erofs, "open to read and write", func(d *dir) error { return d.opening(d.at("f"), unix.O_RDWR, 0) }),
		fails(erofs, "open with O_TRUNC", func(d *dir) error { return d.opening(d.at("f"), unix.O_RDONLY|unix.O_TRUNC, 0) }),
		fails(erofs, "open with O_CREAT of a new name", func(d *dir) error { return d.opening(d.at("new"), creates, 0o644) }),
		fails(unix.EEXIST, "open with O_CREAT and O_EXCL of a name that exists", func(d *dir) error {
			return d.opening(d.at("f"), creates|unix.O_EXCL, 0o644)
		}),
		fails(erofs, "truncate", func(d *dir) error { return unix.Truncate(d.at("f"), 0) }),
		fails(erofs, "mkdir", func(d *dir) error { return unix.Mkdir(d.at("new"), 0o755) }),
		fails(erofs, "mkdir of a name that exists is EEXIST or this", func(d *dir) error {
			if err := unix.Mkdir(d.at("d"), 0o755); err != unix.EEXIST {
				return err
			}
			return erofs
		}),
		fails(erofs, "rmdir", func(d *dir) error { return unix.Rmdir(d.at("d")) }),
		fails(erofs, "unlink", func(d *dir) error { return unix.Unlink(d.at("f")) }),
		fails(erofs, "rename", func(d *dir) error { return d.rename("f", "new") }),
		fails(erofs, "rename into a directory", func(d *dir) error { return d.rename("f", "d/new") }),
		fails(erofs, "link", func(d *dir) error { return unix.Link(d.at("f"), d.at("new")) }),
		fails(erofs, "symlink", func(d *dir) error { return unix.Symlink("f", d.at("new")) }),
		fails(erofs, "mknod", func(d *dir) error { return unix.Mkfifo(d.at("new"), 0o644) }),
		fails(erofs, "chmod", func(d *dir) error { return unix.Chmod(d.at("f"), 0o600) }),
		fails(erofs, "fchmod of a descriptor opened to read", func(d *dir) error { return unix.Fchmod(d.open("f", unix.O_RDONLY), 0o600) }),
		fails(erofs, "chown", func(d *dir) error { return unix.Chown(d.at("f"), -1, 0) }),
		fails(erofs, "utimensat", func(d *dir) error { return d.utimens("f", 0, old, old) }),
		fails(erofs, "setxattr", func(d *dir) error { return unix.Setxattr(d.at("f"), "user.a", []byte("1"), 0) }),
		fails(erofs, "removexattr", func(d *dir) error { return unix.Removexattr(d.at("f"), "user.a") }),
		fails(erofs, "access with W_OK", func(d *dir) error { return unix.Access(d.at("f"), unix.W_OK) }),
		fails(unix.EBADF, "fallocate: no descriptor can be open to write", func(d *dir) error {
			return unix.Fallocate(d.open("f", unix.O_RDONLY), 0, 0, 1)
		}),
		fails(unix.EACCES, "a shared mapping to write", func(d *dir) error {
			_, err := unix.Mmap(d.open("f", unix.O_RDONLY), 0, 7, protWrite, unix.MAP_SHARED)
			return err
		}),
	}
}
