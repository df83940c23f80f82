package fs

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// The model of two mounts: programs on two hosts work in one bucket at the same time, and a client of the store that knows
// nothing of file systems writes, deletes and copies its objects. The rooms are wired as the command does it (life), time
// and the store are virtual, the kernels are imitated with what they trust and for how long (machine). What a program sees
// must be what its own host did last, or what others did, not longer ago than the promises allow; what it was told is in
// the bucket; and in the end all agree.
//
//	go test ./fs -run TwoMounts -two.seed 0 -two.for 10m
//	go test ./fs -run TwoMounts -two.seed 17 -two.runs 1
//
// A history that fails is made smaller as long as it goes on failing.

var (
	twoSeed   = flag.Uint64("two.seed", 1, "the first history of TestTwoMounts; 0: any")
	twoRuns   = flag.Int("two.runs", 0, "so many histories, however long it takes; 0: as many as there is time for")
	twoFor    = flag.Duration("two.for", 10*time.Second, "how long TestTwoMounts goes on")
	twoShrink = flag.Duration("two.shrink", 30*time.Second, "how long a history is made smaller")
	twoMore   = flag.Int("two.failures", 1, "so many failures before the end")
	twoOnly   = flag.String("two.only", "", "store or journal: that durability alone")
)

// shared is what happens to a bucket, but for the order of what happens at the same moment.
type shared struct {
	Seed             uint64
	Behind           bool
	TTL              time.Duration
	Settle, MaxLag   time.Duration
	Lag, DeletionLag time.Duration // of the store's listings
	Steps            [3][]step     // of the two hosts and of the client
}

// step is what one of them does next.
type step struct {
	Kind, Path, To string
	Sizes          []int
	N              int
	Think, Pause   time.Duration
}

func (s step) String() string {
	out := s.Kind + " " + s.Path
	if s.To != "" {
		out += " to " + s.To
	}
	return fmt.Sprintf("%s %v n %d think %v pause %v", out, s.Sizes, s.N, s.Think, s.Pause)
}

func (h shared) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "seed %d behind %v ttl %v settle %v max-lag %v lag %v deletions %v\n", h.Seed, h.Behind, h.TTL, h.Settle, h.MaxLag, h.Lag, h.DeletionLag)
	for i, steps := range h.Steps {
		for _, x := range steps {
			fmt.Fprintf(&s, "  %d: %v\n", i, x)
		}
	}
	return s.String()
}

// universe are the names that are used. "a-" sorts behind "a" as a name and before "a/" as a key.
func universe() (all []string) {
	names := []string{"a", "a-", "b"}
	for _, x := range names {
		all = append(all, x)
		for _, y := range names {
			all = append(all, x+"/"+y)
			for _, z := range names {
				all = append(all, x+"/"+y+"/"+z)
			}
		}
	}
	return all
}

func newShared(seed uint64) shared {
	r := rand.New(rand.NewPCG(seed, 0x2a0))
	h := shared{Seed: seed, Behind: r.IntN(2) == 0, TTL: pick(r, 5*time.Second, 5*time.Second, time.Second, time.Minute),
		Settle: pick(r, 100*time.Millisecond, time.Millisecond, time.Second), MaxLag: pick(r, 30*time.Second, 200*time.Millisecond)}
	switch r.IntN(3) {
	case 0:
		h.Lag = 5 * time.Second
	case 1:
		h.DeletionLag = 5 * time.Second
	}
	switch *twoOnly {
	case "store":
		h.Behind = false
	case "journal":
		h.Behind = true
	}
	haste := pick(r, 300*time.Millisecond, 3*time.Second, 20*time.Second)
	for who := range h.Steps {
		for range 10 + r.IntN(40) {
			h.Steps[who] = append(h.Steps[who], newStep(r, who, haste))
		}
	}
	return h
}

