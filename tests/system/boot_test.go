//go:build system

package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pailfs/tests/testenv"
)

// rig is a machine that mounts a bucket in four ways: a line of fstab, an automount, a named mount served by pailfs@box, and
// a mount unit.
type rig struct {
	*machine
	bucket  string
	options string
	whole   *testing.T // the store ends with it, not with a part
}

// patience is the machine's --timeout: how long nothing may move before a mount gives up what is not stored.
const patience = "12s"

func newRig(t *testing.T) *rig {
	t.Helper()
	store := testenv.StoreIn(t, t.TempDir())
	options := fmt.Sprintf("endpoint=%s,region=%s,timeout=%s,credentials_file=/etc/pailfs/keys", store.Endpoint, store.Region, patience)
	r := &rig{newMachine(t, store), store.Bucket(t), options, t}
	r.file("/etc/fstab", 0o644, strings.NewReplacer("BUCKET", r.bucket, "OPTIONS", options).Replace(`
s3://BUCKET/fstab /mnt/fstab pailfs _netdev,nofail,durability=journal,OPTIONS 0 0
s3://BUCKET/auto /mnt/auto pailfs _netdev,nofail,noauto,x-systemd.automount,OPTIONS 0 0
`))
	keys := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", store.AccessKey, store.SecretKey)
	r.file("/etc/pailfs/keys", 0o600, keys)
	// pailfs@box gets its keys by LoadCredential= and from nowhere else.
	r.file("/etc/pailfs/credentials", 0o600, keys)
	r.file("/etc/pailfs/config.yaml", 0o644, fmt.Sprintf("mounts:\n  box:\n    source: %s/box\n    mountpoint: /mnt/box\n    endpoint: %s\n"+
		"    region: %s\n    timeout: %s\n    durability: journal\n    allow-other: true\n", r.bucket, store.Endpoint, store.Region, patience))
	for _, dir := range []string{"box", "fstab", "auto", "photos"} {
		r.host("mkdir", "-p", r.dir+"/mnt/"+dir)
	}
	r.host("systemctl", "--quiet", "--root="+r.dir, "enable", "pailfs@box")
	return r
}

// wantObjects fails the test unless the store has files of these names under a prefix, each with its own name in it.
func (r *rig) wantObjects(prefix string, names ...string) {
	r.t.Helper()
	for _, name := range names {
		if o, ok := r.store.Head(r.t, r.bucket, prefix+"/"+name); !ok || o.Size != int64(len(name)+1) {
			r.t.Errorf("the store has not got %s/%s: %+v", prefix, name, o)
		}
	}
}

// write makes files, each with its own name in it.
func (r *rig) write(dir string, names ...string) {
	r.t.Helper()
	r.sh(fmt.Sprintf("cd %s; for f in %s; do echo $f >$f; done", dir, strings.Join(names, " ")))
}

// writeAway lets the store go and then writes files that were opened before: of a name that nobody knows a mount has to ask
// the store. Both mounts have journal durability: the files are closed without an error.
func (r *rig) writeAway(dir string, names ...string) {
	r.t.Helper()
	r.sh("rm -f /tmp/open /tmp/away")
	script := "cd " + dir + "\n"
	for i, name := range names {
		script += fmt.Sprintf("exec %d>%s\n", 3+i, name)
	}
	script += "touch /tmp/open; until [ -e /tmp/away ]; do sleep 0.02; done\n"
	for i, name := range names {
		script += fmt.Sprintf("echo %s >&%d; exec %d>&-\n", filepath.Base(name), 3+i, 3+i)
	}
	written := r.begin(script)
	r.await("the files are open", bootTimeout, func() bool { _, err := r.try("test", "-e", "/tmp/open"); return err == nil })
	r.store.Stop(r.whole)
	r.sh("touch /tmp/away")
	if out := <-written; out != "" {
		r.t.Fatalf("writing while the store is away: %s", out)
	}
}

// TestAHost is the life of a host: every part begins where the one before has ended.
func TestAHost(t *testing.T) {
	r := newRig(t)
	for _, part := range []struct {
		name string
		run  func(*rig, *testing.T)
	}{
		{"BootWithoutAStore", (*rig).bootWithoutAStore},
		{"TheStoreComes", (*rig).theStoreComes},
		{"Reload", (*rig).reload},
		{"StopWithPendingUploads", (*rig).stopWithPendingUploads},
		{"Umount", (*rig).umount},
		{"MountUnit", (*rig).mountUnit},
		{"Units", (*rig).units},
		{"Kill", (*rig).kill9},
		{"Watchdog", (*rig).watchdog},
		{"Daemon", (*rig).inTheBackground},
		{"Namespace", (*rig).namespace},
		{"Reboot", (*rig).rebootWithPendingData},
		{"PowerOff", (*rig).powerOff},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			outer := r.t
			r.t = t
			defer func() { r.t = outer }()
			part.run(r, t)
		}) {
			return
		}
	}
}

