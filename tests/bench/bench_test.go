package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pailfs/tests/bench/store"
)

func TestContentIsTheSameHoweverItIsMade(t *testing.T) {
	c := contentOf("k", 200_000)
	whole, err := io.ReadAll(c.reader())
	if err != nil || int64(len(whole)) != c.size {
		t.Fatalf("%d bytes, %v", len(whole), err)
	}
	part := make([]byte, 80_000)
	c.fill(part, 40_000)
	if !bytes.Equal(part, whole[40_000:120_000]) {
		t.Error("a part differs from the whole")
	}
	if other, err := io.ReadAll(contentOf("l", 200_000).reader()); err != nil || bytes.Equal(other, whole) {
		t.Error("two objects are the same")
	}
	for _, off := range []int64{0, 1, 7, 8, 4095, 4096, 65537} {
		for _, n := range []int64{0, 1, 7, 8, 15, 16, 4096, 100_000} {
			if err := c.check(whole[off:off+n], off); err != nil {
				t.Errorf("%d bytes at %d: %v", n, off, err)
			}
		}
	}
}

func TestCheckFindsWhatIsNotInItsPlace(t *testing.T) {
	c := contentOf("k", 1<<20)
	whole := make([]byte, c.size)
	c.fill(whole, 0)
	for name, spoil := range map[string]func(b []byte){
		"a page of zeros":        func(b []byte) { clear(b[8192:12288]) },
		"the last page":          func(b []byte) { clear(b[len(b)-4096:]) },
		"two pages changed over": func(b []byte) { copy(b[4096:8192], whole[:4096]) },
		"everything moved":       func(b []byte) { copy(b, whole[8:]) },
	} {
		b := slices.Clone(whole)
		spoil(b)
		if c.check(b, 0) == nil {
			t.Errorf("%s was not found", name)
		}
		if c.check(b[3:], 3) == nil {
			t.Errorf("%s was not found from byte 3 on", name)
		}
	}
}

func TestRandomReadsAreApart(t *testing.T) {
	r := &rig{big: newObject("k", 1<<30), link: link{latency: time.Millisecond}}
	for _, size := range []int64{4 * kib, 128 * kib} {
		for _, aligned := range []bool{true, false} {
			var all []int64
			for _, l := range r.offsets(size, aligned) {
				all = append(all, l...)
			}
			slices.Sort(all)
			if len(all) != 4000 {
				t.Errorf("%d reads", len(all))
			}
			for i, off := range all {
				if aligned && off%alignBytes != 0 || off+size > r.big.size || i > 0 && off < all[i-1]+size {
					t.Errorf("size %d: read %d is at %d, the one before at %d", size, i, off, all[max(i, 1)-1])
				}
			}
		}
	}
	r.big = newObject("k", 128<<20)
	if l := r.offsets(4*kib, true); len(l) != threads || len(l[0]) != 128 {
		t.Errorf("a small file: %d threads, %d reads", len(l), len(l[0]))
	}
}

// testRig has two rounds of some measurements: pailfs takes twice the time of the bare client.
func testRig() (*rig, *results) {
	r := &rig{o: options{rounds: 2, links: list{"wan"}, store: storeBench, memoryMiB: 256}, big: newObject("big.bin", 1<<30),
		small: make([]object, 2000), mounters: []mounter{&pailfs{label: "pailfs", path: "/nonexistent"}}}
	for range parallel {
		r.par = append(r.par, newObject("p", 64<<20))
	}
	wan, _ := linkNamed("wan")
	r.link = wan
	res := &results{samples: map[key][]sample{}}
	for _, w := range append(append(r.firstbyte(), r.seqread(), r.parallel(), r.smallfiles()), r.randread()...) {
		res.tables = append(res.tables, table{wan, w})
		for _, s := range w.steps {
			seconds := 1.0
			if s.name == "pailfs" {
				seconds = 2
			}
			one := sample{Seconds: seconds, Ops: 2000, Bytes: 1 << 30, CPU: seconds, PeakRSS: 300 << 20,
				Counts: store.Counts{Requests: map[string]int64{"Get": 2000}, Data: 2 << 30, MaxInFlight: 3}}
			res.samples[key{"wan", w.title, s.name}] = []sample{one, one}
		}
	}
	return r, res
}

