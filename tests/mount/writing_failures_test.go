package mount

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

// Another client's version, stored while this mount had the file open, is kept beside the one written here.
func TestAConflictKeepsBothVersions(t *testing.T) {
	for name, c := range map[string]struct{ base, mine []byte }{
		"small": {[]byte("base"), []byte("mine!")},
		"large": {noise(1, 40<<20), noise(2, 40<<20+5)},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, d string) {
				w := writes(t, d, map[string][]byte{"f": c.base}, testenv.TTL(0), testenv.AllowLog("conflict", "store failed", "elsewhere"))
				f := open(t, w.path("f"), os.O_RDWR)
				fill(t, f, c.mine)
				put(t, w.s, w.bucket, "f", []byte("theirs"))
				err := f.Close()
				if d == inStore && !errors.Is(err, unix.ESTALE) || d == inJournal && err != nil {
					t.Errorf("close: %v", err)
				}
				if out, code := w.m.Command("flush", w.m.Dir); code != 0 {
					t.Logf("flush: %d %s", code, out)
				}
				w.bothVersions("f", []byte("theirs"), c.mine)
				if log := w.m.Log(); !strings.Contains(log, "conflict") {
					t.Error("the log says nothing of it")
				}
			})
		})
	}
}

// A refusal is an error to who waits for the store, and the bytes are kept and stored when it allows them again.
func TestARefusedPutIsKept(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		old := []byte("old")
		w := writes(t, d, map[string][]byte{"f": old, "g": noise(3, 20<<20)}, awayLog())
		w.p.Meet(storeproxy.Some(storeproxy.Fate{Act: storeproxy.Refuse, Status: 403, Code: "AccessDenied"}, 0,
			storeproxy.Put, storeproxy.Part, storeproxy.CreateUpload, storeproxy.CopyPart, storeproxy.Copy))
		for name, content := range map[string][]byte{"f": []byte("newer"), "g": noise(4, 20<<20)} {
			f := open(t, w.path(name), os.O_WRONLY|os.O_TRUNC)
			var err error
			if _, err = f.Write(content); err != nil {
				t.Errorf("write: %v", err)
			}
			synced := f.Sync()
			err = f.Close()
			if !errors.Is(synced, unix.EACCES) && !errors.Is(synced, unix.EIO) && !errors.Is(synced, unix.EPERM) {
				t.Errorf("%s: fsync: %v", name, synced)
			}
			if refused := errors.Is(err, unix.EACCES) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EPERM); refused != (d == inStore) {
				t.Errorf("%s: close: %v", name, err)
			}
		}
		w.holds(map[string][]byte{"f": old, "g": noise(3, 20<<20)})
		p, text := w.pendingNow()
		if p.Unsaved.Count != 2 || p.Unsaved.Failed != 2 {
			t.Errorf("the status: %s", text)
		}
		w.p.Meet(nil)
		w.flush()
		w.holds(map[string][]byte{"f": []byte("newer"), "g": noise(4, 20<<20)})
		w.noUploads()
	})
}

// What could not be stored is stored by itself when the store allows it again, and is there after a kill.
func TestAFailedPutIsStoredByTheNextMount(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, map[string][]byte{"f": []byte("old")}, awayLog(), testenv.Args("--timeout", "3s"))
		w.p.Meet(refusedWrites)
		err := os.WriteFile(w.path("f"), []byte("newer"), 0o644)
		if (err != nil) != (d == inStore) {
			t.Errorf("close: %v", err)
		}
		w.m.Kill()
		w.p.Meet(nil)
		w.again(d)
		sameBytes(t, "the file in the next mount", read(t, w.path("f")), []byte("newer"))
		w.flush()
		w.holds(map[string][]byte{"f": []byte("newer")})
	})
}

