package mount

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

// Programs that begin and end while the store is away find their files as they left them, and the store gets all of it
// when it is back.
func TestProgramsWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	t.Run("unzip", func(t *testing.T) {
		w := withdraw(t, nil)
		src := t.TempDir()
		sh(t, src, `mkdir -p in/a/b in/empty; for i in $(seq 40); do echo "file $i" > in/a/$i; head -c 30000 /dev/urandom > in/a/b/$i; done
			ln -s ../a/1 in/empty/link; chmod 640 in/a/7; zip -qry in.zip in`)
		sh(t, w.m.Dir, `ls -la`)
		w.leave()
		sh(t, w.m.Dir, `unzip -q `+src+`/in.zip && diff -r --no-dereference `+src+`/in in && chmod 600 in/a/8 && unzip -qo `+src+`/in.zip`)
		w.comeBack()
		w.flush()
		sh(t, w.m.Dir, `diff -r --no-dereference `+src+`/in in; test "$(stat -c %a in/a/7)" = 640`)
	})
	t.Run("git", func(t *testing.T) {
		w := withdraw(t, nil)
		sh(t, w.m.Dir, `ls -la`)
		w.leave()
		sh(t, w.m.Dir, `export HOME=`+t.TempDir()+` GIT_CONFIG_NOSYSTEM=1
			git init -q repo && cd repo && git config user.email a@b && git config user.name n && git config gc.autoDetach false && git config core.fsync none # fsync needs the store
			for i in $(seq 15); do echo $i > f$i; git add . ; git commit -qm $i; done
			git gc -q && git repack -adq && git fsck --strict && test "$(git log --oneline | wc -l)" = 15`)
		w.comeBack()
		w.flush()
		sh(t, w.m.Dir, `cd repo && git fsck --strict && git status --porcelain`)
	})
}

// df and stat of the mount point ask nobody, also when all that was known is old: a store that says nothing and one that is away
// hold up neither, and no script that looks at its mounts.
func TestTheMountPointItselfNeedsNoStore(t *testing.T) {
	silent := func(storeproxy.Request) storeproxy.Fate { return storeproxy.Fate{Act: storeproxy.Hold} }
	for name, where := range map[string]func(bucket string) string{
		"a bucket":      func(bucket string) string { return bucket },
		"a part of one": func(bucket string) string { return bucket + "/d" },
		"the account":   func(string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			w := &writing{t: t, s: start(t)}
			w.bucket = w.s.Bucket(t)
			putAll(t, w.s, w.bucket, map[string][]byte{"d/f": []byte("content")})
			w.behind()
			w.m = mount(t, w.far, where(w.bucket), testenv.TTL(shortTTL), testenv.Args("--timeout", "2s"), awayLog())
			look := func(when string) {
				t.Helper()
				fi, err := os.Stat(w.m.Dir)
				if err != nil || !fi.IsDir() {
					t.Errorf("%s: stat: %v, %v", when, fi, err)
				}
				var st unix.Statfs_t
				if err := unix.Statfs(w.m.Dir, &st); err != nil || st.Blocks == 0 || st.Bavail == 0 {
					t.Errorf("%s: statfs: %+v, %v", when, st, err)
				}
				sh(t, "/", "stat "+w.m.Dir+"; df "+w.m.Dir+"; mountpoint "+w.m.Dir)
			}
			names(t, w.m.Dir)
			for when, fate := range map[string]func(storeproxy.Request) storeproxy.Fate{"silent": silent, "away": storeproxy.Away} {
				w.p.Meet(fate)
				w.took()
				outlive()
				look(when)
				if all := w.p.Peek(); len(all) > 0 {
					t.Errorf("%s: the store was asked %v", when, requests(all))
				}
			}
			// Such questions are counted, and an absence that is known changes nothing.
			if _, err := os.Stat(w.m.Path("never-asked")); err == nil || os.IsNotExist(err) {
				t.Errorf("a name that nobody asked for before: %v", err)
			}
			if len(w.p.Peek()) == 0 {
				t.Error("nobody was asked for a name")
			}
			look("known to be away")
		})
	}
}
