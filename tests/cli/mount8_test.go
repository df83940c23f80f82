package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pailfs/tests/testenv"
)

// helperSetup puts the helper into /sbin, in a mount namespace of its own: there is no trace of it elsewhere. What was there
// stays, as links.
const helperSetup = `
sbin=$(readlink -f /sbin)
mkdir "$T/orig" "$T/sbin"
mount --bind "$sbin" "$T/orig"
for f in "$T/orig"/*; do ln -s "$f" "$T/sbin/"; done
ln -sf "$PAILFS" "$T/sbin/mount.pailfs"
ln -sf "$PAILFS" "$T/sbin/mount.fuse.pailfs"
mount --bind "$T/sbin" "$sbin"
cd /
try() { code=0; "$@" 2>&1 || code=$?; echo "code $code"; }
shown() { findmnt -n -o SOURCE,FSTYPE,OPTIONS --raw "$M"; }
bye() { "$PAILFS" umount "$M"; }
trap 'mountpoint -q "$M" && bye' EXIT
`

// mount8 runs a script with mount(8) and the helper, and returns what it printed. $O are the options that name the store, $B the
// bucket, $M the mount point, $T a directory; there is nothing about the store in the environment.
func (d *desk) mount8(script string) string {
	d.t.Helper()
	dir, err := filepath.EvalSymlinks(d.t.TempDir())
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := d.mount8In(dir, script)
	if err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// mount8In is mount8 with a directory that the caller has made, for scripts that go on while the test does something.
func (d *desk) mount8In(dir, script string) (string, error) {
	d.t.Helper()
	testenv.Programs(d.t, "unshare", "mount", "findmnt", "mountpoint")
	keys := "[default]\naws_access_key_id = " + d.store.AccessKey + "\naws_secret_access_key = " + d.store.SecretKey + "\n"
	if err := os.WriteFile(dir+"/keys", []byte(keys), 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-eu", "-c", helperSetup+script)
	for _, v := range d.env {
		if !strings.HasPrefix(v, "PAILFS_") && !strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "PAILFS_RUN_DIR=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "PAILFS="+testenv.Binary(d.t), "T="+dir, "M="+d.mnt, "B="+d.bucket, "LC_ALL=C",
		"O=endpoint="+d.store.Endpoint+",region="+d.store.Region+",timeout=5s,credentials_file="+dir+"/keys,state-dir="+d.state)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// wants compares line by line; a line that ends in "..." is a beginning. MNT and BKT stand for the mount point and the bucket.
func (d *desk) wants(got, want string) {
	d.t.Helper()
	want = strings.NewReplacer("MNT", d.mnt, "BKT", d.bucket).Replace(strings.TrimPrefix(want, "\n"))
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	same := len(gotLines) == len(wantLines)
	for i := 0; same && i < len(wantLines); i++ {
		start, open := strings.CutSuffix(wantLines[i], "...")
		same = gotLines[i] == wantLines[i] || open && strings.HasPrefix(gotLines[i], start)
	}
	if !same {
		d.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMountByType(t *testing.T) {
	d := newDesk(t)
	got := d.mount8(`
try mount -v -t pailfs "$B" "$M" -o "$O,noexec,_netdev,nofail,noauto,x-foo=1,comment=a"
shown
df --output=source "$M" | tail -1
echo hello > "$M/a"
bye
try mount -n -r -t fuse.pailfs "s3://$B/dir" "$M" -o "$O,user,exec"
shown
bye
try mount -w -t pailfs s3:// "$M" -o "$O,allow_other"
ls "$M"
shown
bye
`)
	d.wants(got, `
mount.pailfs: BKT mounted on MNT
code 0
BKT fuse.pailfs rw,nosuid,nodev,noexec,relatime,user_id=0,group_id=0,default_permissions...
BKT
pailfs: note: nothing is below BKT/dir/ yet...
code 0
s3://BKT/dir fuse.pailfs ro,nosuid,nodev,relatime,user_id=0,...
code 0
BKT
s3:// fuse.pailfs rw,nosuid,nodev,relatime,user_id=0,group_id=0,default_permissions,allow_other...
`)
	d.wantObject("a", "hello\n")
	if strings.Contains(got, d.store.SecretKey) {
		t.Error("a secret is shown")
	}
}

func TestMountAllOfFstab(t *testing.T) {
	d := newDesk(t)
	d.store.Put(t, d.bucket, "a b/x", []byte("x"), nil)
	got := d.mount8(`
"$PAILFS" fstab "$B/a b" "$M" -o "$O,ro,x-systemd.automount" > "$T/fstab"
cat "$T/fstab"
try mount -a -T "$T/fstab"
shown
cat "$M/x"; echo
try mount -a -v -T "$T/fstab"
bye
try mount -T "$T/fstab" "$M"
bye
"$PAILFS" mount --dry-run "$(cat "$T/fstab")" | grep -E '^(mount|shown|read-only|timeout) '
`)
	line, rest, _ := strings.Cut(got, "\n")
	if !strings.HasPrefix(line, "s3://"+d.bucket+`/a\040b `+d.mnt+" pailfs _netdev,x-systemd.automount,region="+d.store.Region+",endpoint="+d.store.Endpoint) || !strings.HasSuffix(line, " 0 0") {
		t.Errorf("%s", line)
	}
	d.wants(rest, `
code 0
s3://BKT/a\x20b fuse.pailfs ro,nosuid,nodev,...
x
MNT`+strings.Repeat(" ", max(0, 25-len(d.mnt)))+`: already mounted
code 0
code 0
mount          BKT/a b
shown as       s3://BKT/a b type fuse.pailfs (ro,nosuid,nodev)
read-only ...
timeout ...
`)
}

func TestRemount(t *testing.T) {
	d := newDesk(t)
	got := d.mount8(`
mount -t pailfs "$B" "$M" -o "$O"
echo one > "$M/a"
try mount -o remount,ro "$M"
shown
try sh -c 'echo two > "$M/b"'
try mount -o remount,rw,noexec "$M"
shown
echo three > "$M/c"
try "$PAILFS" mount -o remount,exec,timeout=5000ms "$M"
shown
try mount -o remount,metadata_ttl=9s "$M"
bye
mount -t pailfs "$B" "$M" -o "$O,ro"
try mount -o remount,rw "$M"
bye
try mount.pailfs "$B" "$M" -o remount,ro
`)
	d.wants(got, `
code 0
BKT fuse.pailfs ro,nosuid,nodev,...
sh: ...
code 2
code 0
BKT fuse.pailfs rw,nosuid,nodev,noexec,...
code 0
BKT fuse.pailfs rw,nosuid,nodev,relatime,...
mount.fuse.pailfs: cannot remount MNT: while it is mounted metadata_ttl cannot be changed
hint: ...
code 1
mount.fuse.pailfs: cannot remount MNT: it was mounted read-only, and its process can write nothing
hint: ...
code 1
mount.pailfs: cannot remount MNT: nothing is mounted there
hint: mount it without remount
code 32
`)
	d.wantObject("a", "one\n")
	d.wantObject("c", "three\n")
}

func TestTheHelperSaysWhy(t *testing.T) {
	d := newDesk(t)
	got := d.mount8(`
try mount -t pailfs nosuchbucket "$M" -o "$O"
try mount -t pailfs "$B" "$M/none" -o "$O"
try mount -t pailfs "$B" "$M" -o "$O,regoin=x"
try mount -f -s -v -t pailfs "$B" "$M" -o "$O,regoin=x"
try mount -t pailfs "$B" "$M" -o "$O,endpoint=http://127.0.0.1:1,timeout=1s"
mkdir "$T/$B"
cd "$T"
try mount -t pailfs "$B" "$M" -o "$O"
mountpoint -q "$M" || echo nothing is mounted
`)
	d.wants(got, `
mount.pailfs: cannot mount bucket nosuchbucket: no bucket nosuchbucket in ...
hint: ...
code 32
mount.pailfs: cannot mount on MNT/none: the directory does not exist
hint: mkdir -p MNT/none
code 32
mount.pailfs: -o regoin: unknown mount option, did you mean region?
hint: ...
code 1
mount.pailfs: unknown mount option passed over: regoin
mount.pailfs: BKT would be mounted on MNT
code 0
mount.pailfs: cannot mount bucket BKT: ...
hint: ...
code 32
mount.pailfs: "`+"..."+`
hint: mount(8) makes a path of a source that is also the name of a file in the working directory: write s3://BKT
code 1
nothing is mounted
`)
}

func TestANamedMount(t *testing.T) {
	d := newDesk(t)
	config := filepath.Dir(d.mnt) + "/config.yaml"
	text := "options:\n  metadata-ttl: 7s\nmounts:\n  box:\n    source: " + d.bucket + "\n    mountpoint: " + d.mnt +
		"\n    access-key: " + d.store.AccessKey + "\n    secret-key: " + d.store.SecretKey + "\n    o: noexec\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var env []string
	for _, v := range d.env {
		if !strings.HasPrefix(v, "AWS_") {
			env = append(env, v)
		}
	}
	d.env = append(env, "PAILFS_CONFIG="+config)
	d.expect(2, []string{"others can read it", "chmod 600 " + config}, "mount", "box")
	d.expect(2, []string{"others can read it"}, "config", "check")
	if err := os.Chmod(config, 0o600); err != nil {
		t.Fatal(err)
	}
	d.expect(0, []string{"mount      box: " + d.bucket + " on " + d.mnt, "ok"}, "config", "check")
	d.expect(0, []string{"named          box, " + config, "access keys    " + config + ":7", "7s                           " + config + ":2"}, "mount", "--dry-run", "box")
	if d.mounted() {
		t.Error("--dry-run has mounted")
	}
	d.expect(0, nil, "mount", "box")
	if err := d.write("a", "hello"); err != nil {
		t.Error(err)
	}
	d.wantObject("a", "hello")
	d.expect(0, []string{d.mnt + "\n  state       serving"}, "status", "box")
	d.expect(0, []string{d.mnt + ": ready"}, "status", "--ready", "box")
	d.expect(0, []string{"stored: "}, "flush", "box")
	d.expect(6, []string{"other: it is not on a mount"}, "flush", "other")
	d.expect(0, nil, "umount", "box")
	if d.mounted() {
		t.Error("still mounted")
	}
	d.expect(6, []string{"cannot unmount " + d.mnt + ": nothing is mounted there"}, "umount", "box")
	d.expect(6, []string{"cannot unmount other: nothing is mounted there"}, "umount", "other")
}
