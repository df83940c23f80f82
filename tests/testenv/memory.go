package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// MemoryGroup is a control group with a memory limit of its own, in version 1 or 2.
type MemoryGroup struct {
	t   testing.TB
	dir string
	v2  bool
}

var memoryGroups atomic.Int64 // made by this process, for their names

// LimitMemory makes a group below this process's, and skips the test where that is not possible. Program starts a mount in
// it.
func LimitMemory(t testing.TB, bytes int64) *MemoryGroup {
	t.Helper()
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	g := &MemoryGroup{t: t}
	for line := range strings.Lines(string(own)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) != 3:
		case strings.Contains(","+fields[1]+",", ",memory,"):
			g.dir, g.v2 = filepath.Join("/sys/fs/cgroup/memory", fields[2]), false
		case fields[1] == "" && g.dir == "":
			g.dir, g.v2 = filepath.Join("/sys/fs/cgroup", fields[2]), true
		}
	}
	if g.v2 { // a group with processes gives its controllers to no other: the top has none
		g.dir = "/sys/fs/cgroup"
	}
	g.dir = filepath.Join(g.dir, fmt.Sprintf("pailfs-test-%d-%d", os.Getpid(), memoryGroups.Add(1)))
	limit := "memory.limit_in_bytes"
	if g.v2 {
		limit = "memory.max"
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		Skip(t, "no memory group can be made: "+err.Error())
	}
	t.Cleanup(func() {
		if err := os.Remove(g.dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(g.dir, limit), []byte(strconv.FormatInt(bytes, 10)), 0); err != nil {
		Skip(t, "no memory group can be made: "+err.Error())
	}
	if g.v2 {
		err = os.WriteFile(filepath.Join(g.dir, "memory.swap.max"), []byte("0"), 0)
	} else {
		err = os.WriteFile(filepath.Join(g.dir, "memory.memsw.limit_in_bytes"), []byte(strconv.FormatInt(bytes, 10)), 0)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a host without accounting of swap
		t.Log(err)
	}
	return g
}

// Program is a program that joins the group and becomes pailfs, for the option of that name.
func (g *MemoryGroup) Program() string {
	g.t.Helper()
	script := filepath.Join(g.t.TempDir(), "pailfs")
	text := fmt.Sprintf("#!/bin/sh\necho $$ >%s/cgroup.procs && exec %s \"$@\"\n", g.dir, Binary(g.t))
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		g.t.Fatal(err)
	}
	return script
}

// Killed is how often the kernel has ended a process of the group for its memory.
func (g *MemoryGroup) Killed() int {
	g.t.Helper()
	name := "memory.oom_control"
	if g.v2 {
		name = "memory.events"
	}
	text, err := os.ReadFile(filepath.Join(g.dir, name))
	if err != nil {
		g.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			count, err := strconv.Atoi(n)
			if err != nil {
				g.t.Fatal(err)
			}
			return count
		}
	}
	g.t.Fatalf("%s does not count:\n%s", name, text)
	return 0
}
