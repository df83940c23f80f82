package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// place is a path inside a mount of pailfs.
type place struct {
	mountpoint string
	path       string // relative to the mount point, "" is all of it
	view       *runtimeView
}

func (p *place) Close() { p.view.Close() }

// daemon is the process that serves the place, for a command.
func (p *place) daemon(command string) daemon { return daemon{p.view, command, p.mountpoint} }

// mountTable finds mounts by their mount point; the last one on a mount point hides the others.
type mountTable struct {
	all []*mountinfo.Info
}

func readMounts() (mountTable, error) {
	all, err := mountinfo.GetMounts(nil)
	return mountTable{all}, err
}

func (t mountTable) at(path string) *mountinfo.Info {
	for _, m := range slices.Backward(t.all) {
		if m.Mountpoint == path {
			return m
		}
	}
	return nil
}

// mostLinks bounds the symbolic links of one path, as the kernel does.
const mostLinks = 40

// find splits an absolute path into a mount of pailfs and what lies in it. Symbolic links are followed up to the mount and not inside
// of it: nothing there is asked, so that a name may be gone and the process may be dead.
func (t mountTable) find(path string) (info *mountinfo.Info, inside string, err error) {
	todo, at, links := strings.Split(path[1:], "/"), "/", 0
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if name == "" {
			continue
		}
		at = filepath.Join(at, name)
		if m := t.at(at); m != nil {
			info = nil
			if m.FSType == mountType {
				info, inside = m, ""
				continue
			}
		} else if info != nil {
			inside = filepath.Join(inside, name)
			continue
		}
		target, err := os.Readlink(at)
		if err != nil {
			continue // no link; what does not exist is no mount either
		}
		if links++; links > mostLinks {
			return nil, "", &os.PathError{Op: "resolve", Path: path, Err: unix.ELOOP}
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(at), target)
		}
		todo, at = append(strings.Split(filepath.Clean(target)[1:], "/"), todo...), "/"
	}
	return info, inside, nil
}

// absolute makes a path absolute by a working directory, "" where that is not known.
func absolute(wd, path string) (string, error) {
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	if wd == "" {
		return "", errors.New("the working directory is gone")
	}
	return filepath.Join(wd, path), nil
}

// workingDirectory is where the kernel says that this process stands: $PWD may lead through links. "" when it is gone.
func workingDirectory() string {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Getcwd(buf)
	if err != nil {
		return ""
	}
	wd := strings.TrimSuffix(string(buf[:n]), "\x00")
	if !filepath.IsAbs(wd) { // "(unreachable)..."
		return ""
	}
	return wd
}

// locate finds the mount that a path lies in, and the runtime file of its process.
func (t mountTable) locate(dirs []string, command, wd, given string) (*place, error) {
	fail := func(code int, hint, format string, args ...any) *failure {
		return &failure{code: code, command: command, message: fmt.Sprintf("%s: ", shown(given)) + fmt.Sprintf(format, args...), hint: hint}
	}
	path, err := absolute(wd, given)
	if err != nil {
		return nil, fail(exitMountPoint, "", "%v", err)
	}
	info, inside, err := t.find(path)
	if err != nil {
		return nil, fail(exitMountPoint, "", "%v", err)
	}
	if info == nil {
		if p := lentPlace(dirs, path); p != nil {
			return p, nil
		}
		return nil, fail(exitMountPoint, "`pailfs status` lists the mounts", "it is not on a mount of pailfs")
	}
	p := &place{mountpoint: info.Mountpoint}
	p.path = strings.Trim(filepath.Join(info.Root, inside), "/")
	if p.view, err = viewRuntime(dirs, info.Mountpoint); errors.Is(err, os.ErrNotExist) {
		// A bind mount: its origin has the same device.
		for _, m := range t.all {
			if m.Major != info.Major || m.Minor != info.Minor || m.Root != "/" || m.Mountpoint == info.Mountpoint {
				continue
			}
			if p.view, err = viewRuntime(dirs, m.Mountpoint); err == nil {
				p.mountpoint = m.Mountpoint
				break
			}
		}
	}
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, os.ErrPermission):
		return nil, fail(exitHost, "run as the user who mounted it, or as root", "%v", err)
	case !errors.Is(err, os.ErrNotExist):
		return nil, fail(exitGeneral, "", "%v", err)
	}
	if owner := optionValue(info.VFSOptions, "user_id"); os.Geteuid() != 0 && owner != strconv.Itoa(os.Geteuid()) {
		return nil, fail(exitHost, "run as that user, or as root", "it is mounted by user %s", owner)
	}
	return nil, fail(exitMountPoint, "it may be served in another container, or with another PAILFS_RUN_DIR",
		"no process is known that serves it; looked in %s", strings.Join(dirs, ", "))
}

// knownMounts are the runtime files of dirs that can be read, by mount point. The caller closes them.
func knownMounts(dirs []string) []*runtimeView {
	var views []*runtimeView
	seen := map[string]bool{}
	for _, dir := range dirs {
		names, _ := filepath.Glob(filepath.Join(globEscape(dir), "*.json")) // the pattern is well-formed
		for _, name := range names {
			if seen[name] {
				continue
			}
			seen[name] = true
			if v, err := openView(name); err == nil { // gone meanwhile, or none of ours
				views = append(views, v)
			}
		}
	}
	return views
}

// globEscape makes a directory's name a pattern for itself.
func globEscape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
