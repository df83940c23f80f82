package mount

import (
	"os"
	"strings"
	"testing"
)

func TestCopiesBothWaysAreIdentical(t *testing.T) {
	s, bucket, m := openStore(t)
	local := t.TempDir()
	for name, size := range map[string]int{"empty": 0, "one": 1, "small": 5000, "block": 65536, "odd": 3<<20 + 17, "big": 40<<20 + 3} {
		content := noise(size, size)
		write(t, join(local, name), content)
		sh(t, local, "cp "+name+" "+join(m.Dir, name)+" && cp "+join(m.Dir, name)+" back-"+name+" && cmp "+name+" back-"+name)
		sameBytes(t, "the object "+name, object(t, s, bucket, name), content)
	}
	if got := head(t, s, bucket, "big").ETag; !strings.Contains(got, "-") {
		t.Errorf("40 MiB went up in one PUT: ETag %s", got)
	}
	m.Unmount()
	again := mount(t, s, bucket)
	sh(t, local, "for f in empty one small block odd big; do cmp $f "+again.Dir+"/$f; done")
}

func TestThreeHundredMegabytesByMultipart(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	s, bucket, m := openStore(t)
	local := t.TempDir()
	sh(t, local, `head -c 300000000 /dev/urandom > big; cp big `+m.Dir+`/big; sha256sum < big > sum`)
	m.Unmount()
	if o := head(t, s, bucket, "big"); o.Size != 300000000 || !strings.Contains(o.ETag, "-") {
		t.Errorf("the object has %d bytes and ETag %s", o.Size, o.ETag)
	}
	again := mount(t, s, bucket)
	sh(t, local, `sha256sum < `+again.Dir+`/big | cmp - sum`)
	if ups, err := s.Client.Uploads(t.Context(), bucket, ""); err != nil || len(ups) > 0 {
		t.Errorf("unfinished uploads left: %v, %v", ups, err)
	}
}

