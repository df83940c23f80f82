package fs_test

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// writer is one program. It works in one process of the mount after the other.
type writer struct {
	w  *world
	l  *life
	k  *kernel
	id int
}

// failure is a failed call of a program.
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
			x.w.counts(o.Kind)
		}
	}
}

func (x *writer) do(o op) error {
	if ready, err := x.ready(o); !ready || err != nil {
		return err
	}
	v, err := x.sure(o.Name)
	if err != nil {
		return err
	}
	switch o.Kind {
	case "chmod", "chown", "utimens", "clone", "rename", "unlink":
		return x.doToIt(o, v)
	case "save":
		return x.save(o, o.Name, v)
	case "append", "edit", "cut":
		if !v.there {
			return x.save(o, o.Name, v)
		}
		return x.change(o, v)
	case "mkdir":
		return x.mkdir(o.Name, v)
	case "rmdir":
		return x.rmdir(o.Name, v)
	case "movedir":
		return x.moveDir(o, v)
	case "link":
		if v.there {
			if err := x.unlink(o.Name); err != nil {
				return err
			}
		}
		return x.link(o.Name)
	case "again":
		return x.again(o, v)
	case "replace":
		return x.replace(o)
	case "read":
		_, err := x.see(o.Name)
		return err
	case "flush":
		if err := x.l.rooms.Server.Flush(context.Background(), o.Name, nil); err != nil {
			return err
		}
		x.isStored(o.Name, v)
		return nil
	}
	panic(o.Kind)
}

// doToIt is what can be done only to a file that is there.
func (x *writer) doToIt(o op, v version) error {
	if !v.there {
		return nil
	}
	switch o.Kind {
	case "clone":
		return x.clone(o, v)
	case "rename":
		return x.rename(o.Name, o.To, v)
	case "unlink":
		return x.unlink(o.Name)
	}
	return x.attr(o, v)
}

// again is rm and make.
func (x *writer) again(o op, v version) error {
	if v.there {
		if err := x.unlink(o.Name); err != nil {
			return err
		}
		time.Sleep(o.Pause)
	}
	return x.save(o, o.Name, version{})
}

// replace saves as an editor does.
func (x *writer) replace(o op) error {
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
	v = a.known(v)
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
	if kindOf(name) != aFile {
		return x.readOther(name)
	}
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
	return version{true, aFile, body, out.Mode & 0o7777, out.Uid, int64(out.Mtime)}, nil
}
