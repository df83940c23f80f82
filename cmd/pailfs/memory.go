package main

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	mostMemory  = 256 << 20 // the default's upper end
	leastMemory = 16 << 20  // and lower end: a few parts and windows must fit
	// memoryBesides is what the runtime, stacks and connections take beside the budget.
	memoryBesides = 40 << 20
	// nameBytes is what a remembered name takes of the process: 137 measured for 22 characters, and as much again that the
	// collector has not given back; fullNameBytes with its attributes and those of its version (629).
	nameBytes, fullNameBytes = 320, 640
	leastNames, mostNames    = 10_000, 1_000_000
	// inodeBytes is what an inode takes that the kernel keeps: 1,100 of the heap, twice that while the collector has not given
	// back what went, and as much is left of the share to names.
	inodeBytes     = 4096
	leastInodes    = 4096
	mostReadahead  = 96 << 20 // 24 requests of 4 MiB
	leastReadahead = 2 << 20
)

// budget is how --memory is shared out. Blocks wait for room within their share (back-pressure); names are forgotten; small
// unsaved files go to the disk when theirs is full. The buffers of requests are few and small (memoryBesides).
type budget struct {
	blocks    int64 // bytes of cached blocks and of those being fetched
	readahead int64 // bytes all sequential readers may have ahead, a part of blocks
	ahead     int64 // bytes of small files fetched before they are opened, a part of blocks
	names     int   // entries remembered, where attributes are not shown
	fullNames int   // where they are
	inodes    int   // that the kernel may keep without using them
	spools    int64 // bytes of small files that the store does not have yet
	heap      int64 // bytes of everything that is not blocks, for the garbage collector
}

func budgetOf(memory int64) budget {
	b := budget{blocks: memory / 4 * 3}
	// A prefetch is not begun beyond half of the blocks; what is read now needs a little of it.
	b.readahead = min(max(b.blocks/2-b.blocks/32, leastReadahead), 4*mostReadahead)
	b.ahead = b.blocks / 8
	b.names = int(min(max(memory/8/nameBytes, leastNames), mostNames))
	b.fullNames = int(min(max(memory/8/fullNameBytes, leastNames), mostNames))
	b.inodes = int(max(memory/8/inodeBytes, leastInodes))
	b.spools = memory / 8
	b.heap = memory - b.blocks + memoryBesides
	return b
}

// namesWith is how many names are remembered with attributes or without.
func (b budget) namesWith(attributes bool) int {
	if attributes {
		return b.fullNames
	}
	return b.names
}

// defaultMemory is a quarter of the memory this process may have, within bounds.
func defaultMemory() (string, error) {
	var info unix.Sysinfo_t
	total := int64(0)
	if err := unix.Sysinfo(&info); err == nil {
		total = int64(info.Totalram) * int64(info.Unit) //nolint:unconvert // 32-bit hosts
	}
	return strconv.FormatInt(memoryFor(total, cgroupMemory("/")), 10), nil
}

// memoryFor picks the default: ram or limit is 0 where unknown or without limit.
func memoryFor(ram, limit int64) int64 {
	if limit > 0 && (ram == 0 || limit < ram) {
		ram = limit
	}
	if ram == 0 {
		return mostMemory
	}
	return min(max(ram/4, leastMemory), mostMemory)
}

// cgroupMemory is the smallest memory limit of the cgroups this process is in, 0 without one. root is "/" but in tests.
func cgroupMemory(root string) int64 {
	own, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0
	}
	least := int64(0)
	for _, line := range strings.Split(string(own), "\n") {
		fields := strings.SplitN(line, ":", 3) // ID:controllers:path; controllers empty is version 2
		if len(fields) != 3 {
			continue
		}
		dir, file := "sys/fs/cgroup", "memory.max"
		if fields[1] != "" {
			if !strings.Contains(","+fields[1]+",", ",memory,") {
				continue
			}
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		// A limit holds for everything below it, so that each directory on the way up counts. Inside a container
		// the path may not exist; its top directory then has the limit.
		for path := filepath.Clean("/" + fields[2]); ; path = filepath.Dir(path) {
			if n := readLimit(filepath.Join(root, dir, path, file)); n > 0 && (least == 0 || n < least) {
				least = n
			}
			if path == "/" {
				break
			}
		}
	}
	return least
}

// readLimit reads a cgroup's limit; 0 for "max", for version 1's way to say none (nearly 2^63), and without a file.
func readLimit(file string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n >= 1<<60 {
		return 0
	}
	return n
}

// limitHeap tells the garbage collector how much of the budget is its own (blocks lie outside its heap); GOMEMLIMIT in the environment wins.
func limitHeap(memory int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(budgetOf(memory).heap)
	}
}
