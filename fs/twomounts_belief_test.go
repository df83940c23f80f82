package fs_test

import (
	"slices"
	"strings"
	"syscall"
	"time"

	pfs "pailfs/fs"
)

// owned is what a program was told of a name that it changed.
type owned struct {
	states     []state // any of them
	any        bool    // the call failed: nobody knows
	floor, ack time.Time
}

// span is how late a host may see what others did: two lifetimes, the kernel's over the mount's, a late listing, and requests.
func (d *duo) span() time.Duration {
	return d.h.TTL + min(d.h.TTL, pfs.KernelTTL) + max(d.h.Lag, d.h.DeletionLag) + 3*time.Second
}

// ownFor is how long a host's own change may outweigh what the store says: listings may lag, tree's settle begins when one has
// agreed and ends with the listing after it, and in journal durability it has to get there.
func (d *duo) ownFor() time.Duration {
	t := d.span() + 30*time.Second + d.h.TTL
	if d.h.Behind {
		t += d.h.MaxLag + time.Minute
	}
	return t
}

// mine is what the program was told of a name, if that still counts.
func (x *host) mine(p string, at time.Time) *owned {
	if o := x.own[p]; o != nil && at.Before(o.ack.Add(x.d.ownFor())) {
		return o
	}
	return nil
}

// may is what a name can be to the program during a call: its own last change, what others made of it later, and where it
// changed nothing, all that the name was within the span. nil: anything.
func (x *host) may(p string, begin, end time.Time) (all []state) {
	x.d.w.mu.Lock()
	defer x.d.w.mu.Unlock()
	return x.mayLocked(p, begin, end)
}

func (x *host) mayLocked(p string, begin, end time.Time) (all []state) {
	if p == "" {
		return []state{{kind: syscall.S_IFDIR, loose: true}}
	}
	own := x.mine(p, begin)
	if own != nil && own.any || x.d.wasHiddenLocked(p, begin) {
		return nil
	}
	states := x.d.truth.during(p, begin.Add(-x.d.span()), end)
	for _, s := range states {
		if own == nil || !s.from.Before(own.floor) || x.replaced(own, states) {
			all = append(all, s.state)
		}
	}
	if own != nil {
		all = append(all, own.states...)
	}
	if slices.ContainsFunc(x.belowLocked(p, begin, end), func(s state) bool { return s.kind != 0 }) {
		all = append(all, state{kind: syscall.S_IFDIR, loose: true})
	}
	return all
}

// replaced says whether others have replaced what the program made. Then nothing holds a listing that lags against what was
// before both.
func (x *host) replaced(own *owned, states []since) bool {
	return max(x.d.h.Lag, x.d.h.DeletionLag) > 0 && slices.ContainsFunc(states, func(s since) bool { return s.by != x.id && !s.from.Before(own.floor) })
}

// wasHiddenLocked says whether a name, or one above it, was both an object and a directory lately: by and by everybody sees the
// directory.
func (d *duo) wasHiddenLocked(p string, at time.Time) bool {
	for h, last := range d.truth.hidden {
		if within(p, h) && at.Before(last.Add(d.ownFor())) {
			return true
		}
	}
	return false
}

// belowLocked is what names below a directory may be.
func (x *host) belowLocked(dir string, begin, end time.Time) (all []state) {
	for p := range x.own {
		if o := x.mine(p, begin); o != nil && strings.HasPrefix(p, dir+"/") {
			all = append(all, o.states...)
			if o.any {
				all = append(all, state{kind: syscall.S_IFREG})
			}
		}
	}
	for p := range x.d.truth.names {
		if !strings.HasPrefix(p, dir+"/") {
			continue
		}
		own := x.mine(p, begin)
		for _, s := range x.d.truth.during(p, begin.Add(-x.d.span()), end) {
			if own == nil || !s.from.Before(own.floor) {
				all = append(all, s.state)
			}
		}
	}
	return all
}