// The host comes up although the store is away; what it mounts at boot has failed, or is tried again.
func (r *rig) bootWithoutAStore(t *testing.T) {
	r.store.Stop(r.whole)
	if state := r.boot(); state != "degraded" {
		t.Errorf("the machine is %s", state)
	}
	if got := r.show("multi-user.target", "ActiveState"); got != "active" {
		t.Errorf("multi-user.target is %s", got)
	}
	if got := r.show("mnt-fstab.mount", "Result"); got != "exit-code" {
		t.Errorf("mnt-fstab.mount has ended with %q", got)
	}
	r.awaitShow("pailfs@box", "StatusText", "refuses connections")
	if got := r.show("mnt-auto.automount", "ActiveState"); got != "active" {
		t.Errorf("the automount is %s", got)
	}
	if out, err := r.try("ls", "/mnt/auto"); err == nil {
		t.Errorf("without a store /mnt/auto shows %q", out)
	}
}

// When the store is there, everything comes up by itself, but the line of fstab.
func (r *rig) theStoreComes(t *testing.T) {
	r.store.Start(r.whole)
	r.awaitShow("pailfs@box", "ActiveState", "active")
	r.awaitShow("pailfs@box", "StatusText", "everything is stored")
	r.write("/mnt/box", "a", "b")
	r.sh("pailfs flush /mnt/box")
	r.wantObjects("box", "a", "b")
	r.write("/mnt/auto", "c")
	r.wantObjects("auto", "c")
	r.sh("mount /mnt/fstab")
	r.awaitShow("mnt-fstab.mount", "ActiveState", "active")
	r.write("/mnt/fstab", "d")
	r.sh("pailfs flush /mnt/fstab")
	r.wantObjects("fstab", "d")
	// The keys came from the unit, and the mount is seen by all.
	if got := r.sh("tr '\\0' '\\n' </proc/" + r.show("pailfs@box", "MainPID") + "/environ"); !strings.Contains(got, "CREDENTIALS_DIRECTORY=/run/credentials/pailfs@box.service") {
		t.Errorf("environment: %s", got)
	}
	// The journal knows how grave each line is.
	said, grave := r.sh("journalctl --no-pager -o cat -p info -u pailfs@box"), r.sh("journalctl --no-pager -o cat -p warning -u pailfs@box")
	if !strings.Contains(said, "level=INFO msg=mounted ") || strings.Contains(said, " time=") || strings.Contains(said, "<6>") || strings.Contains(grave, "msg=mounted") ||
		!strings.Contains(grave, "mount failed") {
		t.Errorf("the journal has\n%s\nand of warnings\n%s", said, grave)
	}
	if got := r.sh("findmnt -n -o FSTYPE,SOURCE /mnt/box"); strings.Join(strings.Fields(got), " ") != "fuse.pailfs "+r.bucket+"/box" {
		t.Errorf("%q", got)
	}
}

func (r *rig) reload(t *testing.T) {
	pid := r.show("pailfs@box", "MainPID")
	r.sh("systemctl reload pailfs@box")
	if got := r.show("pailfs@box", "ActiveState"); got != "active" || r.show("pailfs@box", "MainPID") != pid {
		t.Errorf("after a reload it is %s", got)
	}
	r.write("/mnt/box", "after-reload")
}

// Stopping a service that has something to store waits for the store and loses nothing. The status says what it waits for.
func (r *rig) stopWithPendingUploads(t *testing.T) {
	r.sh("pailfs flush /mnt/box")
	r.writeAway("/mnt/box", "s1", "s2", "s3")
	r.awaitShow("pailfs@box", "StatusText", "to be stored: 3 files")
	stopped := r.begin("systemctl stop pailfs@box")
	r.awaitShow("pailfs@box", "ActiveState", "deactivating")
	r.awaitShow("pailfs@box", "StatusText", "storing what is left: 0 B of 9 B")
	r.store.Start(r.whole)
	if out := <-stopped; out != "" {
		t.Errorf("systemctl stop says %q", out)
	}
	r.wantObjects("box", "s1", "s2", "s3", "after-reload")
	if result, text := r.show("pailfs@box", "Result"), r.show("pailfs@box", "StatusText"); result != "success" || !strings.Contains(text, "everything is stored") {
		t.Errorf("it has ended with %s: %s", result, text)
	}
	r.sh("systemctl start pailfs@box")
}

