package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const sampleEvery = 20 * time.Millisecond

// cpuOf is what a process has used, in seconds.
func cpuOf(pid int) (float64, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	// The second field, the name, may hold spaces; it ends in the last ")". utime and stime are fields 14 and 15.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, stat)
	}
	const ticks = 100 // USER_HZ is 100 on every architecture Go runs on
	sum := 0.0
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += float64(n) / ticks
	}
	return sum, nil
}

// selfCPU is what this process has used, in seconds.
func selfCPU() float64 {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
}

// rssOf is a process's resident memory in bytes, 0 when it is gone.
func rssOf(pid int) int64 {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "statm"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// watchRSS looks at a process's memory until stop is called, which gives the largest value.
func watchRSS(pid int) (stop func() int64) {
	done, largest := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		peak := rssOf(pid)
		for {
			select {
			case <-tick.C:
				peak = max(peak, rssOf(pid))
			case <-done:
				largest <- max(peak, rssOf(pid))
				return
			}
		}
	}()
	return func() int64 {
		close(done)
		return <-largest
	}
}
