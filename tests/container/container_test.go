//go:build container

package container

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// patience bounds one command, and one thing that is waited for.
const patience = time.Minute

// pod is a few containers with a volume whose mounts they share, a store, and podman's own directories, so that nothing of it
// is left on the host.
type pod struct {
	t      *testing.T
	store  *testenv.Server
	bucket string
	dir    string // short: podman makes sockets below it
	volume string
}

const (
	image = "localhost/pailfs:test"
	// programs is an image without programs: those of the host are bound into it.
	programs = "localhost/programs:test"
)

func newPod(t *testing.T) *pod {
	t.Helper()
	testenv.Require(t)
	testenv.Programs(t, "podman", "runc", "tar")
	dir, err := os.MkdirTemp("", "pfc-")
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{t: t, store: testenv.StoreIn(t, t.TempDir()), dir: dir, volume: dir + "/volume"}
	p.bucket = p.store.Bucket(t)
	t.Cleanup(p.remove)
	for _, d := range []string{p.volume, dir + "/lend", dir + "/state", dir + "/secret", dir + "/root"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir+"/state", 65534, 65534); err != nil {
		t.Fatal(err)
	}
	// The mounts of a volume are shared where it lies: under systemd all are.
	if err := unix.Mount(p.volume, p.volume, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", p.volume, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	p.secret()
	p.images()
	return p
}

// secret is one as Kubernetes makes it: a read-only memory file system, in which links lead to the newest version.
func (p *pod) secret() {
	p.t.Helper()
	keys := "[default]\naws_access_key_id = " + p.store.AccessKey + "\naws_secret_access_key = " + p.store.SecretKey + "\n"
	dir := p.dir + "/secret"
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		p.t.Fatal(err)
	}
	p.shell(fmt.Sprintf(`mkdir ..2026 && cat >..2026/credentials && chmod 0440 ..2026/credentials && chgrp 65534 ..2026/credentials &&
		ln -s ..2026 ..data && ln -s ..data/credentials credentials && mount -o remount,ro %s`, dir), dir, keys)
}

