package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// detach unmounts by the system call as root, by fusermount3 as another user.
func (u *umount) detach(info *mountinfo.Info) error {
	if os.Geteuid() != 0 {
		if owner := optionValue(info.VFSOptions, "user_id"); owner != "" && owner != strconv.Itoa(os.Geteuid()) {
			return u.fail(exitHost, "only that user and root can unmount it", "it was mounted by user %s", owner)
		}
		return u.detachAsUser()
	}
	flags := unix.UMOUNT_NOFOLLOW
	if u.force || u.lazy {
		flags |= unix.MNT_DETACH
	}
	err := u.insist(func() error { return unix.Unmount(u.mountpoint, flags) })
	if errors.Is(err, unix.EBUSY) && dead(u.mountpoint) {
		// Its process is gone: nobody who holds it can do anything with it.
		err = unix.Unmount(u.mountpoint, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	return u.detached(err, "")
}

// glance is how long a program may look at a mount point (stat, df) while it is unmounted.
const glance = time.Second

// insist unmounts again while the mount is in use by nobody who can be named.
func (u *umount) insist(unmount func() error) error {
	for end := time.Now().Add(glance); ; time.Sleep(glance / 20) {
		err := unmount()
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) || dead(u.mountpoint) || len(holders("/proc", u.mountpoint)) > 0 {
			return err
		}
	}
}

// dead says whether the process that served a mount is gone. Attributes may be answered by the kernel's cache for a while;
// statfs never is. ECONNABORTED is the answer to a request that the end overtook.
func dead(mountpoint string) bool {
	var st unix.Statfs_t
	err := unix.Statfs(mountpoint, &st)
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}

func (u *umount) detachAsUser() error {
	bin, err := exec.LookPath("fusermount3")
	if err != nil {
		if bin, err = exec.LookPath("fusermount"); err != nil {
			return u.fail(exitHost, "install fuse3, or run as root", "users unmount with fusermount3, which is not installed")
		}
	}
	args := []string{"-u"}
	if u.force || u.lazy || dead(u.mountpoint) {
		args = append(args, "-z")
	}
	var out []byte
	err = u.insist(func() (err error) {
		cmd := exec.Command(bin, append(args, "--", u.mountpoint)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"} // its words are read below; keys are none of its business
		if out, err = cmd.CombinedOutput(); err != nil && strings.Contains(string(out), "busy") {
			err = unix.EBUSY
		}
		return err
	})
	return u.detached(err, strings.TrimSpace(string(out)))
}

// detached says why a mount could not be taken away.
func (u *umount) detached(err error, words string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY):
		hint := fmt.Sprintf("end the programs that use it (fuser -vm %s, lsof +f -- %s), or take it away with --force", u.given, u.given)
		return u.fail(exitMountPoint, hint, "it is in use%s", holdersText(holders("/proc", u.mountpoint)))
	case errors.Is(err, unix.EPERM):
		return u.fail(exitHost, "in a container: --cap-add SYS_ADMIN", "no permission to unmount")
	case errors.Is(err, unix.EINVAL): // somebody else was faster
		return nil
	case words != "":
		return u.fail(exitGeneral, "", "%s", words)
	}
	return u.fail(exitGeneral, "", "%v", err)
}

// optionValue is the value of a word of a list of mount options, "" without it.
func optionValue(list, name string) string {
	for _, w := range strings.Split(list, ",") {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v
		}
	}
	return ""
}
