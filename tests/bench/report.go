package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/lagproxy"
)

// report prints the result and appends it to the file that was asked for.
func report(r *rig, res results) error {
	text := r.format(res)
	fmt.Print(text)
	if r.o.out == "" {
		return nil
	}
	f, err := os.OpenFile(r.o.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	return errors.Join(err, f.Close())
}

func (r *rig) format(res results) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n", time.Now().Format("2006-01-02 15:04"), r.version())
	fmt.Fprintf(&b, "  Linux %s, %d CPUs, load %s before; object of %d MiB; %v to the first byte, %.0f MB/s a connection; %d rounds\n",
		kernel(), runtime.NumCPU(), r.load, r.o.sizeMiB, r.o.latency, float64(r.o.rate)/1e6, r.o.rounds)
	fmt.Fprintf(&b, "  %-13s %12s %12s   %8s %9s  requests\n", "", "best MB/s", "median MB/s", "CPU s", "peak RSS")
	for _, name := range []string{rawRead, pailfsRead, rawWrite, pailWrite} {
		best, median := r.speeds(res[name])
		last := res[name][len(res[name])-1]
		rss := "-"
		if peak := peakRSS(res[name]); peak > 0 {
			rss = fmt.Sprintf("%d MiB", peak/mib)
		}
		fmt.Fprintf(&b, "  %-13s %12.0f %12.0f   %8.2f %9s  %s\n", name, best, median, medianCPU(res[name]), rss, requests(last.counts))
	}
	for _, pair := range [][3]string{{"read", pailfsRead, rawRead}, {"write", pailWrite, rawWrite}} {
		best, median := r.speeds(res[pair[1]])
		rawBest, rawMedian := r.speeds(res[pair[2]])
		fmt.Fprintf(&b, "  ratio of the %-5s best %.2f, median %.2f\n", pair[0]+":", best/rawBest, median/rawMedian)
	}
	return b.String()
}

// speeds are the best and the median in MB/s.
func (r *rig) speeds(l []sample) (best, median float64) {
	v := make([]float64, len(l))
	for i, s := range l {
		v[i] = r.speed(s)
	}
	sort.Float64s(v)
	return v[len(v)-1], middle(v)
}

func medianCPU(l []sample) float64 {
	v := make([]float64, len(l))
	for i, s := range l {
		v[i] = s.usage.cpu
	}
	sort.Float64s(v)
	return middle(v)
}

// middle is the median of sorted values.
func middle(v []float64) float64 { return (v[(len(v)-1)/2] + v[len(v)/2]) / 2 }

func peakRSS(l []sample) int64 {
	var peak int64
	for _, s := range l {
		peak = max(peak, s.usage.peakRSS)
	}
	return peak
}

func requests(c lagproxy.Counts) string {
	var names []string
	for name := range c.Requests {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, c.Requests[name])
	}
	s := fmt.Sprintf("%s; %d at once; %d MB in, %d MB out", strings.Join(names, ", "), c.MaxInFlight, c.In/1e6, c.Out/1e6)
	if c.Failed > 0 {
		s += fmt.Sprintf("; %d failed", c.Failed)
	}
	return s
}

// version is what was measured, as it names itself.
func (r *rig) version() string {
	out, err := exec.Command(r.pailfs, "version").Output()
	if err != nil {
		return "pailfs of unknown version"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// load is the load average of the last minute: on a busy machine the numbers say little.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "?"
	}
	return unix.ByteSliceToString(u.Release[:])
}
