package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// target is what a row should reach.
type target struct {
	what  string
	link  string
	group string // the row of --rows it belongs to
	atMax bool   // the bound is the most there may be; else the least
	bound float64
	// measured takes what is measured of one build; false where it was not.
	measured func(res *results, link, build string) (float64, bool)
}

// targets are pailfs's. Ratios are of medians and of speeds: 1 is as fast as what it is compared to.
func (r *rig) targets() []target {
	seq, par, small := r.seqTitle(), r.parTitle(), r.smallTitle()
	files := float64(len(r.small))
	rand4, rand128 := randTitle(4*kib, true), randTitle(128*kib, true)
	return []target{
		{"cold sequential read / raw", "wan", "seqread", false, 0.95, speedOf(seq, rawName)},
		{"cold sequential read / raw", "lan", "seqread", false, 0.90, speedOf(seq, rawName)},
		{"cold sequential read / raw", "far", "seqread", false, 0.95, speedOf(seq, rawName)},
		{"CPU of a cold read, mount alone / raw", "wan", "seqread", true, 1.5, mountCPUOver(seq, rawName)},
		{"CPU of a cold read, mount and program / raw", "wan", "seqread", true, 1.5, cpuOver(seq, rawName)},
		{"first byte by path, round trips over raw", "wan", "firstbyte", true, 1.3, r.tripsOver(firstByPath)},
		{"first byte after ls, round trips over raw", "wan", "firstbyte", true, 0.3, r.tripsOver(firstAfterLs)},
		{"page cache / local file", "", "again", false, 0.95, speedOf(againCached, localName)},
		{"page cache with passthrough / local file", "", "again", false, 0.95, variant(passthrough, speedOf(againCached, localName))},
		{"disk cache with passthrough / local file", "", "again", false, 0.90, variant(passthrough, speedOf(againDisk, localName))},
		{"disk cache without passthrough / local file", "", "again", false, 0.60, variant(noPassthrough, speedOf(againDisk, localName))},
		{"random 4 KiB / raw", "wan", "randread", false, 0.90, speedOf(rand4, rawName)},
		{"random 4 KiB / raw", "lan", "randread", false, 0.90, speedOf(rand4, rawName)},
		{"random 4 KiB, bytes fetched / asked", "wan", "randread", true, 16, fetched(rand4)},
		{"random 4 KiB, GETs a read", "wan", "randread", true, 1, perOp(rand4, "Get")},
		{"random 128 KiB / raw", "wan", "randread", false, 0.90, speedOf(rand128, rawName)},
		{"random 128 KiB, bytes fetched / asked", "wan", "randread", true, 1.3, fetched(rand128)},
		{"random 128 KiB, GETs a read", "wan", "randread", true, 1, perOp(rand128, "Get")},
		{"random 128 KiB at any byte, bytes fetched / asked", "wan", "randread", true, 1.3, fetched(randTitle(128*kib, false))},
		{"small files / raw one by one", "wan", "smallfiles", false, 10, speedOf(small, rawOne)},
		{"small files / raw 32 at once", "wan", "smallfiles", false, 0.50, speedOf(small, rawMany)},
		{"small files / raw 32 at once", "lan", "smallfiles", false, 0.50, speedOf(small, rawMany)},
		{"small files, GETs", "wan", "smallfiles", true, files + 10, countOf(small, "Get")},
		{"small files, HEADs", "wan", "smallfiles", true, 0, countOf(small, "Head")},
		{"16 readers / raw", "wan", "parallel", false, 0.90, speedOf(par, rawName)},
		{"16 readers / raw", "lan", "parallel", false, 0.90, speedOf(par, rawName)},
		{"16 readers / raw", "far", "parallel", false, 0.90, speedOf(par, rawName)},
		{"sequential write / raw", "wan", "write", false, 0.95, speedOf(r.writeTitle(), rawName)},
		{"sequential write / raw", "lan", "write", false, 0.85, speedOf(r.writeTitle(), rawName)},
		{"sequential write, peak RSS in MiB", "wan", "write", true, 300e6 / mib, rssOfRow(r.writeTitle())},
		{"100 writes near each other, MiB up", "wan", "edit", true, 32, sentBy(r.editNear().title)},
		{"100 writes near each other, MiB down", "wan", "edit", true, 12, receivedBy(r.editNear().title)},
		{"100 writes near each other / s3fs", "wan", "edit", false, 10, speedOf(r.editNear().title, "s3fs")},
		{"100 writes near each other / rclone", "wan", "edit", false, 10, speedOf(r.editNear().title, "rclone")},
		{"100 writes all over / uploading it once", "wan", "edit", false, 1 / 1.2, speedOf(r.editFar().title, rawUpload)},
		{"appended 4 KiB, MiB up", "wan", "edit", true, 10, sentBy(r.editEnd().title)},
		{"new files, PUTs", "wan", "newfiles", true, newFiles, countOf(newTitle(), "Put")},
		{"new files / raw", "wan", "newfiles", false, 0.90, speedOf(newTitle(), rawName)},
		{"new files / raw", "lan", "newfiles", false, 0.90, speedOf(newTitle(), rawName)},
		{"new files, closes behind the journal / in the store", "wan", "newfiles", false, 20, overOwn(newTitle(), behind)},
		{"new files behind the journal, until stored / raw", "wan", "newfiles", false, 0.90, variant(behindAll, speedOf(newTitle(), rawName))},
		{"new files behind the journal, until stored / raw", "lan", "newfiles", false, 0.90, variant(behindAll, speedOf(newTitle(), rawName))},
		{"tar x, requests a file", "wan", "trees", true, 1.05, variant(behind, requestsAnOp(r.treeTitle("tar x")))},
		{"rsync -a, requests a file", "wan", "trees", true, 1.05, variant(behind, requestsAnOp(r.treeTitle("rsync -a")))},
		{"unzip, requests a file", "wan", "trees", true, 1.05, variant(behind, requestsAnOp(r.treeTitle("unzip")))},
		{"git clone, requests a file", "wan", "trees", true, 1.05, variant(behind, requestsAnOp(r.treeTitle("git clone")))},
		{"tar x until stored / raw", "wan", "trees", false, 1 / 1.3, variant(behind, speedOf(r.treeTitle("tar x"), rawName))},
		{"rsync -a until stored / raw", "wan", "trees", false, 1 / 1.3, variant(behind, speedOf(r.treeTitle("rsync -a"), rawName))},
		{"unzip until stored / raw", "wan", "trees", false, 1 / 1.3, variant(behind, speedOf(r.treeTitle("unzip"), rawName))},
		{"git clone until stored / raw", "wan", "trees", false, 1 / 1.3, variant(behind, speedOf(r.treeTitle("git clone"), rawName))},
		{"rm -r, requests", "wan", "remove", true, float64(r.o.files)/1000*2 + 30, variant(behind, requestsOf(r.removeTitle()))},
		{"ls -f of 50,000 / raw", "wan", "names", false, 0.90, speedOf(flatTitle, rawName)},
		{"ls -f of 50,000 / raw", "lan", "names", false, 0.90, speedOf(flatTitle, rawName)},
		{"ls -f of 50,000, LISTs", "wan", "names", true, 52, countOf(flatTitle, "List")},
		{"ls -l cold, HEADs a file", "wan", "names", true, 1, perOp(r.longTitle(), "Head")},
		{"ls -l cold / raw 32 at once", "wan", "names", false, 0.50, speedOf(r.longTitle(), rawMany)},
		{"rename of a directory / raw", "wan", "names", false, 0.80, speedOf(renameTitle, rawName)},
		{"rename of a directory, requests", "wan", "names", true, 2060, requestsOf(renameTitle)},
		{"stat from the kernel's cache, a second", "wan", "names", false, 100_000, perSecondOf(cachedTitle)},
		{"stat past the kernel's cache, a second", "wan", "names", false, 30_000, perSecondOf(beyondTitle)},
		{"find over 10,000 files, requests", "wan", "names", true, 14, requestsOf(r.walkTitle("find"))},
		{"du over 10,000 files, requests", "wan", "names", true, 14, requestsOf(r.walkTitle("du"))},
		{"rsync over 10,000 files, requests", "wan", "names", true, 14, requestsOf(r.walkTitle("rsync"))},
		{"16 readers, peak RSS in MiB", "wan", "parallel", true, float64(r.o.memoryMiB) + 60e6/mib, rssOfRow(par)},
	}
}