func TestLooksLikeADirectory(t *testing.T) {
	s, bucket, m := openStore(t)
	put(t, s, bucket, "docs/a.txt", []byte("hello\n"))
	put(t, s, bucket, "docs/deep/er/b.txt", []byte("deep\n"))
	put(t, s, bucket, "한글 파일.txt", []byte("안녕\n"))
	out := sh(t, m.Dir, `ls; cat docs/a.txt "한글 파일.txt"; find . -type f | sort; stat -c '%s %F %A' docs/a.txt docs; du -sb docs | cut -f1; df . | tail -1`)
	for _, want := range []string{"docs", "hello", "안녕", "./docs/deep/er/b.txt", "6 regular file -rw-r--r--", "directory drwxr-xr-x"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
}

func TestAppendEditMoveRemove(t *testing.T) {
	s, bucket, m := openStore(t)
	sh(t, m.Dir, `
		echo one > f; echo two >> f; echo three >> f
		[ "$(cat f)" = "one
two
three" ]
		sed -i s/two/zwei/ f
		grep -q zwei f; ! grep -q two f
		mkdir -p d/e; mv f d/e/g; [ ! -e f ]; [ -e d/e/g ]
		echo other > d/e/h; mv d/e/h d/e/g; [ "$(cat d/e/g)" = other ]
		mv d moved; [ "$(cat moved/e/g)" = other ]; [ ! -e d ]
		rm -r moved; [ ! -e moved ]
		mkdir x; rmdir x; [ ! -e x ]
		mkdir y; touch y/z; if rmdir y 2>/dev/null; then exit 1; fi; rm y/z; rmdir y`)
	if left := keys(t, s, bucket); len(left) > 0 {
		t.Errorf("objects left: %q", left)
	}
}

func TestVim(t *testing.T) {
	s, bucket, m := openStore(t)
	sh(t, m.Dir, `
		printf 'alpha\nbeta\n' > text
		vim -N -u NONE -es -c '%s/beta/gamma/' -c 'wq' text
		vim -N -u NONE -es -c 'normal Gonew line' -c 'wq' text
		printf 'alpha\ngamma\nnew line\n' | cmp - text`)
	sameBytes(t, "the object", object(t, s, bucket, "text"), []byte("alpha\ngamma\nnew line\n"))
	if left := keys(t, s, bucket); len(left) != 1 {
		t.Errorf("vim left %q", left)
	}
}

// sources fills a directory with a tree of text, links, modes and times, as a release's would be.
const sources = `mkdir -p src/lib/deep src/empty
	for i in $(seq 1 40); do echo "file $i" > src/lib/f$i.c; done
	echo '#!/bin/sh' > src/run.sh; chmod 755 src/run.sh
	head -c 300000 /dev/urandom > src/lib/deep/data.bin
	: > src/lib/deep/zero
	ln -s lib/f1.c src/link
	chmod 640 src/lib/f2.c
	touch -d '2021-02-03 04:05:06.123456789' src/lib/f3.c src/lib/deep
	echo korean > 'src/한 글'
`

func TestTarBothWays(t *testing.T) {
	_, _, m := openStore(t)
	local := t.TempDir()
	sh(t, local, sources+`tar cf a.tar src; tar xpf a.tar -C `+m.Dir+`
		diff -r --no-dereference src `+m.Dir+`/src
		(cd `+m.Dir+` && tar cf `+local+`/b.tar src)
		mkdir back; tar xpf b.tar -C back; diff -r --no-dereference src back/src
		stat -c '%a %Y %n' src/run.sh src/lib/f2.c src/lib/f3.c > want
		(cd back && stat -c '%a %Y %n' src/run.sh src/lib/f2.c src/lib/f3.c) | diff want -
		[ "$(readlink back/src/link)" = lib/f1.c ]`)
}

func TestRsyncTwiceTransfersNothingAgain(t *testing.T) {
	s, bucket, m := openStore(t)
	local := t.TempDir()
	sh(t, local, sources+`rsync -a src/ `+m.Dir+`/copy/`)
	check := `out=$(rsync -ai src/ %DIR%/copy/); [ -z "$out" ] || { echo "again: $out"; exit 1; }
		rsync -ac --dry-run -i src/ %DIR%/copy/ | { ! grep .; }`
	sh(t, local, strings.ReplaceAll(check, "%DIR%", m.Dir))
	m.Unmount()
	again := mount(t, s, bucket)
	sh(t, local, strings.ReplaceAll(check, "%DIR%", again.Dir))
}

func TestGit(t *testing.T) {
	s, bucket, m := openStore(t)
	local := t.TempDir()
	git := `export HOME=` + local + ` GIT_CONFIG_NOSYSTEM=1; git config --global user.email a@b.c; git config --global user.name n
		git config --global init.defaultBranch main; git config --global safe.directory '*'
	`
	sh(t, local, git+sources+`cd src; git init -q; git add -A; git commit -qm first
		git clone -q . `+m.Dir+`/clone
		cd `+m.Dir+`/clone; [ -z "$(git status --porcelain)" ]
		echo change >> run.sh; git commit -qam second; git log --oneline | wc -l | grep -qx 2
		git fsck --full; git gc -q; [ -z "$(git status --porcelain)" ]`)
	m.Unmount()
	again := mount(t, s, bucket)
	sh(t, again.Dir, git+`cd clone; git fsck --full; [ -z "$(git status --porcelain)" ]; git log --oneline | wc -l | grep -qx 2`)
}

func TestSQLite(t *testing.T) {
	s, bucket, m := openStore(t)
	sh(t, m.Dir, `sqlite3 t.db "create table t(id integer primary key, v text);
		begin; with recursive c(x) as (select 1 union all select x+1 from c where x<10000) insert into t select x, 'value '||x from c; commit;"
		[ "$(sqlite3 t.db 'select count(*), max(id) from t')" = "10000|10000" ]
		sqlite3 t.db "update t set v='changed' where id%100=0; delete from t where id>9000;"
		[ "$(sqlite3 t.db 'pragma integrity_check')" = ok ]`)
	m.Unmount()
	again := mount(t, s, bucket)
	sh(t, again.Dir, `[ "$(sqlite3 t.db 'pragma integrity_check; select count(*) from t; select count(*) from t where v="changed"' | tr '\n' ' ')" = "ok 9000 90 " ]`)
}

func TestUnzip(t *testing.T) {
	_, _, m := openStore(t)
	local := t.TempDir()
	sh(t, local, sources+`rm src/link; (cd src && zip -qr ../a.zip .); mkdir `+m.Dir+`/u; cd `+m.Dir+`/u; unzip -q `+local+`/a.zip
		diff -r `+local+`/src .; unzip -tq `+local+`/a.zip`)
}

func TestAttributesAreKeptAcrossMounts(t *testing.T) {
	s, bucket, m := openStore(t)
	sh(t, m.Dir, `echo x > f; chown 1234:2345 f; chmod 4750 f; touch -d '2019-08-07 06:05:04.987654321' f
		mkdir -m 2750 d; ln -s ../else/where l; mkfifo p`)
	want := sh(t, m.Dir, `stat -c '%n %a %u %g %F %y' f; stat -c '%n %a %F' d l p; readlink l`)
	if !strings.Contains(want, "f 4750 1234 2345 regular file 2019-08-07 06:05:04.987654321") {
		t.Errorf("stat says\n%s", want)
	}
	m.Unmount()
	again := mount(t, s, bucket)
	if got := sh(t, again.Dir, `stat -c '%n %a %u %g %F %y' f; stat -c '%n %a %F' d l p; readlink l`); got != want {
		t.Errorf("after the next mount:\n%s\nbefore:\n%s", got, want)
	}
	meta := head(t, s, bucket, "f").Headers.Meta
	if meta["mode"] != "35304" || meta["uid"] != "1234" || meta["gid"] != "2345" || meta["mtime"] != "1565157904.987654321" {
		t.Errorf("the object's metadata is %v: not what s3fs reads", meta)
	}
	if _, err := os.Stat(join(again.Dir, "nothing")); !os.IsNotExist(err) {
		t.Errorf("a missing name: %v", err)
	}
}
