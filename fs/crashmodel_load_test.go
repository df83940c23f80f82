package fs

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/fs/journal"
	"pailfs/fs/outbox"
)

// op is what a writer does next. Its names are the writer's own.
type op struct {
	Kind  string
	Name  string
	To    string // of a rename
	Sizes []int  // of what is written, piece after piece
	Sync  int    // after which pieces there is an fsync: a bit each
	At    int    // where, in hundredths of the file's size
	Mode  uint32
	Think time.Duration // before it
	Pause time.Duration // between the pieces
}

func (o op) String() string {
	s := fmt.Sprintf("{%s %s", o.Kind, o.Name)
	if o.To != "" {
		s += " to " + o.To
	}
	if len(o.Sizes) > 0 {
		s += fmt.Sprintf(" %v sync %b pause %v", o.Sizes, o.Sync, o.Pause)
	}
	if o.Kind == "edit" || o.Kind == "cut" {
		s += fmt.Sprintf(" at %d%%", o.At)
	}
	if o.Mode != 0 {
		s += fmt.Sprintf(" mode %o", o.Mode)
	}
	return s + fmt.Sprintf(" think %v}", o.Think)
}

// writer is one program. It works in one process of the mount after the other.
type writer struct {
	w  *world
	l  *life
	k  *kernel
	id int
}

// errno is a failed call of a program.
type failure struct {
	call  string
	errno syscall.Errno
}

func (f failure) Unwrap() error { return f.errno }

func (f failure) Error() string { return fmt.Sprintf("%s: %v", f.call, f.errno) }

func failed(call string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return failure{call, errno}
}

// work lets the writers work until they have nothing to do or the process is to be killed.
func (l *life) work() {
	w := l.w
	done := make(chan struct{})
	l.worked = done
	w.ended.Go(func() {
		defer close(done)
		if !l.start() {
			return
		}
		var writers sync.WaitGroup
		for id := range w.h.Writers {
			writers.Go(func() { (&writer{w, l, l.kernel, id}).run() })
		}
		if w.h.Look {
			writers.Go(l.look)
		}
		writers.Wait()
	})
	var at <-chan time.Time
	if l.plan.After > 0 {
		t := time.NewTimer(l.plan.After)
		defer t.Stop()
		at = t.C
	}
	select {
	case <-l.killMe:
		return
	case <-at:
		return
	case <-done:
	}
	if l.plan == (kill{}) {
		return
	}
	t := time.NewTimer(20 * time.Second) // what goes on in the background
	defer t.Stop()
	select {
	case <-l.killMe:
	case <-at:
	case <-t.C:
	}
}

// start opens the rooms and finds the directories; false: it was killed meanwhile.
func (l *life) start() bool {
	defer close(l.opened)
	if err := l.open(); err != nil {
		if !l.isDead() {
			l.w.find("start: %v", err)
		}
		return false
	}
	for !l.isDead() {
		errno := l.kernel.enter()
		if errno == 0 {
			return true
		}
		if !l.w.h.Faults && !l.isDead() {
			l.w.find("lookup of the directories: %v", errno)
			return false
		}
		time.Sleep(time.Second)
	}
	return false
}

// look reads all names once, as programs of another user would.
func (l *life) look() {
	for _, name := range l.w.names() {
		(&writer{l.w, l, l.kernel, -1}).see(name)
		if l.isDead() {
			return
		}
	}
}

func (w *world) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for name := range w.mu.paths {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func (x *writer) run() {
	for {
		x.w.mu.Lock()
		i := x.w.mu.next[x.id]
		if x.l.dead || i == len(x.w.h.Writers[x.id]) || len(x.w.mu.findings) > 0 {
			x.w.mu.Unlock()
			return
		}
		x.w.mu.next[x.id]++
		x.w.mu.Unlock()
		o := x.w.h.Writers[x.id][i]
		time.Sleep(o.Think)
		if x.l.isDead() {
			x.w.mu.Lock()
			x.w.mu.next[x.id] = i
			x.w.mu.Unlock()
			return
		}
		x.w.note("writer %d: %v", x.id, o)
		err := x.do(o)
		switch {
		case x.l.isDead():
			return
		case err != nil && !x.w.h.Faults:
			x.w.find("%v: %v", o, err)
			return
		case err != nil:
			x.w.note("writer %d: %s %s: %v", x.id, o.Kind, o.Name, err)
			time.Sleep(x.w.h.TTL + time.Second)
		default:
			x.w.note("writer %d: %s %s: done", x.id, o.Kind, o.Name)
		}
	}
}

// begins says what a name may become; the process must be alive.
func (x *writer) begins(name string, v version) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if !x.l.dead {
		x.w.forgetMovesLocked(name)
		x.w.accountLocked(name).begin(v)
	}
}