func newStep(r *rand.Rand, who int, haste time.Duration) step {
	// Names near the root are used most, so that there is something below them.
	name := func() string {
		p := pick(r, "a", "a", "a-", "b")
		for range pick(r, 0, 1, 1, 1, 2) {
			p += "/" + pick(r, "a", "a-", "b")
		}
		return p
	}
	s := step{Path: name(), N: r.IntN(1000), Think: pick(r, 0, time.Duration(r.Int64N(int64(haste))), time.Duration(r.Int64N(int64(haste)))),
		Pause: pick(r, 0, 0, time.Duration(r.IntN(300))*time.Millisecond)}
	if who == foreign {
		s.Kind = pick(r, "put", "put", "put", "delete", "delete", "copy", "marker")
		s.Sizes = []int{r.IntN(pick(r, 20, 3000))}
		if s.Kind == "copy" {
			s.To = name()
		}
		return s
	}
	s.Kind = pick(r, "save", "save", "save", "append", "edit", "cut", "chmod", "chown", "utimens", "setxattr", "mkdir", "mkdir", "mkdir", "symlink",
		"unlink", "unlink", "rmdir", "rename", "rename", "rename", "look", "look", "look", "look", "list", "list", "list", "forget", "flush")
	switch s.Kind {
	case "rename":
		s.To = name()
	case "chmod":
		s.N = pick(r, 0o600, 0o640, 0o711)
	case "save", "append", "edit":
		for range r.IntN(pick(r, 2, 4)) + pick(r, 0, 1, 1, 1) {
			s.Sizes = append(s.Sizes, 1+r.IntN(pick(r, 100, 2000, 6000)))
		}
	case "cut":
		s.N = r.IntN(3000)
	case "list":
		s.Path, _ = splitLast(s.Path)
	case "flush":
		s.Path = ""
	}
	return s
}

// duo is a bucket with two mounts.
type duo struct {
	h     shared
	w     *world
	truth truth
	hosts []*host
}

func newDuo(h shared, root string) *duo {
	p := s3mem.DefaultProfile()
	p.MinPart, p.MaxPart, p.MaxPut, p.Name = leastPart, 1<<20, 1<<20, "minio"
	w := &world{h: history{Seed: h.Seed, Behind: h.Behind, TTL: h.TTL, Settle: h.Settle, MaxLag: h.MaxLag}, root: root, born: time.Now(),
		mem: s3mem.New(s3mem.WithProfile(p), s3mem.WithBuckets("b"), s3mem.WithListingLag(h.Lag), s3mem.WithDeletionLag(h.DeletionLag))}
	w.mu.nth, w.mu.paths, w.mu.objects = make(map[string]int), make(map[string]*account), make(map[string]string)
	d := &duo{h: h, w: w, truth: truth{names: make(map[string][]since), hidden: make(map[string]time.Time)}}
	w.watch = d.watch
	return d
}

// mount makes a host.
func (d *duo) mount() *host {
	x := &host{d: d, id: len(d.hosts), own: make(map[string]*owned), blind: make(map[string]bool), owes: make(map[string]*owned)}
	x.l = d.w.live(filepath.Join(d.w.root, fmt.Sprint(x.id)))
	d.w.mu.Lock()
	d.hosts = append(d.hosts, x)
	d.w.mu.Unlock()
	defer close(x.l.opened)
	if err := x.l.open(); err != nil {
		d.w.find("mount %d: %v", x.id, err)
		return x
	}
	x.m = newMachine(x.l)
	return x
}

// watch takes note of what a mount's request has changed. w.mu is held.
func (d *duo) watch(l *life, name, key string, err error) {
	by := slices.IndexFunc(d.hosts, func(x *host) bool { return x.l == l })
	if err != nil {
		d.w.noteLocked("  mount %d %s %s: %v", by, name, key, err)
	}
	d.lookLocked(by, name)
}

func (d *duo) lookLocked(by int, how string) {
	for _, p := range d.truth.look(d.w, by, time.Now()) {
		d.w.noteLocked("  bucket: %s by %d: %s is %v", how, by, p, d.truth.at(p))
	}
}

// now is what a name is in the bucket.
func (d *duo) now(p string) state {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	return d.truth.at(p)
}

// known are all names that the bucket ever had.
func (d *duo) known() (all []string) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	for p := range d.truth.names {
		all = append(all, p)
	}
	return all
}

// keptLocked says whether what was owed lies under a conflict's name.
func (d *duo) keptLocked(p string, o *owned) bool {
	for q := range d.truth.names {
		if strings.HasPrefix(q, p+".conflict-") && slices.ContainsFunc(o.states, func(s state) bool { return s.body == d.truth.at(q).body }) {
			return true
		}
	}
	return false
}

