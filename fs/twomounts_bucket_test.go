package fs_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

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