// acknowledged says what a name is.
func (x *writer) acknowledged(name string, v version) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if !x.l.dead {
		x.w.accountLocked(name).possible = []version{v}
	}
}

// is is a name's state where there is only one.
func (x *writer) is(name string) (version, bool) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	a := x.w.accountLocked(name)
	return a.possible[0], len(a.possible) == 1
}

// sure is a name's state; if there are several it is looked at.
func (x *writer) sure(name string) (version, error) {
	if v, ok := x.is(name); ok {
		return v, nil
	}
	if x.w.h.Faults { // while the store fails names are shown as last known
		x.w.heals(true)
		defer x.w.heals(false)
		time.Sleep(x.w.h.TTL + 5*time.Second)
	}
	v, err := x.see(name)
	if err == nil {
		x.acknowledged(name, v)
	}
	return v, err
}

// heals begins or ends a time in which the store does not fail.
func (w *world) heals(begins bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.healthy++; !begins {
		w.mu.healthy -= 2
	}
}

// see reads a name through the mount: it must be what it may be.
func (x *writer) see(name string) (version, error) {
	v, err := x.readAll(name)
	if err != nil {
		// Who reads a file while its writer removes it may find its version gone.
		if !x.l.isDead() && !x.w.h.Faults && x.id >= 0 {
			x.w.find("look at %s: %v", name, err)
		}
		return v, err
	}
	x.w.mu.Lock()
	x.w.noteLocked("  %s reads as %v", name, v)
	a := x.w.accountLocked(name)
	move, moving := x.w.moveLocked(name)
	if x.l.dead || x.id < 0 {
		x.w.mu.Unlock()
		return v, nil
	}
	if !a.may(v) {
		x.w.findLocked("%s reads as %v; it may be %v", name, v, a.possible)
	}
	x.w.mu.Unlock()
	if !moving || v.there && a.may(v) {
		return v, nil
	}
	to, err := x.readAll(move.to)
	if err == nil && !to.is(move.what) && !x.l.isDead() {
		x.w.find("%s is %v, but %v came not to %s, which is %v", name, v, move.what, move.to, to)
	}
	return v, err
}

func (x *writer) readAll(name string) (version, error) {
	f, _, errno := x.k.open(name, syscall.O_RDONLY)
	if errno == syscall.ENOENT {
		return version{}, nil
	}
	if errno != 0 {
		return version{}, failed("open", errno)
	}
	defer x.k.release(f)
	body, errno := x.k.read(f, 0)
	if errno != 0 {
		return version{}, failed("read", errno)
	}
	var out fuse.AttrOut
	if st := x.k.l.raw.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(f.node)}, &out); st != fuse.OK {
		return version{}, failed("stat", syscall.Errno(st))
	}
	return version{true, body, out.Mode & 0o7777}, nil
}

func (x *writer) do(o op) error {
	v, err := x.sure(o.Name)
	if err != nil {
		return err
	}
	switch o.Kind {
	case "save":
		return x.save(o, o.Name, v)
	case "append", "edit", "cut":
		if !v.there {
			return x.save(o, o.Name, v)
		}
		return x.change(o, v)
	case "chmod":
		if !v.there {
			return nil
		}
		return x.chmod(o, v)
	case "rename":
		if !v.there {
			return nil
		}
		return x.rename(o.Name, o.To, v)
	case "unlink":
		if !v.there {
			return nil
		}
		return x.unlink(o.Name)
	case "again": // rm and make
		if v.there {
			if err := x.unlink(o.Name); err != nil {
				return err
			}
			time.Sleep(o.Pause)
		}
		return x.save(o, o.Name, version{})
	case "replace": // as an editor saves
		tmp := o.Name + ".tmp"
		was, err := x.sure(tmp)
		if err != nil {
			return err
		}
		if err := x.save(o, tmp, was); err != nil {
			return err
		}
		now, _ := x.is(tmp)
		if !now.there {
			return nil
		}
		return x.rename(tmp, o.Name, now)
	case "read":
		_, err := x.see(o.Name)
		return err
	case "flush":
		if err := x.l.server.Flush(context.Background(), o.Name, nil); err != nil {
			return err
		}
		x.isStored(o.Name, v)
		return nil
	}
	panic(o.Kind)
}