// client does what the foreign client does next.
func (d *duo) client(s step) {
	body := d.w.body(s.Sizes[0])
	w := d.w
	w.mu.Lock()
	defer w.mu.Unlock()
	to := s.Path
	if s.Kind == "copy" {
		to = s.To
	}
	if s.Kind != "delete" { // it knows that a file is no directory
		for up, _ := splitLast(to); up != ""; up, _ = splitLast(up) {
			if k := d.truth.at(up).kind; k == reg || k == lnk {
				return
			}
		}
	}
	is := d.truth.at(s.Path)
	h := s3client.Headers{}
	if s.N%2 == 0 {
		h.Meta = map[string]string{"mode": fmt.Sprint(syscall.S_IFREG | 0o604), "uid": "7", "gid": "8", "mtime": fmt.Sprint(1e9 + s.N)}
	}
	w.noteLocked("client: %v", s)
	switch {
	case s.Kind == "put" && is.kind != dir:
		w.mem.PutBytes("b", s.Path, body, h)
	case s.Kind == "marker" && (is.kind == none || is.kind == dir):
		w.mem.PutBytes("b", s.Path+"/", nil, s3client.Headers{ContentType: "application/directory"})
	case s.Kind == "delete" && is.kind == dir:
		w.mem.Remove("b", s.Path+"/")
	case s.Kind == "delete":
		w.mem.Remove("b", s.Path)
	case s.Kind == "copy" && is.kind == reg && d.truth.at(s.To).kind != dir && s.To != s.Path:
		if _, err := w.mem.Copy(background, s3client.CopyRequest{SrcBucket: "b", SrcKey: s.Path, Bucket: "b", Key: s.To}); err != nil {
			w.findLocked("the client's copy: %v", err)
		}
	}
	d.lookLocked(foreign, "client")
}

// run carries the history out.
func (d *duo) run() {
	d.mount()
	d.mount()
	var all sync.WaitGroup
	for who, steps := range d.h.Steps {
		all.Go(func() {
			for _, s := range steps {
				time.Sleep(s.Think)
				if d.w.failed() {
					return
				}
				if who == foreign {
					d.client(s)
				} else {
					d.hosts[who].run(s)
				}
			}
		})
	}
	all.Wait()
	d.finish()
}

// finish is the end: everything is stored, and when all has been seen everybody agrees.
func (d *duo) finish() {
	for _, x := range d.hosts {
		x.m.ends()
		if !d.w.failed() {
			x.flush("")
		}
	}
	if !d.w.failed() {
		time.Sleep(d.ownFor() + d.span() + 11*time.Minute)
		d.mount()
	}
	for _, x := range d.hosts {
		if !d.w.failed() {
			x.agrees("")
			for _, u := range x.l.files.Unsaved() {
				if !x.orphaned(u.ID.Key) {
					d.w.find("mount %d: unsaved in the end: %v", x.id, u)
				}
			}
		}
	}
	for _, x := range d.hosts {
		x.m.ends()
		orphans := len(x.l.files.Unsaved())
		if err := x.l.close(context.Background()); err != nil && orphans == 0 && !d.w.failed() {
			d.w.find("close mount %d: %v", x.id, err)
		}
		if !d.w.failed() && orphans == 0 {
			x.l.journalIsEmpty(true)
		}
	}
	if !d.w.failed() {
		d.w.noUploads()
	}
}

// orphaned says whether a file cannot be stored since others took away the version under its changes. It stays as it is until
// somebody removes it.
func (x *host) orphaned(p string) bool {
	for _, u := range x.l.files.Unsaved() {
		if u.ID.Key == p {
			return u.Err != nil && strings.Contains(u.Err.Error(), "version under local changes is gone") && x.others(p, x.d.w.born, time.Now())
		}
	}
	return false
}

