package cache

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"unique"

	"golang.org/x/sys/unix"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// touchSeconds is how often the use of a part is written down; the order is only meant to survive roughly.
const touchSeconds = 600

func (d *Disk) path(id uint64) string {
	return filepath.Join(d.o.Dir, blocksDir, fmt.Sprintf("%02x", id%fanOut), fmt.Sprintf("%016x", id))
}

// chunk is how many blocks are read at once: enough for the disk's speed, few enough that they are still in the CPU's
// caches when they are verified, and that readers of the first ones need not wait for the last.
func (d *Disk) chunk() int {
	return min(max(chunkBytes/d.o.BlockBytes, 1), maxChunkBlocks)
}

// take fills blocks, which follow one another from i on, with verified bytes, and says how many it could before the
// first that is not there, or not right. ahead is how many more will be asked for next. No error: what cannot be read is
// not there.
func (d *Disk) take(v Version, version unique.Handle[Version], i int64, blocks []*block, ahead int) int {
	p, sums := d.sums(v, version, i, len(blocks))
	if p == nil {
		return 0
	}
	blocks = blocks[:len(sums)]
	if err := d.readBlocks(p, i, blocks, ahead); err != nil {
		d.unreadable(p, err)
		return 0
	}
	good := 0
	for good < len(sums) && crc32.Checksum(blocks[good].data, castagnoli) == sums[good] {
		good++
	}
	d.judge(v, p, i, good, len(sums))
	return good
}

// sums are the checksums of the blocks from i on that are there, at most n and of one part. It is a use of the part.
func (d *Disk) sums(v Version, version unique.Handle[Version], i int64, n int) (*part, []uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.findLocked(v, version, i)
	if !ok || d.mu.closed || !p.has(i) {
		return nil, nil
	}
	sums := make([]uint32, 0, n)
	for end := p.first + int64(p.blocks); len(sums) < n && i < end && p.has(i); i++ {
		sums = append(sums, p.sum(i))
	}
	d.useLocked(p)
	return p, sums
}

// useLocked notes the use of a part.
func (d *Disk) useLocked(p *part) {
	d.mu.parts.Get(p.key)
	if now := d.o.Now().Unix(); now-p.touched >= touchSeconds {
		p.touched = now
		d.mu.records = appendUsed(d.mu.records, p.id)
		if len(d.mu.records) >= manyRecords {
			d.queue.poke()
		}
	}
}

func (d *Disk) readBlocks(p *part, i int64, blocks []*block, ahead int) error {
	fd, err := openFile(d.path(p.id), unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd) // nothing was written to it
	iovs := joined(make([][]byte, 0, someSlices(len(blocks))), blocks)
	off := (i - p.first) * d.layout.block
	if ahead > 0 {
		// The kernel's own readahead begins anew with each descriptor. A refusal costs speed alone.
		_ = unix.Fadvise(fd, off, int64(len(blocks)+ahead)*d.layout.block, unix.FADV_WILLNEED)
	}
	n, err := transfer(d.preadv, fd, iovs, off)
	d.read.Add(n)
	return err
}

// judge notes that of n blocks read from i on the first good ones match, and the one behind them does not.
func (d *Disk) judge(v Version, p *part, i int64, good, n int) {
	d.mu.Lock()
	for j := range int64(good) {
		if p.has(i + j) {
			p.known(i + j)
		}
	}
	drop := false
	if good < n {
		d.corrupt.Add(1)
		// A file that somebody may read as it is must not be mended under him.
		if drop = p.holds > 0 && !p.dead; drop {
			d.dropLocked(p)
		} else if !p.dead {
			bad := i + int64(good)
			d.mu.loseLocked(p, bad, d.layout.blockLen(v, bad))
		}
	}
	d.mu.Unlock()
	if drop {
		d.unlink(p)
	}
}

// unreadable drops a part whose file is gone, cut or on a broken disk. Want of descriptors or memory is not its fault.
func (d *Disk) unreadable(p *part, err error) {
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) {
		return
	}
	d.mu.Lock()
	gone := p.dead
	if !gone {
		d.dropLocked(p)
	}
	d.mu.Unlock()
	if gone {
		return
	}
	d.unlink(p)
	if !errors.Is(err, os.ErrNotExist) {
		d.o.Log.Warn("a file of the disk cache cannot be read and was dropped", "file", d.path(p.id), "error", err)
	}
}

// dropLocked takes a part out of index and log; the caller unlinks its file once it has the lock no more.
func (d *Disk) dropLocked(p *part) {
	d.mu.removeLocked(p)
	d.mu.records = appendDropped(d.mu.records, p.id)
}

// unlink removes the file of a dropped part. One that stays is removed by the next OpenDisk: no record names it.
func (d *Disk) unlink(p *part) {
	if err := os.Remove(d.path(p.id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.o.Log.Warn("a file of the disk cache cannot be removed", "error", err)
	}
}

func openFile(path string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Open(path, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// transfer reads or writes all of iovs at off, in as many calls as it takes. It uses iovs up.
func transfer(call func(int, [][]byte, int64) (int, error), fd int, iovs [][]byte, off int64) (done int64, err error) {
	for len(iovs) > 0 {
		n, err := call(fd, iovs, off+done)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return done, err
		case n == 0:
			return done, io.ErrUnexpectedEOF
		}
		done += int64(n)
		for len(iovs) > 0 && n >= len(iovs[0]) {
			n -= len(iovs[0])
			iovs = iovs[1:]
		}
		if n > 0 {
			iovs[0] = iovs[0][n:]
		}
	}
	return done, nil
}