// Throttling, errors and broken connections cost time and nothing else.
func TestStormsPass(t *testing.T) {
	for name, fate := range map[string]storeproxy.Fate{
		"503 SlowDown":         {Act: storeproxy.Refuse, Status: 503, Code: "SlowDown"},
		"429":                  {Act: storeproxy.Refuse, Status: 429, Code: "TooManyRequests"},
		"500":                  {Act: storeproxy.Refuse, Status: 500, Code: "InternalError"},
		"reset":                {Act: storeproxy.Break},
		"done, then a reset":   {Act: storeproxy.DoneLost},
		"done, then a 500":     {Act: storeproxy.DoneFail, Status: 500, Code: "InternalError"},
		"an error in a 200":    {Act: storeproxy.Refuse, Status: 200, Code: "InternalError"},
		"done, error in a 200": {Act: storeproxy.DoneFail, Status: 200, Code: "InternalError"},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, d string) {
				want := map[string][]byte{"edit": noise(1, 40<<20), "moved": []byte("moved")}
				w := writes(t, d, want, awayLog())
				var n atomic.Int64
				var met sync.Map
				w.p.Meet(func(r storeproxy.Request) storeproxy.Fate {
					inBody := fate.Status == 200
					if inBody && !r.Ops(storeproxy.CompleteUpload, storeproxy.Copy, storeproxy.CopyPart) {
						return storeproxy.Fate{}
					}
					if r.Ops(storeproxy.Get, storeproxy.Head, storeproxy.List, storeproxy.Buckets) || n.Add(1)%3 != 1 {
						return storeproxy.Fate{}
					}
					// No request meets it so often that the error counts as the store's last word.
					times, _ := met.LoadOrStore(fmt.Sprint(r.Op, r.Key, r.Part), new(atomic.Int64))
					if times.(*atomic.Int64).Add(1) > 3 {
						return storeproxy.Fate{}
					}
					return fate
				})
				f := open(t, w.path("edit"), os.O_RDWR)
				want["edit"] = overwrite(t, f, bytes.Clone(want["edit"]), 20<<20, noise(2, 5000))
				closed(t, f)
				for i := range 20 {
					name := fmt.Sprintf("f%d", i)
					want[name] = noise(i, i*1000)
					write(t, w.path(name), want[name])
				}
				want["stream"] = noise(9, 50<<20)
				write(t, w.path("stream"), want["stream"])
				for _, err := range []error{os.Remove(w.path("f3")), os.Rename(w.path("moved"), w.path("there")), os.Chmod(w.path("f4"), 0o600)} {
					if err != nil {
						t.Error(err)
					}
				}
				want["there"] = want["moved"]
				delete(want, "moved")
				delete(want, "f3")
				w.stored(d)
				if w.p.Spoiled() == 0 {
					t.Error("no storm came")
				}
				w.p.Meet(nil)
				w.holds(want)
				w.m.Unmount()
				// An upload whose creation was not answered is found by the next mount.
				w.again(d)
				w.noUploads()
				w.holds(want)
			})
		})
	}
}

// A completion whose answer does not come has happened or has not: that is found out, and nothing is sent twice.
func TestACompletionWithoutAnAnswer(t *testing.T) {
	for name, fate := range map[string]storeproxy.Fate{
		"silence":            {Act: storeproxy.DoneHold},
		"reset":              {Act: storeproxy.DoneLost},
		"500":                {Act: storeproxy.DoneFail, Status: 500, Code: "InternalError"},
		"an error in 200":    {Act: storeproxy.DoneFail, Status: 200, Code: "InternalError"},
		"reset, not done":    {Act: storeproxy.Break},
		"an error, not done": {Act: storeproxy.Refuse, Status: 200, Code: "InternalError"},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, d string) {
				content := noise(1, 40<<20)
				w := writes(t, d, nil, awayLog(), testenv.Args("--timeout", "8s"))
				w.p.Meet(storeproxy.Some(fate, 1, storeproxy.CompleteUpload))
				write(t, w.path("f"), content)
				w.stored(d)
				all := w.took()
				if len(all.of(storeproxy.CreateUpload)) != 1 || all.sent() != int64(len(content)) {
					t.Errorf("%v", all)
				}
				w.holds(map[string][]byte{"f": content})
				w.m.Unmount()
				w.noUploads()
			})
		})
	}
}

// An upload that vanished in the store is begun anew from what is kept here; what is not here any more is an error to the
// writer, and nobody ever sees half of it.
func TestAnUploadThatVanished(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		content := noise(1, 64<<20)
		w := writes(t, d, nil, awayLog())
		f := open(t, w.path("f"), os.O_CREATE|os.O_WRONLY)
		fill(t, f, content[:40<<20])
		eventually(t, "a part is sent", func() bool { return len(requests(w.p.Peek()).of(storeproxy.Part).done()) > 0 })
		ups, err := w.s.Client.Uploads(t.Context(), w.bucket, "")
		if err != nil || len(ups) != 1 {
			t.Fatalf("uploads: %v, %v", ups, err)
		}
		if err := w.s.Client.AbortUpload(t.Context(), w.bucket, ups[0].Key, ups[0].ID); err != nil {
			t.Fatal(err)
		}
		w.p.Meet(vanished(ups[0].ID))
		_, err = f.Write(content[40<<20:])
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			t.Logf("the writer was told: %v", err)
			w.holds(nil)
			return
		}
		w.holds(map[string][]byte{"f": content})
		w.p.Meet(nil)
		// A part that was on its way when the upload was aborted makes it come back.
		if err := w.s.Client.AbortUpload(t.Context(), w.bucket, "f", ups[0].ID); err != nil && !isAbsent(err) {
			t.Fatal(err)
		}
		w.noUploads()
	})
}

