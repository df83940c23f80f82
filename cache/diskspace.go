package cache

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pauseFor is how long nothing is written after the disk refused.
	pauseFor = 30 * time.Second
	// lookEvery is how often the free space is looked at while nothing is written.
	lookEvery = 10 * time.Second
)

// pause is why and until when nothing is written. Guarded by Disk.mu.
type pause struct {
	why   string
	until time.Time
}

// evictTo drops files, those not used for longest first, until the tier holds at most limit bytes, and reports whether
// it does. It spares but.
func (d *Disk) evictTo(limit int64, but *part) bool {
	var out []*part
	d.mu.Lock()
	for d.mu.bytes > limit {
		p, ok := d.mu.oldestLocked(but)
		if !ok {
			break
		}
		d.dropLocked(p)
		out = append(out, p)
	}
	fits := d.mu.bytes <= limit
	d.mu.Unlock()
	for _, p := range out {
		d.unlink(p)
	}
	d.evicted.Add(int64(len(out)))
	return fits
}

// lookAtFree sees to it that need bytes more leave MinFreeBytes of the file system free. It spares but.
func (d *Disk) lookAtFree(need int64, but *part) error {
	if d.o.MinFreeBytes <= 0 {
		return nil
	}
	for range 2 {
		short, err := d.short(need)
		if err != nil {
			d.pauseFor(err)
			return err
		}
		if short <= 0 {
			return nil
		}
		d.evictTo(d.bytes()-short, but)
	}
	short, err := d.short(need)
	if err == nil && short > 0 {
		err = fmt.Errorf("cache: less than %d bytes free in %s", d.o.MinFreeBytes, d.o.Dir)
	}
	if err != nil {
		d.pauseFor(err)
	}
	return err
}

func (d *Disk) bytes() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.bytes
}

// short is how many bytes are missing so that need bytes could be written.
func (d *Disk) short(need int64) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.o.Dir, &st); errors.Is(err, os.ErrNotExist) {
		return 0, nil // what follows finds out
	} else if err != nil {
		return 0, fmt.Errorf("cache: free space of %s: %w", d.o.Dir, err)
	}
	return d.o.MinFreeBytes + need - int64(st.Bavail)*int64(st.Bsize), nil
}

// pauseFor stops the filling for a while. A full disk gets some of its room back.
func (d *Disk) pauseFor(err error) {
	d.mu.Lock()
	first := d.mu.why == ""
	d.mu.why, d.mu.until = err.Error(), d.o.Now().Add(pauseFor)
	bytes := d.mu.bytes
	d.mu.Unlock()
	d.filling.Store(false)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		d.evictTo(bytes-max(bytes/8, batchBytes), nil)
	}
	if first {
		d.o.Log.Warn("the disk cache is not filled for now", "error", err)
	}
}

// resume ends a pause once something was written.
func (d *Disk) resume() {
	if d.filling.Load() {
		return
	}
	d.mu.Lock()
	was := d.mu.why
	d.mu.why = ""
	if !d.mu.closed {
		d.filling.Store(true)
	}
	d.mu.Unlock()
	if was != "" {
		d.o.Log.Info("the disk cache is filled again")
	}
}

// paused is why nothing is written now.
func (d *Disk) paused() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.why != "" && d.o.Now().Before(d.mu.until) {
		return fmt.Errorf("cache: the disk tier is not filled for now: %s", d.mu.why)
	}
	return nil
}

// fills reports whether blocks are taken: after a pause the first one tries again.
func (d *Disk) fills() bool {
	if d.filling.Load() {
		return true
	}
	d.mu.Lock()
	closed := d.mu.closed
	d.mu.Unlock()
	return !closed && d.paused() == nil
}