func (p *pod) shell(script, dir, input string) {
	p.t.Helper()
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// images makes both images.
func (p *pod) images() {
	p.t.Helper()
	wrapper := p.dir + "/podman"
	text := "#!/bin/sh\nexec podman " + strings.Join(p.global(), " ") + ` "$@"` + "\n"
	if err := os.WriteFile(wrapper, []byte(text), 0o755); err != nil {
		p.t.Fatal(err)
	}
	build := exec.Command(testenv.Root(p.t)+"/contrib/container/build", "--tool", wrapper, "--tag", image, "--binary", testenv.Binary(p.t))
	if out, err := build.CombinedOutput(); err != nil {
		p.t.Fatalf("build the image: %v\n%s", err, out)
	}
	p.shell(`mkdir usr proc sys dev etc tmp data; for d in bin sbin lib lib64; do ln -s usr/$d $d; done; tar -c . | `+wrapper+` import - `+programs, p.dir+"/root", "")
}

func (p *pod) global() []string {
	return []string{"--root", p.dir + "/r", "--runroot", p.dir + "/rr", "--tmpdir", p.dir + "/t", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"}
}

// podman runs a command and returns its output.
func (p *pod) podman(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "podman", append(p.global(), args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("podman %v: %w\n%s%s", args, err, out, stderr.String())
	}
	return strings.TrimSpace(string(out)), err
}

func (p *pod) must(args ...string) string {
	p.t.Helper()
	out, err := p.podman(args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// start starts a container of pailfs in the background.
func (p *pod) start(name string, how []string, args ...string) {
	p.t.Helper()
	network := "host" // where the store is
	if args[0] == "mount-helper" {
		network = "none"
	}
	run := []string{"run", "--detach", "--name", name, "--network", network, "--log-driver", "k8s-file",
		"--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096", "--env", "PAILFS_ENDPOINT=" + p.store.Endpoint, "--env", "PAILFS_REGION=" + p.store.Region}
	p.must(append(append(append(run, how...), image), args...)...)
}

// ready waits as the probe of a container does.
func (p *pod) ready(name string) {
	p.t.Helper()
	p.await(name+" is ready", func() error {
		_, err := p.podman("exec", name, "/usr/bin/pailfs", "status", "--ready")
		return err
	})
}

func (p *pod) await(what string, look func() error) {
	p.t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := look()
		if err == nil {
			return
		}
		if time.Now().After(until) {
			p.t.Fatalf("%s: %v", what, err)
		}
	}
}

// inApp runs a script as the app: another container, another user, which has the volume at /data.
func (p *pod) inApp(script string) (string, error) {
	return p.podman("run", "--rm", "--network", "none", "--user", "1000:1000", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096",
		"--volume", "/usr:/usr:ro", "--volume", p.volume+":/data:rslave", programs, "/bin/sh", "-euc", script)
}

func (p *pod) app(script, want string) {
	p.t.Helper()
	if out, err := p.inApp(script); err != nil || out != want {
		p.t.Errorf("the app's %s: %q, want %q: %v", script, out, want, err)
	}
}

// ends waits for a container's end and looks at its exit code and its log.
func (p *pod) ends(name string, code int, words ...string) {
	p.t.Helper()
	if got := p.must("wait", name); got != fmt.Sprint(code) {
		p.t.Errorf("%s has ended with %s, want %d", name, got, code)
	}
	log := p.log(name)
	for _, w := range words {
		if !strings.Contains(log, w) {
			p.t.Errorf("%s does not say %q:\n%s", name, w, log)
		}
	}
	p.must("rm", name)
}

func (p *pod) log(name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "podman", append(p.global(), "logs", name)...).CombinedOutput() // of a container that is gone, nothing
	return string(out)
}

func (p *pod) wantObject(key, want string) {
	p.t.Helper()
	if got := string(p.store.Get(p.t, p.bucket, key)); got != want {
		p.t.Errorf("the store has %q under %s, want %q", got, key, want)
	}
}

// remove takes everything away, whatever the test has left.
func (p *pod) remove() {
	if p.t.Failed() {
		names, _ := p.podman("ps", "--all", "--format", "{{.Names}}")
		for _, name := range strings.Fields(names) {
			p.t.Logf("%s:\n%s", name, p.log(name))
		}
	}
	if left, err := p.podman("ps", "--all", "--quiet"); err != nil || left != "" {
		p.t.Errorf("containers are left: %s %v", left, err)
		p.podman("rm", "--all", "--force", "--time", "0")
	}
	for _, dir := range []string{p.volume + "/photos", p.volume, p.dir + "/secret", p.dir + "/r/overlay", p.dir + "/r"} {
		for unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) == nil {
		}
	}
	if err := os.RemoveAll(p.dir); err != nil {
		p.t.Error(err)
	}
}

// left says whether a mount is on the volume still.
func (p *pod) left() bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.Contains(string(b), " "+filepath.Join(p.volume, "photos")+" ")
}

// A sidecar mounts a bucket, and the containers beside it see it: those that come later, and when it was killed and is back.
func TestASidecar(t *testing.T) {
	p := newPod(t)
	how := []string{"--cap-add", "SYS_ADMIN", "--device", "/dev/fuse", "--security-opt", "apparmor=unconfined", "--memory", "128m",
		"--volume", p.volume + ":/volume:rshared", "--volume", p.dir + "/state:/var/lib/pailfs", "--volume", p.dir + "/secret:/secret:ro"}
	args := []string{"mount", "--foreground", "--credentials-file", "/secret/credentials", "--allow-other", "--dir-mode", "0777", "-o", "x-mount.mkdir", p.bucket, "/volume/photos"}
	p.start("pailfs", how, args...)
	p.ready("pailfs")
	p.app(`echo hello >/data/photos/a; mkdir /data/photos/d; cat /data/photos/a`, "hello")
	p.wantObject("a", "hello\n")
	if log := p.log("pailfs"); !strings.Contains(log, " memory=33554432 ") {
		t.Errorf("its budget is not a quarter of the container's memory:\n%s", log)
	}

	p.must("kill", "--signal", "KILL", "pailfs")
	p.ends("pailfs", 137)
	if out, err := p.inApp(`cat /data/photos/a`); err == nil {
		t.Errorf("a mount without a process answers: %s", out)
	}
	p.start("pailfs", how, args...)
	p.ready("pailfs")
	p.app(`cat /data/photos/a`, "hello")

	p.must("stop", "--time", "60", "pailfs")
	p.ends("pailfs", 0, "everything is stored")
	if p.left() {
		t.Error("the mount is left")
	}
}

