//go:build rclone

package interop

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pailfs/tests/testenv"
)

// rclone is the program that PAILFS_TEST_RCLONE names, for the world's store.
func (w *world) rclone(args ...string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), os.Getenv("PAILFS_TEST_RCLONE"), append([]string{"--config", "/dev/null", "--metadata", "--no-unicode-normalization"}, args...)...)
	cmd.Env = append(w.env(), "RCLONE_S3_PROVIDER=Other", "RCLONE_S3_ENDPOINT="+w.s.Endpoint, "RCLONE_S3_REGION="+w.s.Region,
		"RCLONE_S3_ACCESS_KEY_ID="+w.s.AccessKey, "RCLONE_S3_SECRET_ACCESS_KEY="+w.s.SecretKey)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("rclone %q: %v\n%s", args, err, bytes.TrimSpace(out))
	}
}

// What rclone has copied into a bucket pailfs shows with its bytes, modes, owners and times, and the other way round.
func TestRcloneAndPailfsReadEachOther(t *testing.T) {
	if os.Getenv("PAILFS_TEST_RCLONE") == "" {
		testenv.Skip(t, "PAILFS_TEST_RCLONE names no rclone")
	}
	w := newWorld(t)
	m := w.mount()
	local := filepath.Join(w.home, "local")
	const look = `find . -mindepth 1 -type f -printf '%P %m %U:%G %.20T@ %s\n' | sort`
	for i, name := range w.names() {
		write(t, filepath.Join(local, "odd", name), noise(i, 10*i))
	}
	write(t, filepath.Join(local, "large"), noise(1, largeSize))
	sh(t, local, "chmod 640 large; chown 1000:1001 large; touch -d '2001-02-03 04:05:06.5' large; chmod 600 odd/case; touch -d '1999-12-31' odd/case")
	w.rclone("copy", local, ":s3:"+w.bucket+"/theirs")
	sh(t, "/", "diff -r '"+local+"' '"+m.Path("theirs")+"'")
	if got, want := sh(t, m.Path("theirs"), look), sh(t, local, look); got != want {
		t.Errorf("pailfs shows\n%s\nwant\n%s", got, want)
	}
	sh(t, m.Dir, "cp -a '"+local+"' ours")
	w.rclone("copy", ":s3:"+w.bucket+"/ours", filepath.Join(w.home, "back"))
	sh(t, "/", "diff -r '"+local+"' '"+filepath.Join(w.home, "back")+"'")
	// Its check compares sizes and MD5s, where the ETag is one.
	w.rclone("check", local, ":s3:"+w.bucket+"/ours")
}
