package docs

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/s3client/keystone/keystonetest"
	"pailfs/tests/testenv"
)

// The names that the pages speak of, and who answers for them on a host made for a page. All else there is as the pages say.
const (
	storeHost    = "kr1-api-object-storage.nhncloudservice.com"      // a demostore, region KR1
	otherHost    = "s3.example.org"                                  // a demostore, region us-east-1
	identityHost = "api-identity-infrastructure.nhncloudservice.com" // keystonetest
	userID       = 1000                                              // of the user me
	rootPath     = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	patience     = 2 * time.Minute // bounds one command
)

// The first key that keystonetest gives is the stores' own.
var ownerAccess, ownerSecret = fmt.Sprintf("access%026d", 1), fmt.Sprintf("secret%026d", 1)

// host is a view of this machine with an /etc, /mnt, /root, /home, /run, /usr/local, /var/lib and /var/cache of its own, pailfs
// installed, a network with nothing but the names above, and a user me. Its processes end with it.
type host struct {
	t            *testing.T
	dir          string // what is its own lies there
	installed    string
	store, other *testenv.Server
	identity     *keystonetest.Service
	init         *exec.Cmd
	root, me     *shell
	outputs      int
}

// setup runs as the first process of the host. $T is its directory, pailfs is installed
// in $INSTALLED, $NAMES are the lines of /etc/hosts.
const setup = `
set -eu
mount --make-rprivate /
# A copy of somebody else's mount would keep its process from ending.
awk '/ - fuse/ { print $5 }' /proc/self/mountinfo | while read -r m; do umount -l "$(printf %b "$m")"; done
mount -t proc proc /proc
cd "$T"
mkdir etc mnt root home run run/sbin run/out srv lib cache sbin dev out
chmod 700 root; chmod 1777 out
cp -a /etc/. etc/
rm -rf etc/pailfs etc/ssl/certs etc/fstab; mkdir -p etc/pailfs etc/ssl/certs; cp ca.pem etc/ssl/certs/ca-certificates.crt
printf '127.0.0.1 localhost\n%s' "$NAMES" >etc/hosts
: >etc/fstab
touch etc/fuse.conf; sed -i '/^ *user_allow_other/d' etc/fuse.conf
sed -i -e '/^me:/d' -e '/^[^:]*:[^:]*:1000:/d' etc/passwd etc/group
echo 'me:x:1000:1000::/home/me:/bin/bash' >>etc/passwd
echo 'me:x:1000:' >>etc/group
mkdir -p home/me run/user/1000; chmod 700 run/user/1000; chown 1000:1000 home/me run/user/1000
sbin=$(readlink -f /sbin)
(cd "$sbin" && printf '/run/sbin/%s\0' *) | xargs -0 ln -s -t sbin
cp -a --remove-destination "$INSTALLED/sbin/." sbin/
cp -a contrib root/
mount -t tmpfs -o mode=755 tmpfs dev
mknod -m 666 dev/fuse c 10 229
mount --bind dev/fuse /dev/fuse
mount --bind "$INSTALLED/usr/local" /usr/local
mount --bind lib /var/lib; mount --bind cache /var/cache
for d in etc mnt root home run srv; do mount --bind $d /$d; done
mount --bind "$sbin" /run/sbin
mount --bind sbin "$sbin"
mount --bind out /run/out
mount --make-rshared / # as under systemd
cd /
echo ready
read -r _ || :
`

