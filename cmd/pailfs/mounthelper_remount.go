package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	pfs "pailfs/fs"
)

// mountBits are the words of a mount that the kernel changes while it stands, and their bits.
var mountBits = map[string]uintptr{"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC}

// remount changes a mount that is there: read-only or not, nosuid, nodev, noexec, and the options that `pailfs limit` and
// `pailfs log-level` change. Any other option of pailfs may be repeated, as mount(8) repeats those of fstab, but another value
// would take effect at the next mount alone and is refused.
func (r *mountRequest) remount(ctx context.Context) error {
	_, mountpoint, err := r.target()
	if err != nil {
		return err
	}
	if real, err := realPath(mountpoint); err == nil {
		mountpoint = real
	}
	fail := func(code int, hint, format string, args ...any) error {
		return &failure{code: code, command: r.command, hint: hint, message: fmt.Sprintf("cannot remount %s: %s", mountpoint, fmt.Sprintf(format, args...))}
	}
	info, err := pfs.TopMount(mountpoint)
	switch {
	case err != nil:
		return fail(exitGeneral, "", "%v", err)
	case info == nil:
		return fail(exitMountPoint, "mount it without remount", "nothing is mounted there")
	case info.FSType != mountType:
		return fail(exitMountPoint, "findmnt "+mountpoint, "it is a mount of another kind, %s", info.FSType)
	case os.Geteuid() != 0:
		return fail(exitHost, "run it as root", "only root may")
	}
	state, err := stateOf(mountpoint)
	if err != nil {
		return fail(exitMountPoint, "`pailfs status` shows the mounts of this host", "its process cannot be found: %v", err)
	}
	live, changed := sortChanges(changedOptions(r.words, state.Options), r.words)
	if len(changed) > 0 {
		return fail(exitUsage, fmt.Sprintf("`pailfs umount %s`, and mount it with the new value; ro, rw and nosuid, nodev, noexec with their opposites, and %s are what can be changed",
			mountpoint, strings.Join(liveOptions, ", ")), "while it is mounted %s cannot be changed", strings.Join(changed, ", "))
	}
	flags := remountFlags(r.words, info)
	if flags&unix.MS_RDONLY == 0 && state.Options["read-only"] == "true" {
		return fail(exitUsage, fmt.Sprintf("`pailfs umount %s`, and mount it without ro", mountpoint), "it was mounted read-only, and its process can write nothing")
	}
	if err := unix.Mount("", mountpoint, "", flags|unix.MS_REMOUNT, ""); err != nil {
		hint := ""
		if err == unix.EBUSY {
			hint = fmt.Sprintf("a file is open for writing: fuser -vm %s", mountpoint)
		}
		return fail(exitMountPoint, hint, "%v", err)
	}
	if len(live) == 0 {
		return nil
	}
	view, err := viewRuntime(runDirs(), mountpoint)
	if err != nil {
		return fail(exitMountPoint, "`pailfs status` shows the mounts of this host", "its process cannot be found: %v", err)
	}
	defer view.Close()
	_, err = daemon{view, r.command, mountpoint}.Tune(ctx, live)
	return err
}

// sortChanges parts changed options into those that can be changed while it is mounted, with their new values, and others.
func sortChanges(changed []string, w *mountWords) (live map[string]string, others []string) {
	live = map[string]string{}
	for _, key := range changed {
		if o, ok := optionNamed(options, key); ok && slices.Contains(liveOptions, o.name) {
			live[o.name] = w.ours[o.name]
		} else {
			others = append(others, key)
		}
	}
	return live, others
}

// changedOptions are the options that have another value than the mount was begun with.
func changedOptions(w *mountWords, had map[string]string) []string {
	var changed []string
	for _, o := range options {
		value, given := w.ours[o.name]
		before, known := had[o.name]
		if !given || !known || o.name == "read-only" {
			continue
		}
		var was, is settings
		if o.set(&was, before) != nil || o.set(&is, value) != nil || !reflect.DeepEqual(was, is) {
			changed = append(changed, o.key())
		}
	}
	return changed
}

// remountFlags are all flags of the mount as it shall be: a remount replaces them.
func remountFlags(w *mountWords, info *mountinfo.Info) uintptr {
	var flags uintptr
	have := strings.Split(info.Options, ",")
	for word, bit := range mountBits {
		if slices.Contains(have, word) {
			flags |= bit
		}
	}
	for _, word := range w.kernel {
		if bit := mountBits[word]; bit != 0 {
			flags |= bit
		} else {
			flags &^= mountBits[kernelWords[word]]
		}
	}
	switch w.ours["read-only"] {
	case "true":
		flags |= unix.MS_RDONLY
	case "false":
		flags &^= unix.MS_RDONLY
	}
	return flags
}

// stateOf reads what the process of a mount has written of itself.
func stateOf(mountpoint string) (runtimeState, error) {
	v, err := viewRuntime(runDirs(), mountpoint)
	if err != nil {
		return runtimeState{}, err
	}
	defer v.Close()
	return v.Read()
}
