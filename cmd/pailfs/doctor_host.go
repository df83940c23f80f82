package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	pfs "pailfs/fs"
)

// checkTheHost looks at what a mount needs of this host. It changes nothing.
func (d *doctor) checkTheHost() {
	b := buildInfo()
	d.found(areaHost, "version", "pailfs %s, %s, %s, user %d", b.Version, b.Go, b.Platform, d.uid)
	d.checkConfiguration()
	d.checkKernel()
	d.checkDevice()
	d.checkRights()
	d.checkAllowOther()
	d.checkDirectories()
}

// kernelVersion reads the first two numbers of a release: 6.9.3-amd64.
func kernelVersion(release string) (major, minor int) {
	first, rest, _ := strings.Cut(release, ".")
	second := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		second = rest[:i]
	}
	major, err := strconv.Atoi(first)
	if err != nil {
		return 0, 0
	}
	if minor, err = strconv.Atoi(second); err != nil {
		return major, 0
	}
	return major, minor
}

func (d *doctor) checkKernel() {
	const check = "kernel"
	release := kernelRelease()
	major, minor := kernelVersion(release)
	since := func(a, b int) bool { return major > a || major == a && minor >= b }
	switch {
	case major == 0:
		d.warn(areaHost, check, "", "Linux %q: the version cannot be read", release)
	case !since(4, 20):
		d.warn(areaHost, check, "a kernel of 4.20 or later makes reads and writes of large files faster", "Linux %s: FUSE requests of at most 128 KiB", release)
	case !since(6, 9):
		d.found(areaHost, check, "Linux %s: FUSE requests of 1 MiB; no passthrough, which comes with 6.9", release)
	case d.uid != 0:
		d.found(areaHost, check, "Linux %s: FUSE requests of 1 MiB; passthrough is for root's mounts alone", release)
	default:
		d.found(areaHost, check, "Linux %s: FUSE requests of 1 MiB, and passthrough for mounts with a disk cache", release)
	}
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func (d *doctor) checkDevice() {
	const check = "/dev/fuse"
	f, err := os.OpenFile(filepath.Join(d.root, "dev/fuse"), os.O_RDWR, 0)
	if err == nil {
		info, statErr := f.Stat()
		err = errors.Join(statErr, f.Close())
		if err == nil && info.Mode()&os.ModeCharDevice == 0 {
			d.fail(areaHost, check, "rm it, then modprobe fuse", "it is no device")
			return
		}
	}
	about := subject{cannot: "open it"}
	switch {
	case err == nil:
		d.found(areaHost, check, "can be opened")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		d.failBy(areaHost, check, about.hostFailure(pfs.ErrNoFuse, "", ""))
	case errors.Is(err, fs.ErrPermission):
		d.failBy(areaHost, check, about.hostFailure(fmt.Errorf("%w: %w", pfs.ErrNoPermission, err), "", ""))
	default:
		d.fail(areaHost, check, "modprobe fuse", "%v", err)
	}
}

// checkRights says whether this user can mount: with CAP_SYS_ADMIN, or by fusermount3, which is root's.
func (d *doctor) checkRights() {
	const check = "right to mount"
	if d.uid == 0 {
		if capable, err := d.capable(unix.CAP_SYS_ADMIN); err == nil && !capable {
			d.fail(areaHost, check, permissionHint(0), "root without the capability CAP_SYS_ADMIN")
			return
		}
		d.found(areaHost, check, "root mounts without fusermount3")
		return
	}
	if err := checkHost(d.uid, false, d.root); err != nil {
		d.failBy(areaHost, check, failureOf(err))
		return
	}
	where, err := exec.LookPath("fusermount3")
	if err != nil {
		where = filepath.Join(d.root, "bin/fusermount3")
	}
	info, err := os.Stat(where)
	if err == nil && info.Mode()&os.ModeSetuid == 0 {
		d.warn(areaHost, check, "chmod u+s "+where+", unless it has file capabilities", "%s is not setuid root", where)
		return
	}
	d.found(areaHost, check, "by %s", where)
}

// capable reads the effective capabilities of this process.
func (d *doctor) capable(capability uint) (bool, error) {
	b, err := os.ReadFile(filepath.Join(d.root, "proc/self/status"))
	if err != nil {
		return false, err
	}
	for lines := bufio.NewScanner(strings.NewReader(string(b))); lines.Scan(); {
		if mask, ok := strings.CutPrefix(lines.Text(), "CapEff:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return bits>>capability&1 == 1, err
		}
	}
	return false, errors.New("no CapEff in /proc/self/status")
}

func (d *doctor) checkAllowOther() {
	const check = "user_allow_other"
	conf := filepath.Join(d.root, "etc/fuse.conf")
	switch {
	case d.uid == 0:
		d.found(areaHost, check, "root may use --allow-other without it")
	case userAllowOther(conf):
		d.found(areaHost, check, "set in /etc/fuse.conf")
	case d.s.AllowOther:
		d.failBy(areaHost, check, failureOf(checkHost(d.uid, true, d.root)))
	default:
		d.found(areaHost, check, "not set in /etc/fuse.conf: other users than the mounting one cannot be let in")
	}
}