// install installs pailfs as `make install` does, into a directory.
func install(t *testing.T) string {
	t.Helper()
	testenv.Require(t)
	testenv.Programs(t, "make")
	dir := t.TempDir()
	cmd := exec.Command("make", "-s", "-C", testenv.Root(t), "install-files", "PREFIX=/usr/local", "DESTDIR="+dir, "PAILFS="+testenv.Binary(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install-files: %v\n%s", err, out)
	}
	return dir
}

// newHost makes one on which pailfs is installed.
func newHost(t *testing.T, installed string) *host {
	t.Helper()
	testenv.Require(t)
	testenv.Programs(t, "bash", "nsenter", "mount", "setpriv", "fusermount3", "jq")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, dir: dir, installed: installed}
	h.store = testenv.StoreAs(t, t.TempDir(), "KR1", ownerAccess, ownerSecret)
	h.other = testenv.StoreAs(t, t.TempDir(), "us-east-1", ownerAccess, ownerSecret)
	contrib := dir + "/contrib"
	for _, d := range []string{"container", "kubernetes", "systemd"} {
		if err := os.CopyFS(filepath.Join(contrib, d), os.DirFS(filepath.Join(testenv.Root(t), "contrib", d))); err != nil {
			t.Fatal(err)
		}
	}
	certificate := h.certificate()
	h.start()
	h.answer(certificate)
	h.root = h.shell("HOME=/root", "USER=root")
	h.me = h.shell("HOME=/home/me", "USER=me", "XDG_RUNTIME_DIR=/run/user/1000")
	return h
}

// start starts the first process, in namespaces of its own.
func (h *host) start() {
	h.t.Helper()
	var names strings.Builder
	for _, name := range []string{storeHost, otherHost, identityHost} {
		fmt.Fprintf(&names, "127.0.0.1 %s\n", name)
	}
	h.init = exec.Command("bash", "-c", setup)
	h.init.Env = []string{"PATH=" + rootPath, "LC_ALL=C.UTF-8", "T=" + h.dir, "INSTALLED=" + h.installed, "NAMES=" + names.String()}
	h.init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET}
	in, err := h.init.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := h.init.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	var stderr bytes.Buffer
	h.init.Stderr = &stderr
	if err := h.init.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		in.Close()
		h.init.Process.Kill() // and with it everything that runs there
		h.init.Wait()         // its status says nothing
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		h.init.Wait() // so that all it said is there
		h.t.Fatalf("the host is not made: %v\n%s", err, stderr.String())
	}
}

// inside runs a function in the host's network: sockets that it makes are there.
func (h *host) inside(do func() error) error {
	runtime.LockOSThread() // for ever, should the way back fail
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.init.Process.Pid))
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = do()
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}

// certificate makes one for all names, signed by itself, and writes what trusts it.
func (h *host) certificate() tls.Certificate {
	h.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(60 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{storeHost, otherHost, identityHost}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		h.t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(h.dir+"/ca.pem", text, 0o644); err != nil {
		h.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// answer listens at port 443 of the host, and passes each connection, its encryption taken off, to who answers for the name.
func (h *host) answer(certificate tls.Certificate) {
	h.t.Helper()
	var l net.Listener
	err := h.inside(func() error {
		if err := loopbackUp(); err != nil {
			return err
		}
		var err error
		l, err = tls.Listen("tcp", "127.0.0.1:443", &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}})
		return err
	})
	if err != nil {
		h.t.Fatalf("the host's network: %v", err)
	}
	h.identity = keystonetest.New(h.t)
	behind := map[string]string{}
	for name, url := range map[string]string{storeHost: h.store.Endpoint, otherHost: h.other.Endpoint, identityHost: h.identity.URL} {
		behind[name] = strings.TrimPrefix(url, "http://")
	}
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // it was closed
			}
			passing.Go(func() { pass(c.(*tls.Conn), behind) })
		}
	})
	h.t.Cleanup(func() {
		l.Close()
		h.init.Process.Kill() // who is connected
		passing.Wait()
	})
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// pass copies both ways until either end is closed.
func pass(c *tls.Conn, behind map[string]string) {
	defer c.Close()
	if err := c.Handshake(); err != nil {
		return // who connects and looks at the certificate alone
	}
	far, err := net.Dial("tcp", behind[c.ConnectionState().ServerName])
	if err != nil {
		return
	}
	defer far.Close()
	var back sync.WaitGroup
	back.Go(func() {
		io.Copy(c, far) // its end is the connection's
		c.Close()
	})
	io.Copy(far, c) // likewise
	far.Close()
	back.Wait()
}

