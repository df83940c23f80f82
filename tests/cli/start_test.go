package cli

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

// A mount answers after one request on one connection, whatever is in the store and whatever an earlier mount has left on this host:
// with the handshakes of TCP and TLS these are three round trips.
func TestAMountBeginsWithOneRequest(t *testing.T) {
	d := newDesk(t)
	for i := range 30 {
		d.put(fmt.Sprintf("dir%d/file", i), "x")
	}
	link, near := d.link()
	for name, how := range map[string]struct {
		asks    string
		options []testenv.Option
	}{
		"a bucket":           {"List", []testenv.Option{testenv.Of(d.bucket)}},
		"a part of one":      {"List", []testenv.Option{testenv.Of(d.bucket + "/dir1")}},
		"a bucket, behind":   {"List", []testenv.Option{testenv.Of(d.bucket), testenv.Args("--durability", "journal", "--cache-size", "1GiB")}},
		"the account":        {"Buckets", nil},
		"the account, cache": {"Buckets", []testenv.Option{testenv.Args("--durability", "journal", "--cache-size", "1GiB")}},
	} {
		t.Run(name, func(t *testing.T) {
			base, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			dirs := map[string]string{}
			for _, dir := range []string{"mnt", "state", "cache"} {
				if dirs[dir] = filepath.Join(base, dir); os.Mkdir(dirs[dir], 0o700) != nil {
					t.Fatal(dirs[dir])
				}
			}
			for _, life := range []string{"first", "second"} {
				link.Reset()
				m := testenv.Mount(t, near, append([]testenv.Option{testenv.At(dirs["mnt"]), testenv.State(dirs["state"]), testenv.CacheHome(dirs["cache"])}, how.options...)...)
				asked := link.Counts()
				if want := map[string]int64{how.asks: 1}; !maps.Equal(asked.Requests, want) || asked.Connections != 1 {
					t.Errorf("%s mount: %v on %d connections, want %v on one", life, asked.Requests, asked.Connections, want)
				}
				find(t, m.Dir)
				m.Unmount()
			}
		})
	}
}

// find walks over all there is, with its attributes.
func find(t *testing.T, dir string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil {
			_, err = e.Info()
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// Nothing of what an earlier run has left is waited for: the mount answers, and a kept file can be read, while the store
// takes no request but the first.
func TestAMountDoesNotWaitForWhatWasLeft(t *testing.T) {
	d := newDesk(t)
	p, err := storeproxy.Open(d.store.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	d.env = append(d.env, "PAILFS_ENDPOINT="+p.Endpoint())
	d.pendingInJournal()
	pid := d.pid()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.awaitEnd(pid)
	d.store.Start(t)
	p.Take()
	gate, asked := make(chan struct{}), make(chan struct{}, 1)
	asked <- struct{}{}
	p.Meet(func(storeproxy.Request) storeproxy.Fate {
		select {
		case <-asked:
			return storeproxy.Fate{}
		default:
			return storeproxy.Fate{Act: storeproxy.Wait, Gate: gate}
		}
	})
	d.mount("--durability", "journal", "--timeout", "1m")
	if b, err := os.ReadFile(d.mnt + "/late"); err != nil || string(b) != "kept bytes" {
		t.Errorf("%q %v", b, err)
	}
	if got := p.Peek()[0]; got.Op != storeproxy.List || got.Status != 200 {
		t.Errorf("the first request: %v", got)
	}
	close(gate)
	if _, err := os.Stat(d.mnt + "/old"); !os.IsNotExist(err) {
		t.Errorf("what was deleted: %v", err)
	}
	d.flush(0, d.mnt)
	d.wantStored()
	d.expect(0, nil, "umount", d.mnt)
}