// umount(8) returns when everything is stored.
func (r *rig) umount(t *testing.T) {
	r.writeAway("/mnt/fstab", "u1", "u2")
	unmounted := r.begin("umount /mnt/fstab 2>&1; echo code $?")
	r.await("/mnt/fstab is unmounted", bootTimeout, func() bool { _, err := r.try("mountpoint", "-q", "/mnt/fstab"); return err != nil })
	if got := r.sh("pailfs status /mnt/fstab"); !strings.Contains(got, "draining: unmounted, storing what is left") {
		t.Error(got)
	}
	select {
	case out := <-unmounted:
		t.Errorf("umount has not waited: %s", out)
	default:
	}
	r.store.Start(r.whole)
	if out := <-unmounted; !strings.HasSuffix(out, "code 0\n") {
		t.Errorf("umount says %q", out)
	}
	r.wantObjects("fstab", "u1", "u2")
}

// So does systemd's, for a mount unit.
func (r *rig) mountUnit(t *testing.T) {
	r.sh("systemctl start mnt-fstab.mount")
	r.writeAway("/mnt/fstab", "v1", "v2")
	stopped := r.begin("systemctl stop mnt-fstab.mount")
	r.await("/mnt/fstab is unmounted", bootTimeout, func() bool { _, err := r.try("mountpoint", "-q", "/mnt/fstab"); return err != nil })
	select {
	case out := <-stopped:
		t.Errorf("systemctl stop has not waited: %s", out)
	default:
	}
	r.store.Start(r.whole)
	if out := <-stopped; out != "" {
		t.Errorf("systemctl stop says %q", out)
	}
	r.wantObjects("fstab", "v1", "v2")
	r.sh("systemctl start mnt-fstab.mount")
}

// The units of contrib, with this rig's bucket and options: the first who looks mounts.
func (r *rig) units(t *testing.T) {
	for _, name := range []string{"mnt-photos.mount", "mnt-photos.automount"} {
		text, err := os.ReadFile(filepath.Join(testenv.Root(t), "contrib/systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		r.file("/etc/systemd/system/"+name, 0o644, strings.NewReplacer("What=s3://photos", "What=s3://"+r.bucket+"/photos",
			"region=KR1,credentials_file=/etc/pailfs/credentials", r.options).Replace(string(text)))
	}
	r.sh("systemctl daemon-reload; systemctl start mnt-photos.automount")
	if got := r.show("mnt-photos.mount", "ActiveState"); got != "inactive" {
		t.Errorf("before anybody has looked mnt-photos.mount is %s", got)
	}
	r.write("/mnt/photos", "x1")
	if got := r.sh("findmnt -n -t fuse.pailfs -o SOURCE /mnt/photos"); strings.TrimSpace(got) != "s3://"+r.bucket+"/photos" {
		t.Errorf("%q is mounted", got)
	}
	r.sh("systemctl stop mnt-photos.automount mnt-photos.mount")
	r.wantObjects("photos", "x1")
}

// A crash: the service comes back, over its dead mount point, and stores what the other has left.
func (r *rig) kill9(t *testing.T) {
	r.writeAway("/mnt/box", "k1", "k2", "k3")
	pid := r.show("pailfs@box", "MainPID")
	r.sh("kill -9 " + pid)
	r.await("the service comes back", bootTimeout, func() bool { return r.show("pailfs@box", "MainPID") != pid })
	r.store.Start(r.whole)
	r.awaitShow("pailfs@box", "ActiveState", "active")
	r.sh("ls /mnt/box/k1; pailfs flush /mnt/box")
	r.wantObjects("box", "k1", "k2", "k3")
}