// others says whether anybody else has changed a name, what is above it or below it, so that this host may not know.
func (x *host) others(p string, since, end time.Time) bool {
	x.d.w.mu.Lock()
	defer x.d.w.mu.Unlock()
	return x.othersLocked(p, since, end)
}

func (x *host) othersLocked(p string, since, end time.Time) bool {
	for q, all := range x.d.truth.names {
		if !within(q, p) && !within(p, q) {
			continue
		}
		for _, s := range all {
			if s.by != x.id && !s.from.Before(since) && !s.from.After(end) {
				return true
			}
		}
	}
	return false
}

// unsure says whether the program cannot know what a name is: a call of its own failed, or others have been there.
func (x *host) unsure(p string, begin, end time.Time) bool {
	for q := range x.own {
		if o := x.mine(q, begin); o != nil && o.any && (within(q, p) || within(p, q)) {
			return true
		}
	}
	return x.others(p, begin.Add(-x.d.ownFor()), end)
}

func anyOf(all []state, is func(state) bool) bool { return all == nil || slices.ContainsFunc(all, is) }

// since is what others have made of a name while the mount may have trusted what it did itself: a request tells.
func (x *host) since(p string, begin, end time.Time) (all []state) {
	x.d.w.mu.Lock()
	defer x.d.w.mu.Unlock()
	for _, s := range x.d.truth.during(p, begin.Add(-x.d.ownFor()), end) {
		if s.by != x.id && s.from.After(begin.Add(-x.d.ownFor())) {
			all = append(all, s.state)
		}
	}
	return all
}

func isKind(kinds ...uint32) func(state) bool {
	return func(s state) bool { return slices.Contains(kinds, s.kind) }
}

const (
	none = uint32(0)
	dir  = uint32(syscall.S_IFDIR)
	reg  = uint32(syscall.S_IFREG)
	lnk  = uint32(syscall.S_IFLNK)
)

// excused says whether an error can be explained by what names may be.
func (x *host) excused(errno syscall.Errno, s step, begin, end time.Time) bool {
	is := func(p string, kinds ...uint32) bool {
		return anyOf(x.may(p, begin, end), isKind(kinds...)) || slices.ContainsFunc(x.since(p, begin, end), isKind(kinds...))
	}
	above := func(p string, kinds ...uint32) bool {
		for up, _ := splitLast(p); up != ""; up, _ = splitLast(up) {
			if is(up, kinds...) {
				return true
			}
		}
		return false
	}
	full := func(p string) bool {
		x.d.w.mu.Lock()
		defer x.d.w.mu.Unlock()
		return slices.ContainsFunc(x.belowLocked(p, begin, end), func(s state) bool { return s.kind != 0 })
	}
	makes := slices.Contains([]string{"save", "mkdir", "symlink"}, s.Kind)
	switch errno {
	case syscall.ENOENT:
		return above(s.Path, none) || !makes && is(s.Path, none) || s.To != "" && above(s.To, none)
	case syscall.ENOTDIR:
		return above(s.Path, reg, lnk) || s.To != "" && (above(s.To, reg, lnk) || is(s.Path, dir) && is(s.To, reg, lnk)) ||
			(s.Kind == "rmdir" || s.Kind == "list") && is(s.Path, reg, lnk)
	case syscall.EISDIR:
		return s.To == "" && is(s.Path, dir) || s.To != "" && is(s.To, dir)
	case syscall.EEXIST:
		return (makes) && is(s.Path, dir, reg, lnk)
	case syscall.ELOOP:
		return is(s.Path, lnk)
	case syscall.EPERM:
		return s.Kind == "setxattr" && is(s.Path, lnk)
	case syscall.EINVAL:
		return s.To != "" && within(s.To, s.Path) || s.Kind == "look" && is(s.Path, reg, dir)
	case syscall.ENOTEMPTY:
		return s.Kind == "rmdir" && (full(s.Path) || x.madeBelow(s.Path)) || s.To != "" && (full(s.To) || x.madeBelow(s.To))
	case syscall.EIO: // a copy that somebody else has overwritten before it was verified
		if s.Kind == "append" || s.Kind == "edit" { // its base is gone, and the upload takes that for its own loss
			return x.unsure(s.Path, begin, end)
		}
		return x.others(s.Path, begin, end) || s.To != "" && x.others(s.To, begin, end)
	case syscall.ESTALE:
		return x.unsure(s.Path, begin, end) || s.To != "" && x.unsure(s.To, begin, end)
	}
	return false
}

