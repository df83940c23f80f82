package mount

import (
	"testing"
)

// Programs that begin and end while the store is away find their files as they left them, and the store gets all of it
// when it is back.
func TestProgramsWhileTheStoreIsAway(t *testing.T) {
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