// A process that hangs is ended by the watchdog, and comes back.
func (r *rig) watchdog(t *testing.T) {
	r.file("/etc/systemd/system/pailfs@box.service.d/watchdog.conf", 0o644, "[Service]\nWatchdogSec=3s\nTimeoutAbortSec=3s\n")
	r.sh("systemctl daemon-reload; systemctl restart pailfs@box")
	r.write("/mnt/box", "w1")
	pid := r.show("pailfs@box", "MainPID")
	r.sh("sleep 7") // it lives longer than the watchdog waits
	if got := r.show("pailfs@box", "MainPID"); got != pid {
		t.Errorf("a healthy mount was ended: %s, %s", pid, got)
	}
	r.sh("kill -STOP " + pid)
	r.await("the watchdog ends it", bootTimeout, func() bool { got := r.show("pailfs@box", "MainPID"); return got != pid && got != "0" })
	r.awaitShow("pailfs@box", "ActiveState", "active")
	if got := r.sh("journalctl --no-pager -u pailfs@box"); !strings.Contains(got, "Watchdog timeout") {
		t.Errorf("the journal does not name the watchdog:\n%s", got)
	}
	r.sh("ls /mnt/box/w1; rm /etc/systemd/system/pailfs@box.service.d/watchdog.conf; systemctl daemon-reload; systemctl restart pailfs@box")
}

// Without --foreground the unit's process does not go to the background: it is the one that serves.
func (r *rig) inTheBackground(t *testing.T) {
	r.file("/etc/systemd/system/pailfs@box.service.d/daemon.conf", 0o644, "[Service]\nExecStart=\nExecStart=/usr/local/bin/pailfs mount box\n")
	r.sh("systemctl daemon-reload; systemctl restart pailfs@box")
	pid := r.show("pailfs@box", "MainPID")
	if got := strings.Fields(r.sh("pailfs status --json /mnt/box | tr -d ',' | grep '\"pid\"'")); len(got) != 2 || got[1] != pid {
		t.Errorf("%v serves the mount, %s is the unit's", got, pid)
	}
	r.awaitShow("pailfs@box", "StatusText", "everything is stored")
	r.write("/mnt/box", "d1")
	r.sh("systemctl stop pailfs@box")
	r.wantObjects("box", "d1")
	r.sh("rm /etc/systemd/system/pailfs@box.service.d/daemon.conf; systemctl daemon-reload")
}

// A unit with a mount namespace of its own hides its mount, and the log says so, where the process may look at init.
func (r *rig) namespace(t *testing.T) {
	r.file("/etc/systemd/system/pailfs@box.service.d/hidden.conf", 0o644, "[Service]\nProtectSystem=full\nCapabilityBoundingSet=\nCapabilityBoundingSet=~\n")
	r.sh("systemctl daemon-reload; systemctl restart pailfs@box")
	if _, err := r.try("mountpoint", "-q", "/mnt/box"); err == nil {
		t.Error("the mount is seen: contrib/systemd says that it is not")
	}
	if got := r.sh("journalctl --no-pager -u pailfs@box"); !strings.Contains(got, "other processes do not see the mount") {
		t.Errorf("the journal does not say it:\n%s", got)
	}
	r.sh("rm /etc/systemd/system/pailfs@box.service.d/hidden.conf; systemctl daemon-reload; systemctl restart pailfs@box; mountpoint -q /mnt/box")
}

// A reboot while the store is away: what was not stored is in the journal, and the next boot stores it.
func (r *rig) rebootWithPendingData(t *testing.T) {
	r.writeAway("/mnt/fstab", "r4", "/mnt/box/r1", "/mnt/box/r2", "/mnt/box/r3")
	r.shutdown("reboot")
	r.store.Start(r.whole)
	for _, key := range []string{"box/r1", "fstab/r4"} {
		if o, _ := r.store.Head(t, r.bucket, key); o.Size > 0 { // empty it may have been stored when it was opened
			t.Errorf("%s was stored without a store", key)
		}
	}
	if state := r.boot(); state != "running" {
		t.Errorf("the machine is %s\n%s", state, r.state())
	}
	r.sh("cat /mnt/box/r1 /mnt/fstab/r4; pailfs flush /mnt/box /mnt/fstab")
	r.wantObjects("box", "r1", "r2", "r3")
	r.wantObjects("fstab", "r4")
}

// A machine that is switched off stores what it has before the network goes.
func (r *rig) powerOff(t *testing.T) {
	r.write("/mnt/box", "p1", "p2")
	r.write("/mnt/fstab", "p3")
	r.write("/mnt/auto", "p4")
	r.shutdown("poweroff")
	r.wantObjects("box", "p1", "p2")
	r.wantObjects("fstab", "p3")
	r.wantObjects("auto", "p4")
}
