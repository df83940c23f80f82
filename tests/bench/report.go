package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/bench/store"
)

// report prints the result and appends it to the file that was asked for.
func (r *rig) report(res *results) error {
	text := r.format(res)
	if r.o.json {
		if err := r.printJSON(res); err != nil {
			return err
		}
	} else {
		fmt.Print(text)
	}
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

// series is what JSON shows of a step.
type series struct {
	Link, Row, Step string
	Samples         []sample
}

func (r *rig) printJSON(res *results) error {
	enc := json.NewEncoder(os.Stdout)
	for _, t := range res.tables {
		for _, s := range t.row.steps {
			k := key{t.link.name, t.row.title, s.name}
			if err := enc.Encode(series{k.link, k.row, k.step, res.samples[k]}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *rig) format(res *results) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  Linux %s, %d CPUs, load %s before; store: %s; %d rounds\n", time.Now().Format("2006-01-02 15:04"),
		kernel(), runtime.NumCPU(), r.load, r.o.store, r.o.rounds)
	for _, m := range r.mounters {
		if p, ok := m.(interface{ version() string }); ok {
			fmt.Fprintf(&b, "  %s: %s\n", m.name(), p.version())
		}
	}
	for _, why := range r.left {
		fmt.Fprintf(&b, "  left out: %s\n", why)
	}
	for _, t := range res.tables {
		formatTable(&b, t, res)
	}
	r.formatCPU(&b, res)
	r.formatTargets(&b, res)
	for _, err := range res.errs {
		line, _, _ := strings.Cut(err.Error(), "\n")
		fmt.Fprintf(&b, "\nFAILED %s\n", line)
	}
	return b.String()
}

func formatTable(b *strings.Builder, t table, res *results) {
	fmt.Fprintf(b, "\n%s  (%s)\n", t.row.title, t.link)
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "\tbest %s\tmedian\tbest/base\tmedian/base\tCPU s\treader\tstore\tRSS MiB\tfetched MB\tx asked\t  requests\n", t.row.unit)
	for _, s := range t.row.steps {
		l := res.samples[key{t.link.name, t.row.title, s.name}]
		if len(l) == 0 {
			said := "-"
			if limit, ok := res.late[key{t.link.name, t.row.title, s.name}]; ok {
				said = fmt.Sprintf("not done after %s", limit)
			}
			fmt.Fprintf(tw, "%s\t%s\t\t\t\t\t\t\t\t\t\t\n", s.name, said)
			continue
		}
		best, median := t.row.bestMedian(l)
		ratios := "\t"
		if base := res.samples[key{t.link.name, t.row.title, s.base}]; len(base) > 0 {
			baseBest, baseMedian := t.row.bestMedian(base)
			ratios = fmt.Sprintf("%.2f\t%.2f", t.row.speed(best, baseBest), t.row.speed(median, baseMedian))
		}
		last := l[len(l)-1]
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%.2f\t%s\t%.2f\t%s\t%.1f\t%s\t  %s\n", s.name, figure(best), figure(median), ratios,
			medianOf(l, func(s sample) float64 { return s.CPU }), optional(medianOf(l, func(s sample) float64 { return s.Reader }), "%.2f"),
			medianOf(l, func(s sample) float64 { return s.StoreCPU }), optional(peakRSS(l)/mib, "%.0f"),
			float64(last.Counts.Data)/1e6, amplification(last), requests(last.Counts))
	}
	tw.Flush() // a strings.Builder does not fail
	for _, n := range t.row.notes {
		fmt.Fprintf(b, "  %s\n", n)
	}
	for _, s := range t.row.steps {
		if l := res.samples[key{t.link.name, t.row.title, s.name}]; len(l) > 0 && l[len(l)-1].Note != "" {
			fmt.Fprintf(b, "  %s: %s\n", s.name, l[len(l)-1].Note)
		}
	}
}

// formatCPU says what a GiB of the sequential read costs, of everyone's.
func (r *rig) formatCPU(b *strings.Builder, res *results) {
	for _, t := range res.tables {
		if t.row.title != r.seqTitle() {
			continue
		}
		fmt.Fprintf(b, "\nCPU seconds a GiB of that  (%s)\n", t.link)
		tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(tw, "\tmount\tprogram\tboth\tx base\tstore\t\n")
		for _, s := range t.row.steps {
			k := key{t.link.name, t.row.title, s.name}
			l := res.samples[k]
			if len(l) == 0 {
				continue
			}
			perGiB := func(value func(sample) float64) float64 {
				return medianOf(l, func(s sample) float64 { return value(s) / float64(s.Bytes) * gib })
			}
			mount, program := perGiB(func(s sample) float64 { return s.CPU }), perGiB(func(s sample) float64 { return s.Reader })
			if s.base == "" {
				mount, program = 0, mount
			}
			ratio := "-"
			if v, ok := res.cpuRatio(t.link.name, t.row.title, s.name, s.base); ok {
				ratio = fmt.Sprintf("%.2f", v)
			}
			fmt.Fprintf(tw, "%s\t%s\t%.2f\t%.2f\t%s\t%.2f\t\n", s.name, optional(mount, "%.2f"), program, mount+program, ratio,
				perGiB(func(s sample) float64 { return s.StoreCPU }))
		}
		tw.Flush() // a strings.Builder does not fail
	}
}

// figure has three digits or so.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func optional(v float64, format string) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

func amplification(s sample) string {
	if s.Bytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", float64(s.Counts.Data)/float64(s.Bytes))
}

// speed is how fast a value is beside another one: 1 is as fast, 0.5 takes twice the time.
func (w row) speed(v, base float64) float64 {
	if w.lower {
		return base / v
	}
	return v / base
}

// bestMedian are of a row's values.
func (w row) bestMedian(l []sample) (best, median float64) {
	v := make([]float64, len(l))
	for i, s := range l {
		v[i] = w.value(s)
	}
	sort.Float64s(v)
	best = v[len(v)-1]
	if w.lower {
		best = v[0]
	}
	return best, middle(v)
}

func medianOf(l []sample, value func(sample) float64) float64 {
	v := make([]float64, len(l))
	for i, s := range l {
		v[i] = value(s)
	}
	sort.Float64s(v)
	return middle(v)
}

// middle is the median of sorted values.
func middle(v []float64) float64 { return (v[(len(v)-1)/2] + v[len(v)/2]) / 2 }

func peakRSS(l []sample) float64 {
	var peak int64
	for _, s := range l {
		peak = max(peak, s.PeakRSS)
	}
	return float64(peak)
}

func requests(c store.Counts) string {
	var names []string
	for name := range c.Requests {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, c.Requests[name])
	}
	s := strings.Join(names, ", ")
	if s == "" {
		return "none"
	}
	s += fmt.Sprintf("; %d at once", c.MaxInFlight)
	if c.Aborted > 0 {
		s += fmt.Sprintf("; %d aborted", c.Aborted)
	}
	if c.Failed > 0 {
		s += fmt.Sprintf("; %d failed", c.Failed)
	}
	return s
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