// verdict is a target beside what was measured of a build.
type verdict struct {
	target
	build string
	value float64
}

func (v verdict) met() bool {
	if v.atMax {
		return v.value <= v.bound
	}
	return v.value >= v.bound
}

func (v verdict) sign() string {
	if v.atMax {
		return "<="
	}
	return ">="
}

func (v verdict) word() string {
	if v.met() {
		return "yes"
	}
	return "NO"
}

// verdicts are of all targets that something was measured for.
func (r *rig) verdicts(res *results) (l []verdict) {
	for _, t := range r.targets() {
		link := t.link
		if link == "" { // it is measured at one of them alone
			link = r.o.links[len(r.o.links)-1]
		}
		for _, by := range r.builds() {
			if v, ok := t.measured(res, link, by.name()); ok {
				l = append(l, verdict{t, by.name(), v})
			}
		}
	}
	return l
}

// formatTargets is the last table.
func (r *rig) formatTargets(b *strings.Builder, res *results) {
	verdicts := r.verdicts(res)
	if len(verdicts) == 0 {
		return
	}
	fmt.Fprintln(b)
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "target\tlink\tbuild\twanted\tmeasured\tmet\n")
	for _, v := range verdicts {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s %s\t%s\t%s\n", v.what, v.link, v.build, v.sign(), number(v.bound), number(v.value), v.word())
	}
	tw.Flush() // a strings.Builder does not fail
}

