package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// holder is a process that uses a mount.
type holder struct {
	pid  int
	name string
	use  string // a file, or "working directory"
}

// holders finds who uses what lies under dir, as far as this user may see. Links of /proc are read, never followed: the
// mount itself is not asked.
func holders(proc, dir string) []holder {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil
	}
	var found []holder
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() { // this one may have inherited what its caller has open
			continue
		}
		if use := useOf(filepath.Join(proc, e.Name()), dir); use != "" {
			name, _ := os.ReadFile(filepath.Join(proc, e.Name(), "comm")) // it may have ended meanwhile
			found = append(found, holder{pid, strings.TrimSpace(string(name)), use})
		}
	}
	slices.SortFunc(found, func(a, b holder) int { return a.pid - b.pid })
	return found
}

// useOf is what a process has of a directory, "" when nothing.
func useOf(process, dir string) string {
	for link, what := range map[string]string{"cwd": "working directory", "root": "root directory", "exe": "program"} {
		if target, err := os.Readlink(filepath.Join(process, link)); err == nil && below(target, dir) {
			return what
		}
	}
	fds, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil {
		return ""
	}
	for _, fd := range fds {
		if target, err := os.Readlink(filepath.Join(process, "fd", fd.Name())); err == nil && below(target, dir) {
			return target
		}
	}
	return mappedBelow(filepath.Join(process, "maps"), dir)
}

func mappedBelow(maps, dir string) string {
	b, err := os.ReadFile(maps)
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(b), "\n") {
		if _, name, ok := strings.Cut(line, " /"); ok && below("/"+name, dir) {
			return "/" + name
		}
	}
	return ""
}

func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// holdersText names the first few, for a message.
func holdersText(list []holder) string {
	const most = 5
	if len(list) == 0 {
		return ""
	}
	var parts []string
	for i, h := range list {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(list)-most))
			break
		}
		parts = append(parts, fmt.Sprintf("%s (pid %d, %s)", h.name, h.pid, h.use))
	}
	return " by " + strings.Join(parts, ", ")
}