// enter is a command inside the host.
func (h *host) enter(env []string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(h.init.Process.Pid), "--mount", "--pid", "--net", "--"}, args...)...)
	cmd.Env = append([]string{"PATH=" + rootPath, "LC_ALL=C.UTF-8", "TERM=dumb"}, env...)
	if strings.Contains(strings.Join(env, " "), "USER=me") {
		id := strconv.Itoa(userID)
		cmd.Args = append([]string{"nsenter", "--target", strconv.Itoa(h.init.Process.Pid), "--mount", "--pid", "--net", "--",
			"setpriv", "--reuid", id, "--regid", id, "--clear-groups"}, args...)
	}
	return cmd
}

// shell is a bash that lives as long as the page: directories and variables stay.
type shell struct {
	env []string
	in  io.WriteCloser
	out *bufio.Reader
}

func (h *host) shell(env ...string) *shell {
	h.t.Helper()
	cmd := h.enter(env, "bash", "--norc", "--noprofile")
	in, err := cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		in.Close()
		cmd.Wait() // its status is that of the last command
	})
	s := &shell{env, in, bufio.NewReader(out)}
	if _, err := io.WriteString(in, "cd ~\n"); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// run runs a command and returns what it printed, and its status.
func (h *host) run(s *shell, command string) (string, int) {
	h.t.Helper()
	h.outputs++
	name := fmt.Sprintf("%s/out/%d", h.dir, h.outputs)
	if _, err := fmt.Fprintf(s.in, "{ %s\n} </dev/null >/run/out/%d 2>&1; echo $?\n", command, h.outputs); err != nil {
		h.t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		line, _ := s.out.ReadString('\n') // an end without a line is no number
		said <- line
	}()
	var line string
	select {
	case line = <-said:
	case <-time.After(patience):
		h.init.Process.Kill()
		h.t.Fatalf("%s: it has not ended after %v", command, patience)
	}
	code, err := strconv.Atoi(strings.TrimSpace(line))
	out, readErr := os.ReadFile(name)
	if err != nil || readErr != nil {
		h.t.Fatalf("%s: %q %v %v\n%s", command, line, err, readErr, out)
	}
	return string(out), code
}

// terminal runs a command at a terminal of its own. Questions that the page shows, all up to ": ", are answered with what stands
// behind; to a password, behind which the page shows nothing, the answer is the user's.
func (h *host) terminal(s *shell, c Command) (string, int) {
	h.t.Helper()
	near, far, err := openTerminal()
	if err != nil {
		testenv.Skip(h.t, "no terminals: "+err.Error())
	}
	defer near.Close()
	cmd := h.enter(s.env, "bash", "--norc", "--noprofile", "-c", "cd ~; "+c.Text)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = far, far, far
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	far.Close()
	stuck := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer stuck.Stop()
	var seen []byte
	buf := make([]byte, 4096)
	questions := c.Output
	for {
		n, err := near.Read(buf)
		seen = append(seen, buf[:n]...)
		if err != nil {
			break // the other end is closed
		}
		if len(questions) == 0 || !bytes.HasSuffix(seen, []byte(": ")) {
			continue
		}
		said := string(seen[bytes.LastIndexByte(seen, '\n')+1:])
		answer, ok := strings.CutPrefix(questions[0], strings.TrimSuffix(said, " "))
		if !ok {
			h.t.Errorf("it asks %q, the page shows %q", said, questions[0])
			cmd.Process.Kill()
			break
		}
		if answer = strings.TrimSpace(answer); strings.HasPrefix(said, "password") {
			answer = keystonetest.Password
		}
		questions = questions[1:]
		if _, err := near.WriteString(answer + "\n"); err != nil {
			h.t.Error(err)
		}
	}
	cmd.Wait() // its status is asked for
	return strings.ReplaceAll(string(seen), "\r", ""), cmd.ProcessState.ExitCode()
}

// openTerminal makes a pseudo terminal: near is this end, far the program's.
func openTerminal() (near, far *os.File, err error) {
	near, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(near.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120})
	}
	if err == nil {
		far, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, near.Close())
	}
	return near, far, nil
}