// agrees compares a directory with the bucket.
func (x *host) agrees(p string) {
	names, errno := x.m.list(p, false)
	if errno != 0 {
		x.d.w.find("mount %d in the end: list %q: %v", x.id, p, errno)
		return
	}
	for _, q := range append(x.d.known(), universe()...) {
		up, name := splitLast(q)
		if up != p || x.orphaned(q) {
			continue
		}
		s := x.d.now(q)
		a, errno := x.m.stat(q)
		switch {
		case !shownAs(names[name], s.kind):
			x.d.w.find("mount %d in the end: list %q: %s is of type %o, in the bucket it is %v", x.id, p, name, names[name]>>12, s)
		case s.kind == none:
			if errno != syscall.ENOENT {
				x.d.w.find("mount %d in the end: %s: %v, mode %o, it is not in the bucket", x.id, q, errno, a.Mode)
			}
			continue
		case x.blind[q] && errno == 0:
		case errno != 0 || a.Mode != s.kind|s.perm || a.Uid != s.uid || a.Gid != s.gid || s.kind != dir && a.Size != uint64(len(s.body)):
			x.d.w.find("mount %d in the end: stat %s: %v, %o, %d bytes, %d:%d; in the bucket it is %v", x.id, q, errno, a.Mode, a.Size, a.Uid, a.Gid, s)
		case s.kind != dir && (a.Mtime != uint64(s.mtime.Unix()) || a.Mtimensec != uint32(s.mtime.Nanosecond())):
			x.d.w.find("mount %d in the end: %s is of %d.%09d; in the bucket %v", x.id, q, a.Mtime, a.Mtimensec, s)
		}
		switch s.kind {
		case dir:
			x.agrees(q)
		case lnk:
			if to, errno := x.m.readlink(q); errno != 0 || to != s.body {
				x.d.w.find("mount %d in the end: %s leads to %q, %v; in the bucket %q", x.id, q, to, errno, s.body)
			}
		case reg:
			f, errno := x.m.open(q, syscall.O_RDONLY)
			var body []byte
			if errno == 0 {
				body, errno = x.m.read(f)
				x.m.close(f, false)
			}
			if errno != 0 || string(body) != s.body {
				x.d.w.find("mount %d in the end: %s reads as %s, %v; in the bucket %v", x.id, q, contentName(body), errno, s)
			}
			if v, errno := x.m.getxattr(q, "user.x"); (errno == 0) != (s.xattr != "") || errno == 0 && "+"+v != s.xattr {
				x.d.w.find("mount %d in the end: %s has user.x %q, %v; in the bucket %v", x.id, q, v, errno, s)
			}
		}
	}
}

func share(t *testing.T, root string, h shared) (res result) {
	dir, err := os.MkdirTemp(root, "h")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var d *duo
	synctest.Test(t, func(*testing.T) {
		d = newDuo(h, dir)
		d.run()
	})
	return result{findings: d.w.mu.findings, trace: d.w.mu.trace}
}

func TestTwoMounts(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that a history goes the same way again
	root := inMemory(t)
	seed, began, n, steps, failures := *twoSeed, time.Now(), 0, 0, 0
	if seed == 0 {
		seed = uint64(began.UnixNano()) % 1e12
	}
	for ; (*twoRuns == 0 || n < *twoRuns) && (*twoRuns > 0 || time.Since(began) < *twoFor) && failures < *twoMore; n++ {
		h := newShared(seed + uint64(n))
		res := share(t, root, h)
		for _, s := range h.Steps {
			steps += len(s)
		}
		if len(res.findings) > 0 {
			failures++
			small, res := smaller(t, root, h, res)
			t.Errorf("history %d: %s\n%s%s\nall: %s", h.Seed, res.findings[0], small, strings.Join(res.trace, "\n"), strings.Join(res.findings, "\n"))
		}
	}
	t.Logf("%d histories from %d with %d steps in %v", n, seed, steps, time.Since(began).Round(time.Second))
}

// smaller leaves out of a history what it does not need to fail.
func smaller(t *testing.T, root string, h shared, res result) (shared, result) {
	end := time.Now().Add(*twoShrink)
	for again := true; again; {
		again = false
		for who := range h.Steps {
			for n := len(h.Steps[who]); n >= 1; n /= 2 {
				for at := 0; at+n <= len(h.Steps[who]); {
					if time.Now().After(end) {
						return h, res
					}
					c := h
					c.Steps[who] = append(slices.Clone(h.Steps[who][:at]), h.Steps[who][at+n:]...)
					if at+n < len(h.Steps[who]) { // what comes later comes when it came
						c.Steps[who][at].Think += thought(h.Steps[who][at : at+n])
					}
					if got := share(t, root, c); len(got.findings) > 0 {
						h, res, again = c, got, true
					} else {
						at += n
					}
				}
			}
		}
	}
	return h, res
}

func thought(steps []step) (d time.Duration) {
	for _, s := range steps {
		d += s.Think
	}
	return d
}
