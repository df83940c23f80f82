package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// A bench works on a mount, tells what the store was asked for each step, and leaves nothing behind; on any other directory as well.
func TestBench(t *testing.T) {
	d := newDesk(t)
	d.mount()
	var r struct {
		Mountpoint string
		Steps      []struct {
			Step                            string
			Seconds                         float64
			Files                           int
			Bytes, Requests, Sent, Received int64
		}
	}
	out := d.output(0, "bench", "--json", "--size", "9MiB", "--files", "12", "--file-size", "1000", "--jobs", "4", d.mnt)
	if err := json.Unmarshal(out, &r); err != nil || r.Mountpoint != d.mnt || len(r.Steps) != 6 {
		t.Fatalf("%v\n%s", err, out)
	}
	large, small, removed := r.Steps[0], r.Steps[2], r.Steps[5]
	if large.Files != 1 || large.Bytes != 9<<20 || large.Sent < 9<<20 || large.Requests == 0 || large.Seconds <= 0 || small.Files != 12 || small.Bytes != 12_000 ||
		small.Sent != 12_000 || removed.Requests == 0 {
		t.Errorf("%s", out)
	}
	d.expect(0, []string{d.mnt + " (a mount of pailfs): a file of 1 MiB, and 2 of 64 KiB, 16 at once", "\n  large file written ", "files/s  store: ", "\n  all removed"},
		"bench", "--size", "1MiB", "--files", "2", d.mnt)
	if left := d.store.Keys(t, d.bucket, ""); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	elsewhere := t.TempDir()
	d.expect(0, []string{"(no mount of pailfs)"}, "bench", "--size", "1", "--files", "1", "--file-size", "0", elsewhere)
	if left, err := os.ReadDir(elsewhere); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
	d.expect(5, []string{"pailfs: bench: ", "no such file"}, "bench", d.mnt+"/nowhere")
	for args, want := range map[string]string{"": "one argument is needed", "--files 0 .": "--files: \"0\" is no number between", "--jobs x .": "--jobs", "--size 0 .": "--size: 0 is not between",
		"--file-size 2GiB .": "--file-size: "} {
		d.expect(2, []string{"pailfs: bench: " + want}, append([]string{"bench"}, strings.Fields(args)...)...)
	}
	d.expect(0, nil, "umount", d.mnt)
}
