package cache

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"unique"

	"golang.org/x/sys/unix"
)

// maxToCheck bounds the files that wait for their verification.
const maxToCheck = 256

// A Whole is an object that lies wholly and verified in the disk tier: a file of just its bytes, for FUSE passthrough.
// It is not changed and not cut while the Whole is held; it may be unlinked, which the descriptor does not notice.
type Whole struct {
	d    *Disk
	p    *part
	fd   int
	once sync.Once
}

// Fd is the descriptor of the file, open for reading until Close.
func (w *Whole) Fd() int { return w.fd }

// Close gives it back. A second Close does nothing.
func (w *Whole) Close() {
	w.once.Do(func() {
		_ = unix.Close(w.fd) // nothing was written to it
		w.d.release(w.p)
	})
}

func (d *Disk) release(p *part) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.releaseLocked(p)
	if !p.dead {
		d.useLocked(p)
	}
}

// Whole returns v when all of it is on disk and every block was verified, or written, by this Disk. When blocks of an
// earlier run are left to verify it starts that in the background and answers false meanwhile. An empty object, or one
// that is kept in segments, is never whole.
func (d *Disk) Whole(v Version) (*Whole, bool) {
	if v.Size <= 0 || v.Size > d.layout.whole {
		return nil, false
	}
	p := d.hold(unique.Make(v))
	if p == nil {
		return nil, false
	}
	fd, err := d.openWhole(p)
	if err != nil {
		d.release(p)
		d.unreadable(p, err)
		return nil, false
	}
	return &Whole{d: d, p: p, fd: fd}, true
}

// hold finds the version's part if it is whole, and holds it.
func (d *Disk) hold(version unique.Handle[Version]) *part {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.mu.parts.Peek(partKey{version, 0})
	if !ok || p.have < p.blocks || d.mu.closed {
		return nil
	}
	if p.verified < p.blocks {
		d.checkLocked(p)
		return nil
	}
	d.useLocked(p)
	p.holds++
	return p
}

func (d *Disk) openWhole(p *part) (int, error) {
	fd, err := openFile(d.path(p.id), unix.O_RDONLY)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && (st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != d.layout.fileSize(p)) {
		err = fmt.Errorf("cache: not a file of %d bytes: %w", d.layout.fileSize(p), os.ErrInvalid)
	}
	if err != nil {
		_ = unix.Close(fd) // nothing was written to it
		return -1, err
	}
	return fd, nil
}

// checkLocked has the part verified, after those that wait already.
func (d *Disk) checkLocked(p *part) {
	if p.checking || len(d.mu.toCheck) >= maxToCheck {
		return
	}
	p.checking = true
	d.mu.toCheck = append(d.mu.toCheck, p)
	if !d.mu.checking {
		d.mu.checking = true
		d.checks.Go(d.check)
	}
}

// check verifies the parts that wait, one at a time, and ends when none is left.
func (d *Disk) check() {
	// The thread is given back to the system with its low priority, when the goroutine ends.
	runtime.LockOSThread()
	lowPriority()
	e := &extent{data: make([]byte, d.chunk()*d.o.BlockBytes), size: d.o.BlockBytes, blocks: make([]block, d.chunk())}
	blocks := make([]*block, len(e.blocks))
	for j := range blocks {
		blocks[j] = &e.blocks[j]
		blocks[j].extent, blocks[j].slot = e, j
	}
	for p := d.nextCheck(nil); p != nil; p = d.nextCheck(p) {
		d.checkPart(p, blocks)
	}
}

// nextCheck ends the verification of a part and says which is next.
func (d *Disk) nextCheck(done *part) *part {
	d.mu.Lock()
	defer d.mu.Unlock()
	if done != nil {
		done.checking = false
	}
	if len(d.mu.toCheck) == 0 || d.mu.closed {
		d.mu.toCheck, d.mu.checking = nil, false
		return nil
	}
	p := d.mu.toCheck[0]
	d.mu.toCheck = d.mu.toCheck[1:]
	return p
}

func (d *Disk) checkPart(p *part, blocks []*block) {
	v := p.key.version.Value()
	for d.ctx.Err() == nil {
		d.mu.Lock()
		i, some := p.unverified()
		some = some && !p.dead
		d.mu.Unlock()
		if !some {
			return
		}
		n := int(min(int64(len(blocks)), p.first+int64(p.blocks)-i))
		for j, b := range blocks[:n] {
			b.data = b.extent.buffer(j)[:d.layout.blockLen(v, i+int64(j))]
		}
		if d.take(v, p.key.version, i, blocks[:n], 0) == 0 && d.stuck(p, i) {
			return
		}
	}
}

// stuck reports whether block i is still there and not verified, though it was read: it cannot be read now.
func (d *Disk) stuck(p *part, i int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return p.dead || p.has(i)
}

// lowPriority lets others go first at the disk. Where that cannot be had nothing is lost but their time.
func lowPriority() {
	const process, bestEffort, lowest = 1, 2 << 13, 7
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, process, 0, bestEffort|lowest)
}
