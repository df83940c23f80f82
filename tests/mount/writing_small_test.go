package mount

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

// Many new files cost one PUT each, whoever writes them.
func TestNewFilesCostOnePutEach(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		const n, writers = 240, 16
		w := writes(t, d, nil, testenv.TTL(10*time.Minute))
		if err := os.Mkdir(w.path("d"), 0o755); err != nil {
			t.Fatal(err)
		}
		w.stored(d)
		w.took()
		want := map[string][]byte{}
		for i := range n {
			want[fmt.Sprintf("d/f%03d", i)] = noise(i, 16<<10)
		}
		var writing sync.WaitGroup
		for i := range writers {
			writing.Go(func() {
				for j := i; j < n; j += writers {
					name := fmt.Sprintf("d/f%03d", j)
					if err := os.WriteFile(w.path(name), want[name], 0o644); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		w.stored(d)
		all := w.took()
		if len(all.of(storeproxy.Put)) != n || len(all.but(storeproxy.Put)) > 5 || all.sent() != n*16<<10 {
			t.Errorf("%d new files: %v", n, all)
		}
		w.holds(want)
	})
}

// In journal durability what happens to a file before it is stored costs nothing of its own: the store is away meanwhile,
// so that nothing can be stored early.
func TestWhatIsNotStoredYetChangesForNothing(t *testing.T) {
	w := writes(t, inJournal, map[string][]byte{"old": []byte("x")}, testenv.TTL(10*time.Minute), awayLog())
	if err := os.Mkdir(w.path("d"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.flush()
	names(t, w.m.Dir)
	names(t, w.path("d"))
	w.took()
	w.p.Meet(storeproxy.Away)
	const n = 20
	stamp := time.Unix(1_600_000_000, 0)
	want := map[string][]byte{"old": []byte("x")}
	for i := range n {
		from, to := w.path(fmt.Sprintf("d/.tmp%d", i)), w.path(fmt.Sprintf("d/f%d", i))
		write(t, from, noise(i, 5000))
		for _, err := range []error{os.Chmod(from, 0o750), os.Chtimes(from, stamp, stamp), os.Rename(from, to)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		want[fmt.Sprintf("d/f%d", i)] = noise(i, 5000)
		gone := w.path(fmt.Sprintf("d/gone%d", i))
		write(t, gone, noise(i, 5000))
		if err := os.Remove(gone); err != nil {
			t.Fatal(err)
		}
	}
	// Each version replaces the one before it.
	for i := range 10 {
		write(t, w.path("d/again"), noise(1000+i, 3000))
	}
	want["d/again"] = noise(1009, 3000)
	w.p.Meet(nil)
	w.flush()
	all := w.took().done()
	if changes := all.but(storeproxy.Get, storeproxy.Head, storeproxy.List); len(changes) != n+1 || len(changes.of(storeproxy.Put)) != n+1 {
		t.Errorf("%d files were left in the end: %v", n+1, changes)
	}
	w.holds(want)
	for i := range n {
		o := head(t, w.s, w.bucket, fmt.Sprintf("d/f%d", i))
		if m := o.Headers.Meta; m["mode"] != "33256" || !strings.HasPrefix(m["mtime"], "1600000000") {
			t.Errorf("%s: %v", o.Key, m)
		}
		fi, err := os.Stat(w.path(o.Key))
		if err != nil || fi.Mode() != 0o750 || !fi.ModTime().Equal(stamp) {
			t.Errorf("%s: %v, %v", o.Key, fi, err)
		}
	}
}

// awayLog announces what a mount may say while the store is away or refuses.
func awayLog() testenv.Option {
	return testenv.AllowLog("does not answer", "failed", "no answer", "not stored", "tried again", "refused", "away", "again", "kept", "retr")
}

// tree makes a tree of about 300 small files in few directories.
const tree = `mkdir -p tree/a tree/b/c tree/d
	for i in $(seq 1 100); do
		echo "file $i" > tree/a/f$i.c; head -c $((i * 97)) /dev/urandom > tree/b/c/g$i.bin; seq $i > tree/d/h$i.txt
	done
	chmod 755 tree/a/f1.c tree/d/h7.txt; chmod 640 tree/b/c/g9.bin
	touch -d '2021-02-03 04:05:06.123456789' tree/a/f3.c tree/d/h50.txt
	`

// Programs that make many small files need hardly more requests than there are files.
func TestTreesOfSmallFilesCostHardlyMoreThanTheirPuts(t *testing.T) {
	modest(t)
	for name, c := range map[string]struct{ before, do, check string }{
		"tar x":     {"tar cf tree.tar tree", "tar xf tree.tar -C %M", "diff -r tree %M/tree; stat -c '%n %a %Y' tree/a/* tree/d/* > want; (cd %M; stat -c '%n %a %Y' tree/a/* tree/d/*) | diff want -"},
		"rsync -a":  {"", "rsync -a tree %M/", "diff -r tree %M/tree; [ -z \"$(rsync -ai tree %M/)\" ]"},
		"cp -r":     {"", "cp -r tree %M/", "diff -r tree %M/tree"},
		"cp -a":     {"", "cp -a tree %M/", "diff -r tree %M/tree; [ -z \"$(rsync -ai tree %M/)\" ]"},
		"unzip":     {"zip -qr tree.zip tree", "cd %M; unzip -q %L/tree.zip", "diff -r tree %M/tree"},
		"git clone": {gitHome + "cd tree; git init -q; git add -A; git commit -qm all", gitHome + "git clone -q file://%L/tree %M/tree", gitHome + "diff -r -x .git tree %M/tree; cd %M/tree; [ -z \"$(git status --porcelain)\" ]; git fsck --full"},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, d string) {
				w := writes(t, d, nil)
				local := t.TempDir()
				script := strings.NewReplacer("%M", w.m.Dir, "%L", local)
				sh(t, local, tree+script.Replace(c.before))
				w.took()
				sh(t, local, script.Replace(c.do))
				w.stored(d)
				all := w.took()
				files := 0
				for _, key := range keys(t, w.s, w.bucket) {
					if !strings.HasSuffix(key, "/") {
						files++
					}
				}
				t.Logf("%s durability: %d requests for %d files: %s", d, len(all), files, storeproxy.Label(all))
				if files < 300 {
					t.Errorf("%d files are in the bucket", files)
				}
				most := files*105/100 + 1
				if name == "git clone" {
					most += 30 // what it does once, however many files there are: looks, links, files that it renames
				}
				if d == inJournal && len(all) > most {
					t.Errorf("%d requests, want %d at most: %v", len(all), most, all.but(storeproxy.Put))
				}
				sh(t, local, script.Replace(c.check))
			})
		})
	}
}

const gitHome = `export HOME=$PWD GIT_CONFIG_NOSYSTEM=1; git config --global user.email a@b.c; git config --global user.name n
	git config --global init.defaultBranch main; git config --global safe.directory '*'
	`

// Deletes are gathered, and what was deleted is gone at once.
func TestRemovingManyFilesTakesFewRequests(t *testing.T) {
	const n = 300
	w := writes(t, inJournal, files("d/f", n, 100))
	names(t, w.path("d"))
	w.took()
	sh(t, w.m.Dir, "rm -r d; [ -z \"$(ls)\" ]; [ ! -e d ]")
	w.flush()
	if all := w.took(); len(all) > 32 {
		t.Errorf("rm -r of %d objects: %v", n, all)
	}
	if left := keys(t, w.s, w.bucket); len(left) > 0 {
		t.Errorf("the bucket has %q", left)
	}
	w.m.Unmount()
}

// Listings and lookups are right while deletions are on their way, and so is a file that takes a deleted one's name.
func TestDeletionsOnTheirWayAreSeen(t *testing.T) {
	w := writes(t, inJournal, files("d/f", 100, 10), testenv.TTL(0))
	gate := make(chan struct{})
	w.p.Meet(storeproxy.Some(storeproxy.Fate{Act: storeproxy.Wait, Gate: gate}, 0, storeproxy.Delete, storeproxy.DeleteMany))
	for i := range 60 {
		if err := os.Remove(w.path(fmt.Sprintf("d/f%03d", i))); err != nil {
			t.Fatal(err)
		}
	}
	write(t, w.path("d/f007"), []byte("another"))
	want := []string{"f007"}
	for i := 60; i < 100; i++ {
		want = append(want, fmt.Sprintf("f%03d", i))
	}
	if got := names(t, w.path("d")); !slices.Equal(got, want) {
		t.Errorf("while the deletions wait the listing is %q", got)
	}
	if _, err := os.Stat(w.path("d/f003")); !os.IsNotExist(err) {
		t.Errorf("a deleted file: %v", err)
	}
	if got := read(t, w.path("d/f007")); string(got) != "another" {
		t.Errorf("the new file reads %q", got)
	}
	close(gate)
	w.flush()
	if got := names(t, w.path("d")); !slices.Equal(got, want) {
		t.Errorf("afterwards the listing is %q", got)
	}
	for i, name := range want {
		want[i] = "d/" + name
	}
	if got := keys(t, w.s, w.bucket); !slices.Equal(got, want) {
		t.Errorf("the bucket has %q", got)
	}
	sameBytes(t, "the new object", object(t, w.s, w.bucket, "d/f007"), []byte("another"))
}

// An editor's save is one PUT, and at no time is there neither the old nor the new version.
func TestAnEditorsSave(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		old, fresh := noise(1, 20_000), noise(2, 21_000)
		w := writes(t, d, map[string][]byte{"text": old})
		names(t, w.m.Dir)
		read(t, w.path("text"))
		w.took()
		seen := w.observed("text", old, fresh)
		write(t, w.path(".text.swp"), fresh)
		if err := os.Chmod(w.path(".text.swp"), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(w.path(".text.swp"), w.path("text")); err != nil {
			t.Fatal(err)
		}
		sameBytes(t, "the file at once", read(t, w.path("text")), fresh)
		w.stored(d)
		if n := seen(); n[-1] > 0 {
			t.Errorf("another client saw it missing: %v", n)
		}
		all := w.took()
		if changes := all.but(storeproxy.Get, storeproxy.Head, storeproxy.List); d == inJournal && (len(changes) != 1 || len(changes.of(storeproxy.Put)) != 1) {
			t.Errorf("%v", all)
		} else {
			t.Logf("%s durability: %s", d, storeproxy.Label(all))
		}
		w.holds(map[string][]byte{"text": fresh})
	})
}