// save writes a file from its beginning.
func (x *writer) save(o op, name string, was version) error {
	f, created, errno := x.k.open(name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC)
	if errno != 0 {
		return failed("open to write", errno)
	}
	if created == was.there && !x.l.isDead() {
		x.w.find("open of %s: made %v; it was %v", name, created, was)
	}
	v := version{there: true, mode: was.mode}
	if !was.there {
		v.mode = 0o644
	}
	return x.write(o, f, name, v, 0)
}

// write writes pieces one after the other and closes.
func (x *writer) write(o op, f open, name string, v version, at int) error {
	for i, n := range o.Sizes {
		p := x.w.body(n)
		errno := x.k.write(f, at, p)
		if errno != 0 {
			x.begins(name, v) // the close stores what there is
		}
		body := slices.Clone(v.body)
		if need := at + n - len(body); need > 0 {
			body = append(body, make([]byte, need)...)
		}
		copy(body[at:], p)
		v.body = body
		at += n
		if errno != 0 {
			x.begins(name, v)
			x.k.close(f)
			return failed("write", errno)
		}
		if i < len(o.Sizes)-1 && o.Pause > 0 {
			time.Sleep(o.Pause)
		}
		if x.l.isDead() {
			return nil
		}
		if o.Sync>>i&1 == 1 {
			x.begins(name, v)
			if errno := x.k.fsync(f); errno != 0 {
				x.k.close(f)
				return failed("fsync", errno)
			}
			x.acknowledged(name, v)
			x.isStored(name, v)
		}
	}
	x.begins(name, v)
	if errno := x.k.close(f); errno != 0 {
		return failed("close", errno)
	}
	x.acknowledged(name, v)
	x.isThere(name, v)
	return nil
}

// change writes into a file that is there.
func (x *writer) change(o op, v version) error {
	f, _, errno := x.k.open(o.Name, syscall.O_RDWR)
	if errno != 0 {
		return failed("open to change", errno)
	}
	at := len(v.body) * o.At / 100
	switch o.Kind {
	case "append":
		at = len(v.body)
	case "cut":
		if errno := x.k.setattr(f.node, &f.fh, func(in *fuse.SetAttrIn) { in.Valid, in.Size = fuse.FATTR_SIZE, uint64(at) }); errno != 0 {
			x.k.close(f)
			return failed("truncate", errno)
		}
		v.body = bytes.Clone(v.body[:at])
	}
	return x.write(o, f, o.Name, v, at)
}

func (x *writer) chmod(o op, v version) error {
	e, errno := x.k.lookup(o.Name)
	if errno != 0 {
		return failed("lookup to chmod", errno)
	}
	v.mode = o.Mode
	x.begins(o.Name, v)
	if errno := x.k.setattr(e.NodeId, nil, func(in *fuse.SetAttrIn) { in.Valid, in.Mode = fuse.FATTR_MODE, o.Mode }); errno != 0 {
		return failed("chmod", errno)
	}
	x.acknowledged(o.Name, v)
	if !x.w.h.Faults { // else the file may wait to be stored
		x.isThere(o.Name, v)
	}
	return nil
}

func (x *writer) unlink(name string) error {
	x.w.mu.Lock()
	if !x.l.dead {
		x.w.forgetMovesLocked(name)
		a := x.w.accountLocked(name)
		a.begin(version{})
		a.remove()
	}
	x.w.mu.Unlock()
	if errno := x.k.unlink(name); errno != 0 {
		return failed("unlink", errno)
	}
	x.acknowledged(name, version{})
	x.isThere(name, version{})
	return nil
}

func (x *writer) rename(from, to string, v version) error {
	if _, err := x.sure(to); err != nil {
		return err
	}
	w := x.w
	w.mu.Lock()
	if !x.l.dead {
		w.forgetMovesLocked(from, to)
		a, b := w.accountLocked(from), w.accountLocked(to)
		a.begin(version{})
		a.remove()
		b.begin(v)
		w.mu.moves = append(w.mu.moves, moving{from, to, v})
	}
	w.mu.Unlock()
	if errno := x.k.rename(from, to); errno != 0 {
		return failed("rename", errno)
	}
	w.mu.Lock()
	if !x.l.dead {
		w.forgetMovesLocked(from, to)
	}
	w.mu.Unlock()
	x.acknowledged(from, version{})
	x.acknowledged(to, v)
	x.isThere(from, version{})
	x.isThere(to, v)
	return nil
}