func TestTargetsAreMeasured(t *testing.T) {
	r, res := testRig()
	want := map[string]float64{
		"cold sequential read / raw":                  0.5,
		"CPU of a cold read, mount and program / raw": 2,
		"first byte by path, round trips over raw":    50,
		"first byte after ls, round trips over raw":   50,
		"random 4 KiB, GETs a read":                   1,
		"random 128 KiB, bytes fetched / asked":       2,
		"small files / raw 32 at once":                0.5,
		"small files, GETs":                           2000,
		"small files, HEADs":                          0,
		"16 readers, peak RSS in MiB":                 300,
	}
	for _, target := range r.targets() {
		got, ok := target.measured(res, "wan", "pailfs")
		if w, wanted := want[target.what]; wanted && (!ok || math.Abs(got-w) > 1e-9) {
			t.Errorf("%s: %v, %t; want %v", target.what, got, ok, w)
		}
		delete(want, target.what)
		if _, ok := target.measured(res, "lan", "pailfs"); ok {
			t.Errorf("%s was measured where nothing was", target.what)
		}
	}
	if len(want) > 0 {
		t.Errorf("no target: %v", want)
	}
}

func TestReportShowsEverySeries(t *testing.T) {
	r, res := testRig()
	res.errs = append(res.errs, fmt.Errorf("wan, a row, pailfs: it broke\nits log"))
	text := r.format(res)
	for _, want := range []string{
		r.seqTitle() + "  (wan: 20ms to the first byte, 80 MB/s a connection)",
		"  pailfs        537     537       0.50         0.50   2.00       -   0.00      300      2147.5    2.000  Get 2000; 3 at once\n",
		"CPU seconds a GiB",
		"16 readers, peak RSS in MiB",
		"NO\n",
		"FAILED wan, a row, pailfs: it broke\n",
	} {
		if !bytes.Contains([]byte(text), []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"--rows", "seqread,nonsense"}, {"--links", "moon"}, {"--size", "100"}, {"--rounds", "0"}, {"--store", "x"}, {"x"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

// A page and its pictures of results that are made up.
func TestPage(t *testing.T) {
	w := row{title: "files | 16 KiB", unit: "files/s", value: perSecond, steps: []step{{name: rawName}, {name: "pailfs", base: rawName}, {name: "s3fs", base: rawName}, {name: "rclone", base: rawName}}}
	wan, _ := linkNamed("wan")
	res := &results{samples: map[key][]sample{}, tables: []table{{wan, w}}}
	for name, speed := range map[string]float64{rawName: 100, "pailfs": 50, "s3fs": 75, "rclone": 1} {
		res.samples[key{"wan", w.title, name}] = []sample{{Seconds: 1, Ops: int64(speed), PeakRSS: 3 * mib, CPU: 0.5,
			Counts: store.Counts{Requests: map[string]int64{"Put": int64(speed)}, In: 2e6, Out: 1e6, MaxInFlight: 16}}}
	}
	late := row{title: "slow", unit: "files/s", value: perSecond, steps: []step{{name: rawName}, {name: "pailfs", base: rawName}, {name: "s3fs", base: rawName, once: true}}}
	res.tables = append(res.tables, table{wan, late})
	res.samples[key{"wan", late.title, "pailfs"}] = []sample{{Seconds: 1, Ops: 5}}
	res.late = map[key]time.Duration{{"wan", late.title, "s3fs"}: 2 * time.Minute}
	r := &rig{o: options{page: t.TempDir() + "/B.md", links: list{"wan"}, rounds: 3}, mounters: []mounter{&pailfs{label: "pailfs"}, s3fs{}, rclone{}},
		big: object{size: gib}, par: []object{{size: 1}}}
	text := r.formatPage(res, "B")
	for _, want := range []string{
		"| pailfs | 50.0 | 0.50 | 0.50 | 3 | 2.0 | 1.0 | Put 50; 16 at once |",
		`### files \| 16 KiB`,
		"In 1 of 3 comparisons.",
		"| s3fs | not done after 2m0s | | | | | | |",
		"- wan, files | 16 KiB: s3fs 75.0 files/s, pailfs 50.0 (0.67 of it)",
		"![Speed beside a bare client at wan: 20ms to the first byte, 80 MB/s a connection](B-wan.svg)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	bars := res.bars("wan")
	if len(bars) != 1 || len(bars[0].bars) != 3 || bars[0].bars[0] != (bar{"pailfs", 0.5}) {
		t.Fatalf("%+v", bars)
	}
	picture := plot("<title>", bars)
	if strings.Contains(picture, "%!") || strings.Contains(text, "%!") {
		t.Error("a format does not fit", picture)
	}
	d := xml.NewDecoder(strings.NewReader(picture))
	rects := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			rects++
		}
	}
	if rects != 1+3+3 { // the ground, the names, the bars
		t.Errorf("%d rects in %s", rects, picture)
	}
}