// What serves has no privilege, no capability, no /dev/fuse and a file system that it cannot write to: a mount-helper, which has no
// keys and no network, lends it the mount. Nothing that was acknowledged is lost to the pod's end, whatever is left of its time.
func TestAPodWithoutPrivilege(t *testing.T) {
	p := newPod(t)
	p.start("helper", []string{"--cap-drop", "ALL", "--cap-add", "SYS_ADMIN,CHOWN", "--device", "/dev/fuse", "--security-opt", "apparmor=unconfined",
		"--volume", p.volume + ":/volume:rshared", "--volume", p.dir + "/lend:/lend"},
		"mount-helper", "--socket", "/lend/s", "--user", "65534", "-o", "allow_other,x-mount.mkdir", "/volume/photos")
	serve := func() {
		p.start("pailfs", []string{"--user", "65534:65534", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only", "--env", "PAILFS_RUN_DIR=/state/run",
			"--volume", p.dir + "/lend:/lend", "--volume", p.dir + "/state:/state", "--volume", p.dir + "/secret:/secret:ro"},
			"mount", "--foreground", "--fd-socket", "/lend/s", "--credentials-file", "/secret/credentials", "--state-dir", "/state/journal", "--dir-mode", "0777",
			"--durability", "journal", "--metadata-ttl", "forever", p.bucket, "/volume/photos")
	}
	serve()
	p.ready("pailfs")
	p.app(`echo hello >/data/photos/a; cat /data/photos/a`, "hello")

	// It is killed and starts again.
	p.must("kill", "--signal", "KILL", "pailfs")
	p.ends("pailfs", 137)
	serve()
	p.ready("pailfs")
	p.app(`cat /data/photos/a; ls /data/photos`, "hello\na")

	// The pod ends while the store is away: there is no time to wait for it.
	p.store.Stop(t)
	p.app(`for i in 1 2 3 4 5 6 7 8 9; do echo $i >/data/photos/late$i; done; ls /data/photos | wc -l`, "10")
	p.must("stop", "--time", "2", "pailfs")
	p.ends("pailfs", 137, "msg=stopping")
	p.must("stop", "--time", "10", "helper")
	p.ends("helper", 0)
	if p.left() {
		t.Error("the mount is left")
	}
	p.store.Start(t)
	if _, ok := p.store.Head(t, p.bucket, "late1"); ok {
		t.Fatal("the store has it already")
	}

	// The next pod with the same volume for the state has it.
	p.start("helper", []string{"--cap-add", "SYS_ADMIN", "--device", "/dev/fuse", "--security-opt", "apparmor=unconfined",
		"--volume", p.volume + ":/volume:rshared", "--volume", p.dir + "/lend:/lend"},
		"mount-helper", "--socket", "/lend/s", "--user", "65534", "-o", "allow_other", "/volume/photos")
	serve()
	p.ready("pailfs")
	p.app(`cat /data/photos/late9`, "9")
	p.must("exec", "pailfs", "/usr/bin/pailfs", "flush", "/volume/photos")
	for i := range 9 {
		p.wantObject(fmt.Sprintf("late%d", i+1), fmt.Sprintf("%d\n", i+1))
	}
	// The mount-helper goes first, as when somebody updates it: the other one stores and ends.
	p.app(`echo last >/data/photos/last`, "")
	p.must("stop", "--time", "60", "helper")
	p.ends("helper", 0)
	p.ends("pailfs", 0, "the mount-helper asks for it", "everything is stored")
	p.wantObject("last", "last\n")
	if p.left() {
		t.Error("the mount is left")
	}
}
