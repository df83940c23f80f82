package soak

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// makeSource makes a tree of files on the local disk, such as people copy.
func (w *world) makeSource() {
	w.t.Helper()
	rnd := w.random()
	for i := range 40 {
		name := filepath.Join(w.source, fmt.Sprintf("d%d", i%4), fmt.Sprintf("file %02d", i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			w.t.Fatal(err)
		}
		size := rnd.IntN(64 << 10)
		if i == 7 {
			size = 3 << 20
		}
		if err := os.WriteFile(name, noise(uint64(i), size), 0o640+os.FileMode(i%2)*4); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.Symlink("d0/file 00", filepath.Join(w.source, "link")); err != nil {
		w.t.Fatal(err)
	}
}

// script runs a script in the worker's directory, with the source in $S. What it makes there it takes away again. The shell goes
// there by itself: until a child has its program, this process, and with it the proxies, may stand still (vfork).
func (x *worker) script(text string) error {
	const limit = 5 * time.Minute // of a whole script: each of its operations has the mount's deadline
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", `cd "$D"; `+text)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "S="+x.w.source, "D="+x.path(), "HOME="+x.home, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b.c", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b.c", "TEMPORARY="+storesOwn)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %.2000s", err, out)
	}
	return nil
}

// storesOwn are files that versitygw itself makes beside an object for a moment, where two requests store it at once: a listing may have them.
const storesOwn = ".*.sgwtmp.*"

func tar(x *worker) error {
	return x.script(`mkdir t; tar cf - -C "$S" . | tar xpf - -C t; diff -r --no-dereference -x "$TEMPORARY" "$S" t
		mkdir "$HOME/u"; tar cf - -C t . | tar xpf - -C "$HOME/u"; diff -r --no-dereference -x "$TEMPORARY" "$S" "$HOME/u"; rm -r t "$HOME/u"`)
}

func git(x *worker) error {
	return x.script(`git config --global --replace-all safe.directory '*'; git -c init.defaultBranch=main init -q r; cd r
		cp -r "$S"/. .; git add -A; git commit -qm one; echo more >> 'd1/file 01'; git mv 'd2/file 02' moved; git commit -qam two
		[ -z "$(git status --porcelain)" ]; git fsck --full 2>&1; git log --oneline | wc -l | grep -qx 2; cd ..; rm -rf r`)
}

func rsync(x *worker) error {
	return x.script(`rsync -a "$S/" c/; out=$(rsync -ai "$S/" c/); [ -z "$out" ] || { echo "again: $out"; exit 1; }
		echo other > 'c/d0/file 00'; rsync -ac "$S/" c/; diff -r --no-dereference -x "$TEMPORARY" "$S" c; rm -r c`)
}

func sqlite(x *worker) error {
	return x.script(`sqlite3 t.db "create table t(id integer primary key, v text);
		begin; with recursive c(x) as (select 1 union all select x+1 from c where x<3000) insert into t select x, 'value '||x from c; commit;"
		sqlite3 t.db "update t set v='changed' where id%100=0; delete from t where id>2900;"
		[ "$(sqlite3 t.db 'pragma integrity_check; select count(*) from t; select count(*) from t where v="changed"' | tr '\n' ' ')" = "ok 2900 29 " ]
		rm t.db`)
}

func fio(x *worker) error {
	return x.script(fmt.Sprintf(`fio --name=v --filename=v --size=6m --rw=randwrite --bsrange=4k-64k --verify=crc32c --do_verify=1 --verify_fatal=1 --verify_state_save=0 \
		--ioengine=psync --fallocate=none --fsync=64 --end_fsync=1 --randseed=%d --output="$HOME/fio" || { cat "$HOME/fio"; exit 1; }
		rm v`, x.rnd.Uint32()))
}
