package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// page writes the result as a page to read, and a picture for each distance beside it: NAME.md, NAME-wan.svg.
func (r *rig) page(res *results) error {
	if r.o.page == "" {
		return nil
	}
	var errs []error
	base := strings.TrimSuffix(r.o.page, filepath.Ext(r.o.page))
	for _, name := range r.o.links {
		l, _ := linkNamed(name)
		bars := res.bars(name)
		if len(bars) == 0 {
			continue
		}
		errs = append(errs, os.WriteFile(base+"-"+name+".svg", []byte(plot("Speed beside a bare S3 client, store at "+l.String(), bars)), 0o644))
	}
	return errors.Join(append(errs, os.WriteFile(r.o.page, []byte(r.formatPage(res, filepath.Base(base))), 0o644))...)
}

func (r *rig) formatPage(res *results, pictures string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench-peers`"+`, which measures it anew where it is called; nothing here is edited by hand. The same work is done
by a bare minio-go client without any mount, by pailfs, and by its peers, in turns, on one machine and one server, which keeps
objects in memory and answers late on purpose. Medians of the rounds; what takes long is measured once, and for two minutes at most.

*Of raw* is the speed beside the bare client's: 1.00 is as fast, 0.50 takes twice the time. *CPU* is the mount's own process, *up*
and *down* are bodies of requests and answers. Times are those of this machine, where the store, the programs and the mount share the
processors; requests and bytes are the same on any.

- %s, Linux %s, %d processors, load %s before, %d rounds
`, time.Now().Format(time.DateOnly), kernel(), runtime.NumCPU(), r.load, r.o.rounds)
	for _, m := range r.mounters {
		if p, ok := m.(interface{ version() string }); ok {
			fmt.Fprintf(&b, "- %s: %s\n", m.name(), strings.TrimPrefix(p.version(), m.name()+" "))
		}
	}
	for _, why := range r.left {
		fmt.Fprintf(&b, "- left out: %s\n", why)
	}
	for _, name := range r.o.links {
		if l, _ := linkNamed(name); len(res.bars(name)) > 0 {
			fmt.Fprintf(&b, "\n![Speed beside a bare client at %s](%s-%s.svg)\n", l, pictures, name)
		}
	}
	r.pageBehind(&b, res)
	r.pageTargets(&b, res)
	for _, name := range r.o.links {
		l, _ := linkNamed(name)
		fmt.Fprintf(&b, "\n## %s\n", l)
		for _, t := range res.tables {
			if t.link.name == name {
				pageTable(&b, t, res)
			}
		}
	}
	for _, err := range res.errs {
		line, _, _ := strings.Cut(err.Error(), "\n")
		fmt.Fprintf(&b, "\n**Failed:** %s\n", cell(line))
	}
	return b.String()
}

// pageBehind lists where a peer is faster than the best way pailfs has.
func (r *rig) pageBehind(b *strings.Builder, res *results) {
	fmt.Fprintf(b, "\n## Where a peer is ahead\n\n")
	var lines []string
	compared := 0
	for _, t := range res.tables {
		own, ok := r.best(res, t)
		if !ok {
			continue
		}
		for _, by := range r.mounters[len(r.builds()):] {
			k := key{t.link.name, t.row.title, by.name()}
			l := res.samples[k]
			if _, late := res.late[k]; late {
				compared++ // pailfs was done before it
			}
			if len(l) == 0 {
				continue
			}
			compared++
			_, median := t.row.bestMedian(l)
			if ratio := t.row.speed(own, median); ratio < 1 {
				line := fmt.Sprintf("- %s, %s: %s %s %s, pailfs %s (%.2f of it)", t.link.name, t.row.title, by.name(),
					figure(median), t.row.unit, figure(own), ratio)
				if why := t.row.why[by.name()]; why != "" {
					line += ". " + why
				}
				lines = append(lines, line)
			}
		}
	}
	if compared == 0 {
		lines = []string{"No peer was measured."}
	} else {
		lines = append([]string{fmt.Sprintf("In %d of %d comparisons.\n", len(lines), compared)}, lines...)
	}
	fmt.Fprintln(b, strings.Join(lines, "\n"))
}

// best is the fastest median of the steps that are pailfs and wait for as much as a peer does.
func (r *rig) best(res *results, t table) (best float64, ok bool) {
	for _, by := range r.builds() {
		for _, suffix := range []string{"", " " + behind, " " + behindAll} {
			if suffix == " "+behind && t.row.title == newTitle() {
				continue // it does not wait for the store, and the peers were waited for
			}
			l := res.samples[key{t.link.name, t.row.title, by.name() + suffix}]
			if len(l) == 0 {
				continue
			}
			if _, median := t.row.bestMedian(l); !ok || t.row.speed(median, best) > 1 {
				best, ok = median, true
			}
		}
	}
	return best, ok
}

func (r *rig) pageTargets(b *strings.Builder, res *results) {
	verdicts := r.verdicts(res)
	if len(verdicts) == 0 {
		return
	}
	met := 0
	for _, v := range verdicts {
		if v.met() {
			met++
		}
	}
	fmt.Fprintf(b, "\n## Targets\n\n%d of %d are met. [Evidence](EVIDENCE.md#performance-targets) says what stands before the others.\n\n", met, len(verdicts))
	fmt.Fprintln(b, "| Target | Store | Wanted | Measured | Met |\n| --- | --- | --- | --- | --- |")
	for _, v := range verdicts {
		fmt.Fprintf(b, "| %s | %s | %s %s | %s | %s |\n", cell(v.what), v.link, strings.NewReplacer(">=", "≥", "<=", "≤").Replace(v.sign()),
			number(v.bound), number(v.value), v.word())
	}
}

func pageTable(b *strings.Builder, t table, res *results) {
	fmt.Fprintf(b, "\n### %s\n\n", cell(t.row.title))
	fmt.Fprintf(b, "| | %s | of raw | CPU s | RSS MiB | MB up | MB down | requests |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n", t.row.unit)
	for _, s := range t.row.steps {
		l := res.samples[key{t.link.name, t.row.title, s.name}]
		if limit, ok := res.late[key{t.link.name, t.row.title, s.name}]; ok && len(l) == 0 {
			fmt.Fprintf(b, "| %s | not done after %s | | | | | | |\n", cell(s.name), limit)
		}
		if len(l) == 0 {
			continue
		}
		_, median := t.row.bestMedian(l)
		ratio := "-"
		if v, ok := t.ratio(res, s); ok {
			ratio = fmt.Sprintf("%.2f", v)
		}
		last := l[len(l)-1]
		fmt.Fprintf(b, "| %s | %s | %s | %.2f | %s | %.1f | %.1f | %s |\n", cell(s.name), figure(median), ratio,
			medianOf(l, func(s sample) float64 { return s.CPU }), optional(peakRSS(l)/mib, "%.0f"),
			float64(last.Counts.In)/1e6, float64(last.Counts.Out)/1e6, cell(requests(last.Counts)))
	}
	for _, n := range t.row.notes {
		fmt.Fprintf(b, "\n%s\n", cell(n))
	}
}

// ratio is a step's speed beside its base's.
func (t table) ratio(res *results, s step) (float64, bool) {
	l, base := res.samples[key{t.link.name, t.row.title, s.name}], res.samples[key{t.link.name, t.row.title, s.base}]
	if len(l) == 0 || len(base) == 0 {
		return 0, false
	}
	_, median := t.row.bestMedian(l)
	_, of := t.row.bestMedian(base)
	return t.row.speed(median, of), true
}

// bars are the rows of a distance that are compared to a bare client.
func (r *results) bars(link string) (groups []group) {
	for _, t := range r.tables {
		if t.link.name != link {
			continue
		}
		g := group{title: t.row.title}
		for _, s := range t.row.steps {
			if !strings.HasPrefix(s.base, rawName) || s.name == floorName {
				continue
			}
			if v, ok := t.ratio(r, s); ok {
				g.bars = append(g.bars, bar{s.name, v})
			}
		}
		if len(g.bars) > 0 {
			groups = append(groups, g)
		}
	}
	return slices.Clip(groups)
}

// cell is text within a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