func number(v float64) string {
	if v == float64(int64(v)) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

type measured = func(res *results, link, build string) (float64, bool)

// row finds the table of a title.
func (r *results) row(link, title string) (row, bool) {
	for _, t := range r.tables {
		if t.link.name == link && t.row.title == title {
			return t.row, true
		}
	}
	return row{}, false
}

func speedOf(title, base string) measured {
	return func(res *results, link, build string) (float64, bool) {
		w, ok := res.row(link, title)
		l, b := res.samples[key{link, title, build}], res.samples[key{link, title, base}]
		if !ok || len(l) == 0 || len(b) == 0 {
			return 0, false
		}
		_, median := w.bestMedian(l)
		_, baseMedian := w.bestMedian(b)
		return w.speed(median, baseMedian), true
	}
}

// variant measures a step whose name has something behind the build's.
func variant(suffix string, m measured) measured {
	return func(res *results, link, build string) (float64, bool) { return m(res, link, build+" "+suffix) }
}

func (r *rig) tripsOver(title string) measured {
	return func(res *results, link, build string) (float64, bool) {
		l, b := res.samples[key{link, title, build}], res.samples[key{link, title, rawName}]
		if len(l) == 0 || len(b) == 0 {
			return 0, false
		}
		at, _ := linkNamed(link)
		seconds := func(s sample) float64 { return s.Seconds }
		return (medianOf(l, seconds) - medianOf(b, seconds)) / at.latency.Seconds(), true
	}
}

func cpuOver(title, base string) measured {
	return func(res *results, link, build string) (float64, bool) { return res.cpuRatio(link, title, build, base) }
}

// mountCPUOver leaves the reading program out: what it costs to read a file is the kernel's.
func mountCPUOver(title, base string) measured {
	return func(res *results, link, build string) (float64, bool) {
		l, b := res.samples[key{link, title, build}], res.samples[key{link, title, base}]
		if len(l) == 0 || len(b) == 0 {
			return 0, false
		}
		both := func(s sample) float64 { return s.CPU + s.Reader }
		return medianOf(l, func(s sample) float64 { return s.CPU }) / medianOf(b, both), true
	}
}

// cpuRatio is what mount and program used, over what the base's did.
func (r *results) cpuRatio(link, title, step, base string) (float64, bool) {
	l, b := r.samples[key{link, title, step}], r.samples[key{link, title, base}]
	if len(l) == 0 || len(b) == 0 {
		return 0, false
	}
	both := func(s sample) float64 { return s.CPU + s.Reader }
	return medianOf(l, both) / medianOf(b, both), true
}

// worst is the largest of a value in all rounds.
func worst(title string, value func(sample) float64) measured {
	return func(res *results, link, build string) (float64, bool) {
		l := res.samples[key{link, title, build}]
		if len(l) == 0 {
			return 0, false
		}
		v := value(l[0])
		for _, s := range l[1:] {
			v = max(v, value(s))
		}
		return v, true
	}
}

func countOf(title, kind string) measured {
	return worst(title, func(s sample) float64 { return float64(s.Counts.Requests[kind]) })
}

func perOp(title, kind string) measured {
	return worst(title, func(s sample) float64 { return float64(s.Counts.Requests[kind]) / float64(s.Ops) })
}

func fetched(title string) measured {
	return worst(title, func(s sample) float64 { return float64(s.Counts.Data) / float64(s.Bytes) })
}

func rssOfRow(title string) measured {
	return worst(title, func(s sample) float64 { return float64(s.PeakRSS) / mib })
}

// sentBy and receivedBy are bodies of objects, in MiB.
func sentBy(title string) measured {
	return worst(title, func(s sample) float64 { return float64(s.Counts.In) / mib })
}

func receivedBy(title string) measured {
	return worst(title, func(s sample) float64 { return float64(s.Counts.Data) / mib })
}

func (s sample) requests() (n int64) {
	for _, c := range s.Counts.Requests {
		n += c
	}
	return n
}

func requestsOf(title string) measured {
	return worst(title, func(s sample) float64 { return float64(s.requests()) })
}

// perSecondOf is the median of all rounds.
func perSecondOf(title string) measured {
	return func(res *results, link, build string) (float64, bool) {
		l := res.samples[key{link, title, build}]
		if len(l) == 0 {
			return 0, false
		}
		return medianOf(l, perSecond), true
	}
}

func requestsAnOp(title string) measured {
	return worst(title, func(s sample) float64 { return float64(s.requests()) / float64(s.Ops) })
}

// overOwn is a variant's speed beside the build's own without it.
func overOwn(title, suffix string) measured {
	return func(res *results, link, build string) (float64, bool) {
		return speedOf(title, build)(res, link, build+" "+suffix)
	}
}