// vanished answers what concerns an upload as a store does that has forgotten it (the embedded one completes it all the same
// and says that it is done).
func vanished(id string) func(storeproxy.Request) storeproxy.Fate {
	return func(r storeproxy.Request) storeproxy.Fate {
		if r.UploadID == id {
			return storeproxy.Fate{Act: storeproxy.Refuse, Status: 404, Code: "NoSuchUpload"}
		}
		return storeproxy.Fate{}
	}
}

func TestAnEditWhoseUploadVanished(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		content := noise(1, 40<<20)
		w := writes(t, d, map[string][]byte{"f": content}, awayLog())
		var id string
		var once sync.Once
		w.p.Meet(func(r storeproxy.Request) storeproxy.Fate {
			if r.Op != storeproxy.CompleteUpload {
				return storeproxy.Fate{}
			}
			once.Do(func() {
				id = r.UploadID
				if err := w.s.Client.AbortUpload(t.Context(), r.Bucket, r.Key, id); err != nil {
					t.Error(err)
				}
			})
			return vanished(id)(r)
		})
		f := open(t, w.path("f"), os.O_RDWR)
		content = overwrite(t, f, content, 20<<20, []byte("edit"))
		closed(t, f)
		w.stored(d)
		w.holds(map[string][]byte{"f": content})
		w.noUploads()
	})
}

// smallDisk is a file system of so many MiB.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	testenv.Require(t)
	return testenv.SmallDisk(t, mib<<20)
}

// A local disk that is full is an error to the writer, never half a file; what was stored stays, and there is room again
// when the file is gone.
func TestAFullLocalDisk(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		old := noise(1, 1<<20)
		state := smallDisk(t, 24)
		w := writes(t, d, map[string][]byte{"f": old}, testenv.State(state), awayLog(), testenv.AllowLog("no space"))
		gate := make(chan struct{})
		w.p.Meet(storeproxy.Some(storeproxy.Fate{Act: storeproxy.Wait, Gate: gate}, 0, storeproxy.Part, storeproxy.Put))
		f := open(t, w.path("f"), os.O_RDWR)
		var failed error
		for i := 63; i >= 0 && failed == nil; i-- { // from the end: no stream
			_, failed = f.WriteAt(noise(i, 1<<20), int64(i)<<20)
		}
		if !errors.Is(failed, syscall.ENOSPC) {
			t.Errorf("write: %v", failed)
		}
		close(gate)
		if err := f.Truncate(0); err != nil {
			t.Errorf("truncate: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Errorf("close of what is empty: %v", err)
		}
		w.p.Meet(nil)
		write(t, w.path("g"), noise(2, 3<<20))
		w.stored(d)
		w.holds(map[string][]byte{"f": {}, "g": noise(2, 3<<20)})
		w.noUploads()
	})
}

// In journal durability a full disk is an error of the close that finds it full, and what was acknowledged is stored.
func TestAFullJournal(t *testing.T) {
	state := smallDisk(t, 16)
	w := writes(t, inJournal, nil, testenv.State(state), awayLog(), testenv.AllowLog("no space"), testenv.Args("--timeout", "3s"))
	w.p.Meet(refusedWrites)
	want := map[string][]byte{}
	var failed error
	for i := 0; i < 400 && failed == nil; i++ {
		name := fmt.Sprintf("f%03d", i)
		content := noise(i, 100_000)
		if failed = os.WriteFile(w.path(name), content, 0o644); failed == nil {
			want[name] = content
		}
	}
	if !errors.Is(failed, syscall.ENOSPC) || len(want) < 50 {
		t.Errorf("after %d files: %v", len(want), failed)
	}
	w.p.Meet(nil)
	w.flush()
	for name, content := range want {
		sameBytes(t, name, object(t, w.s, w.bucket, name), content)
	}
	write(t, w.path("again"), noise(1, 100_000))
	w.flush()
	sameBytes(t, "written afterwards", object(t, w.s, w.bucket, "again"), noise(1, 100_000))
}
