package cli

import (
	"strings"
	"testing"
)

// Doctor says the same of a real store as its tests say of others: what is allowed is tried and taken away again, and each
// thing that is wrong is named with a remedy.
func TestDoctor(t *testing.T) {
	d := newDesk(t)
	d.expect(0, []string{"sign-in           accepted", "connection        to", "clock             agrees"}, "doctor")
	d.store.Put(t, d.bucket, "dir/file", []byte("x"), nil)
	before := d.store.Keys(t, d.bucket, "")
	d.expect(0, []string{"read              allowed", "write             allowed", "copy              allowed", "multipart         allowed",
		"all that was made is deleted", "1 object, all shown by a mount", "0 failed"}, "doctor", "--write", d.bucket)
	d.expect(0, []string{"only with --write"}, "doctor", d.bucket+"/dir")
	if after := d.store.Keys(t, d.bucket, ""); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("%q before, %q after", before, after)
	}
	d.expect(0, nil, "uploads", "list", d.bucket)
	d.expect(0, []string{"1 object, all shown by a mount"}, "doctor", "--keys", d.bucket)

	d.mount()
	d.expect(0, []string{"mounts            " + d.mnt + ": serving"}, "doctor")
	d.expect(0, nil, "umount", d.mnt)

	d.expect(1, []string{"no bucket nosuch", "bucket create nosuch"}, "doctor", "nosuch")
	d.expect(1, []string{"is not the region", "do: --region "}, "doctor", "--region", "JP1", d.bucket)
	right := d.env
	d.env = append(append([]string{}, right...), "AWS_SECRET_ACCESS_KEY=wrong")
	d.expect(1, []string{"does not know these credentials", "check access key and secret key"}, "doctor", d.bucket)
	d.env = right
	d.store.Stop(t)
	d.expect(1, []string{"refuses connections", "nothing listens there", "the store cannot be reached"}, "doctor", "--write", d.bucket)
	d.store.Start(t)
}
