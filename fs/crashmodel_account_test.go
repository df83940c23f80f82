package fs_test

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

// version is what a name can be.
type version struct {
	there bool
	kind  kind
	body  []byte // of a link: where it leads
	mode  uint32
	uid   uint32
	mtime int64 // in seconds; 0: any
}

// kind of a name. Each name has one: a name that ends in "/" is a directory's, one that ends in "l" a link's.
type kind byte

const (
	aFile kind = iota
	aLink
	aDir
)

func kindOf(name string) kind {
	switch {
	case strings.HasSuffix(name, "/"):
		return aDir
	case strings.HasSuffix(name, "l"):
		return aLink
	}
	return aFile
}

// newFile is a file as it is made.
func newFile() version { return version{there: true, mode: 0o644, uid: 1} }

func (v version) String() string {
	if !v.there {
		return "nothing"
	}
	if v.kind == aDir {
		return "a directory"
	}
	return fmt.Sprintf("%s mode %o uid %d mtime %d", contentName(v.body), v.mode, v.uid, v.mtime)
}

func (v version) is(o version) bool {
	return v.there == o.there && (!v.there || v.kind == o.kind && v.mode == o.mode && v.uid == o.uid && bytes.Equal(v.body, o.body) &&
		(v.mtime == o.mtime || v.mtime == 0 || o.mtime == 0))
}

// account is what a writer was told of a name. While an operation is going on, and after one that was cut short, there
// are several states that it may have.
type account struct {
	possible []version
	asked    map[string]int // contents that somebody asked to store, and after how many removals first
	removals int
	doomed   int // contents asked for until this many removals may be deleted
}

// moving is a rename that has not returned: what it moves is under one of the names.
type moving struct {
	from, to string
	what     version
}

func (w *world) accountLocked(name string) *account {
	a := w.mu.paths[name]
	if a == nil {
		a = &account{possible: []version{{}}, asked: make(map[string]int), removals: 1}
		w.mu.paths[name] = a
	}
	return a
}

func (w *world) forgetMovesLocked(names ...string) {
	w.mu.moves = slices.DeleteFunc(w.mu.moves, func(m moving) bool { return slices.Contains(names, m.from) || slices.Contains(names, m.to) })
}

// moveLocked is the rename that a name's file may be gone by.
func (w *world) moveLocked(from string) (moving, bool) {
	for _, m := range w.mu.moves {
		if m.from == from {
			return m, true
		}
	}
	return moving{}, false
}

func (a *account) may(v version) bool { return slices.ContainsFunc(a.possible, v.is) }

// known is what a version that was seen is, without what nobody has asked for: a time.
func (a *account) known(v version) version {
	if i := slices.IndexFunc(a.possible, v.is); i >= 0 {
		return a.possible[i]
	}
	return v
}

func (a *account) begin(v version) {
	if !a.may(v) {
		a.possible = append(a.possible, v)
	}
	if v.there && v.kind != aDir {
		a.ask(v.body)
	}
}

func (a *account) ask(body []byte) {
	if _, known := a.asked[contentName(body)]; !known {
		a.asked[contentName(body)] = a.removals
	}
}

// remove says that what was asked for until now may be deleted.
func (a *account) remove() {
	a.doomed = a.removals
	a.removals++
}

// carriedOutLocked looks at what a request has changed in the store. Nobody may ever see what no writer asked for.
func (w *world) carriedOutLocked(name, key string, err error) {
	switch name {
	case "Put", "Copy", "CompleteUpload", "Delete", "DeleteMany":
	default:
		return
	}
	if err != nil {
		w.noteLocked("  %s %s: %v", name, key, err)
	}
	for _, key := range w.mem.Keys("b") {
		if strings.HasSuffix(key, "/") {
			continue
		}
		p, _ := w.mem.Bytes("b", key)
		is := contentName(p)
		if w.mu.objects[key] == is {
			continue
		}
		w.mu.objects[key] = is
		w.noteLocked("  store: %s is %s", key, is)
		if of, _, conflict := strings.Cut(key, ".conflict-"); conflict && w.mu.damaged {
			key = of // what the journal knew of its own versions is gone: both are kept
		}
		a := w.mu.paths[key]
		if a == nil {
			w.findLocked("%s made %s, a name that nobody uses", name, key)
		} else if _, asked := a.asked[is]; !asked {
			w.findLocked("%s made %s %s, which nobody asked for", name, key, is)
		}
	}
	for key := range w.mu.objects {
		if _, there := w.mem.Bytes("b", key); !there {
			delete(w.mu.objects, key)
			w.noteLocked("  store: %s is gone", key)
		}
	}
}

// deletesLocked looks at a deletion before it is carried out: what it deletes must be what somebody removed.
func (w *world) deletesLocked(key string) {
	if w.watch != nil {
		return
	}
	p, there := w.mem.Bytes("b", key)
	if !there || strings.HasSuffix(key, "/") {
		return
	}
	a := w.mu.paths[key]
	if a == nil {
		w.findLocked("deletes %s, a name that nobody uses", key)
		return
	}
	// What was stored after a removal and never acknowledged may go when a killed process's removal is carried out again.
	nothing := slices.ContainsFunc(a.possible, func(v version) bool { return !v.there })
	if first := a.asked[contentName(p)]; first > a.doomed && !nothing {
		w.findLocked("deletes %s as %s, which nobody removed", key, contentName(p))
	}
}

// contentName tells contents apart.
func contentName(p []byte) string {
	h := fnv.New32a()
	h.Write(p)
	return fmt.Sprintf("%d bytes %08x", len(p), h.Sum32())
}