// madeBelow says whether the program made something below a directory that others may have removed: as it goes on being listed
// (once), it goes on keeping the directory.
func (x *host) madeBelow(dir string) bool {
	for p, o := range x.own {
		if strings.HasPrefix(p, dir+"/") && time.Since(o.ack) < 11*time.Minute && anyOf(o.states, func(s state) bool { return s.kind != none }) {
			return true
		}
	}
	return false
}

// did notes that a name was changed: want is what it makes of what the name may have been.
func (x *host) did(p string, begin time.Time, kinds []uint32, want func(state) state) {
	end := time.Now()
	d := x.d
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	mine := x.mine(p, begin) != nil
	bases := x.mayLocked(p, begin, end)
	if bases == nil { // whatever it was
		x.own[p] = &owned{any: true, floor: begin, ack: end}
		return
	}
	var wanted []state
	nothing := true // to do, and so no request
	for _, b := range bases {
		if slices.Contains(kinds, b.kind) {
			w := want(b)
			wanted, nothing = append(wanted, w), nothing && b.like(w)
		}
	}
	if len(wanted) == 0 {
		d.w.findLocked("mount %d changed %s, which is %v", x.id, p, bases)
		return
	}
	o := &owned{states: wanted, floor: begin, ack: end}
	x.own[p] = o
	if d.h.Behind {
		x.owes[p] = o
		// What others did just before, unseen, may win: a change of attributes of what is no more is given up. Where the mount
		// has changed the name itself lately it may have trusted that longer than what it was shown.
		unseen := d.span()
		if mine {
			unseen = d.ownFor()
		}
		o.any = x.othersLocked(p, begin.Add(-unseen), end)
		return
	}
	good := func(s since) bool { return slices.ContainsFunc(wanted, s.like) }
	all := d.truth.during(p, begin, end)
	if now := all[len(all)-1]; good(now) {
		o.states = []state{now.state}
		if now.from.Before(begin) {
			o.floor = now.from
		}
		return
	}
	if body, ok := d.w.mem.Bytes("b", p); ok && all[len(all)-1].kind == dir && slices.ContainsFunc(wanted, func(s state) bool { return s.body == string(body) }) {
		o.any = true // the object is there, and others have made a directory of its name
		return
	}
	if nothing && x.othersLocked(p, begin.Add(-d.span()), end) {
		o.any = true
		return
	}
	if !slices.ContainsFunc(all, good) && !(wanted[0].kind == none && x.othersLocked(p, begin.Add(-d.ownFor()), end)) {
		d.w.findLocked("mount %d was told that %s is %v; it is %v", x.id, p, wanted, all)
	}
}

// fails notes that a change failed.
func (x *host) fails(p string, begin time.Time) {
	x.own[p] = &owned{any: true, floor: begin, ack: time.Now()}
}

// judge looks at what came of a call; true: it did what it should.
func (x *host) judge(s step, what string, errno syscall.Errno, begin time.Time) bool {
	x.d.w.note("mount %d: %v %s: %v", x.id, s, what, errno)
	if errno == 0 {
		return true
	}
	if !x.excused(errno, s, begin, time.Now()) {
		end := time.Now()
		x.d.w.find("mount %d: %v: %s: %v; %s may be %v, %q may be %v", x.id, s, what, errno, s.Path, x.may(s.Path, begin, end), s.To, x.may(s.To, begin, end))
	}
	return false
}

// within says whether a path is a directory or lies below it; everything is within "".
func within(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, dir+"/")
}
