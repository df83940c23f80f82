package fs

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/s3client"
)

// rm of a file whose record cannot be dropped is no success: the next mount would store the file.
func TestUnlinkOfAFileWhoseRecordStays(t *testing.T) {
	r := newRig(t, true, never)
	r.file("k", "one")
	broken := error(syscall.EIO)
	r.disk.Store(&broken)
	h := header(1)
	if status := r.raw.Unlink(nil, &h, "k"); status != fuse.EIO {
		t.Errorf("unlink: %v", status)
	}
	r.disk.Store(nil)
	r.file("other", "two")
	r.drain()
	if keys := r.mem.Keys("b"); len(keys) != 1 {
		t.Errorf("keys %v", keys)
	}
}

// When a rename of what is stored returns, no power failure brings the old name back: what the journal had of it is gone for
// good. A rename of what was never stored waits for no disk.
func TestRenameSyncsTheJournal(t *testing.T) {
	for _, behind := range []bool{false, true} {
		r := newRig(t, behind, never)
		r.file("k", "one")
		before := r.kept.Load()
		r.rename("k", "m")
		want := int64(1)
		if behind {
			want = 0
		}
		if n := r.kept.Load() - before; n != want {
			t.Errorf("behind %v: %d syncs", behind, n)
		}
		r.drain()
		before = r.kept.Load()
		r.rename("m", "n")
		if n := r.kept.Load() - before; n != 1 {
			t.Errorf("behind %v, stored: %d syncs", behind, n)
		}
	}
}

// A file that somebody else removes while it is edited here: the writer gets ESTALE, the name is gone, what was written is
// beside it, and nothing stays unsaved.
func TestAFileThatSomebodyElseRemovesWhileItIsEdited(t *testing.T) {
	for _, behind := range []bool{false, true} {
		for _, by := range []string{"close", "fsync", "rename", "flush"} {
			t.Run(fmt.Sprint(by, behind), func(t *testing.T) {
				r := newRig(t, behind, never)
				r.mem.PutBytes("b", "k", []byte(strings.Repeat("x", 1<<20)), s3client.Headers{})
				f, status := r.open("k", syscall.O_RDWR)
				r.ok("open", status)
				r.write(f, 100, "mine")
				r.mem.Remove("b", "k")
				flush := func() fuse.Status { return r.raw.Flush(nil, &fuse.FlushIn{InHeader: header(f.node), Fh: f.fh}) }
				switch want := fuse.Status(syscall.ESTALE); {
				case by == "rename":
					if status := r.raw.Rename(nil, &fuse.RenameIn{InHeader: header(1), Newdir: 1}, "k", "m"); status != want {
						t.Errorf("rename: %v", status)
					}
				case by == "fsync":
					if status := r.raw.Fsync(nil, &fuse.FsyncIn{InHeader: header(f.node), Fh: f.fh}); status != want {
						t.Errorf("fsync: %v", status)
					}
				case behind: // by the journal
					r.ok("close", flush())
				default:
					if status := flush(); status != want {
						t.Errorf("close: %v", status)
					}
				}
				if by == "flush" || behind {
					_ = r.server.Flush(t.Context(), "", nil)
				}
				if u := r.files.Unsaved(); len(u) != 0 {
					t.Errorf("unsaved %+v", u)
				}
				r.missing("k")
				keys := r.mem.Keys("b")
				if len(keys) != 1 || !strings.HasPrefix(keys[0], "k.conflict-") {
					t.Fatalf("keys %v", keys)
				}
				if got, _ := r.stored(keys[0]); !strings.Contains(got, "mine") {
					t.Error("what was written is not there")
				}
				if n, status := r.raw.Write(nil, &fuse.WriteIn{InHeader: header(f.node), Fh: f.fh}, []byte("more")); status != fuse.Status(syscall.ESTALE) {
					t.Errorf("a later write: %d, %v", n, status)
				}
				r.file("k", "new")
				r.drain()
				if got, _ := r.stored("k"); got != "new" {
					t.Errorf("a new file: %q", got)
				}
				r.close(f)
			})
		}
	}
}