// isThere looks whether the store has what is acknowledged, where that is promised.
func (x *writer) isThere(name string, v version) {
	if !x.w.h.Behind {
		x.isStored(name, v)
	}
}

func (x *writer) isStored(name string, v version) {
	w := x.w
	w.mu.Lock()
	defer w.mu.Unlock()
	p, there := w.mem.Bytes("b", name)
	if !x.l.dead && (there != v.there || !bytes.Equal(p, v.body)) {
		w.findLocked("%s is said to be stored as %v; the store has %v, %s", name, v, there, contentName(p))
	}
}

// finish is the end of a history: everything is stored, and nothing is left.
func (l *life) finish() {
	w := l.w
	w.heals(true)
	if w.h.Faults {
		time.Sleep(w.h.TTL + 10*time.Second)
	}
	x := &writer{w, l, l.kernel, 0}
	for _, name := range w.names() {
		if _, err := x.see(name); err != nil {
			w.find("look at %s in the end: %v", name, err)
		}
		x.sure(name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := l.server.Flush(ctx, "", nil); err != nil {
		w.find("flush in the end: %v", err)
	}
	l.stored()
	time.Sleep(3 * time.Minute)
	l.nothingLeft()
	if err := l.close(ctx); err != nil {
		w.find("close: %v", err)
	}
	l.stored()
	l.journalIsEmpty(false)
	if !w.failed() {
		w.another(l.dir).journalIsEmpty(true)
		w.noUploads()
	}
	if !w.failed() {
		w.another(w.root + "/fresh") // a host that has never seen the names
	}
}

// stored compares the store with what the names are.
func (l *life) stored() {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, a := range w.mu.paths {
		p, there := w.mem.Bytes("b", name)
		if !slices.ContainsFunc(a.possible, func(v version) bool { return v.there == there && bytes.Equal(v.body, p) }) {
			w.findLocked("in the end %s is stored as %v, %s; it may be %v", name, there, contentName(p), a.possible)
		}
	}
	for _, key := range w.mem.Keys("b") {
		if w.mu.paths[key] == nil && !strings.HasSuffix(key, "/") {
			w.findLocked("in the end there is %s", key)
		}
	}
}

func (w *world) noUploads() {
	if ups := w.mem.PendingUploads("b"); len(ups) > 0 {
		w.find("uploads are left: %v", ups)
	}
}

func (l *life) nothingLeft() {
	w := l.w
	if u := l.files.Unsaved(); len(u) > 0 {
		w.find("unsaved in the end: %v", u)
	}
	if c := l.files.Conflicts(); len(c) > 0 {
		w.find("conflicts: %v", c)
	}
	if l.outbox != nil && l.outbox.Len() > 0 {
		w.find("the outbox has %v", l.outbox.Pending())
	}
}

// journalIsEmpty looks at what the process has left. An upload's note may wait for the next one, where its creation was not
// answered.
func (l *life) journalIsEmpty(really bool) {
	j, err := journal.Open(l.dir)
	if err != nil {
		l.w.find("open the journal again: %v", err)
		return
	}
	defer j.Close()
	if p, err := j.Pendings(); err != nil || len(p) > 0 {
		l.w.find("the journal has %v in the end, %v", p, err)
	}
	for _, kind := range []string{uploadKind, outbox.NoteKind} {
		if n := j.Notes(kind); len(n) > 0 && (really || kind != uploadKind) {
			l.w.find("the journal has %d notes of kind %s in the end: %s", len(n), kind, n[0].Data)
		}
	}
}

// another is a process that looks at all names and ends.
func (w *world) another(dir string) *life {
	w.lives++
	l := w.live(dir)
	if !l.start() {
		return l
	}
	x := &writer{w, l, l.kernel, 0}
	for _, name := range w.names() {
		if _, err := x.see(name); err != nil {
			w.find("another mount: look at %s: %v", name, err)
		}
	}
	time.Sleep(3 * time.Minute)
	if err := l.close(context.Background()); err != nil {
		w.find("close another mount: %v", err)
	}
	return l
}
