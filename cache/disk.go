package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
)

// ErrDiskInUse is why OpenDisk fails while another Disk, of this process or another one, has the directory.
var ErrDiskInUse = errors.New("in use by another cache")

// errDiskClosed is why blocks are not kept after Close began.
var errDiskClosed = errors.New("cache: the disk tier is closed")

// DiskOptions say where the disk tier lies and how much it may hold.
type DiskOptions struct {
	// Dir is made (0700) where it is missing, but not its parents. What it holds of others is left alone.
	Dir string
	// SizeBytes bounds the data, with 4 KiB for each file beside its bytes. Required, at least 16 blocks.
	SizeBytes int64
	// MinFreeBytes of the file system are left alone: nothing is written below it, and files are dropped until it holds.
	MinFreeBytes int64
	// BlockBytes must be that of the Blocks above. Default 32 KiB.
	BlockBytes int
	// Store is the identity of the store; what another store left in Dir is dropped.
	Store string
	// QueueBytes bounds the blocks that wait to be written. They count as held memory of their Blocks once they left
	// its cache. Default 32 MiB.
	QueueBytes int64
	// Log hears when filling stops and goes on again. Default: nobody.
	Log *slog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

const (
	defaultQueueBytes = 32 << 20
	minDiskBlocks     = 16
	maxSegmentBytes   = 64 << 20
	wholeShare        = 4 // an object of more than this part of SizeBytes is kept in segments
	segmentShare      = 8 // and a segment is at most this part
	batchBytes        = 8 << 20
	chunkBytes        = 1 << 20 // of one read
	maxChunkBlocks    = 512     // half of IOV_MAX
)

func (o DiskOptions) normal() (DiskOptions, error) {
	if o.BlockBytes <= 0 {
		o.BlockBytes = defaultBlockBytes
	}
	block := int64(o.BlockBytes)
	if o.SizeBytes < minDiskBlocks*block {
		return o, fmt.Errorf("cache: a disk tier of %d bytes is too small: at least %d", o.SizeBytes, minDiskBlocks*block)
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = defaultQueueBytes
	}
	o.QueueBytes = max(o.QueueBytes, minMemoryBlocks*block)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return o, fmt.Errorf("cache: directory of the disk tier: %w", err)
	}
	o.Dir = dir
	return o, nil
}

// A Disk keeps blocks in files, below the memory of a Blocks. Safe for concurrent use. See the package text.
type Disk struct {
	o      DiskOptions
	layout layout
	ctx    context.Context // ends at Close: verification stops
	cancel context.CancelFunc
	queue  diskQueue
	room   *semaphore.Weighted // bytes of the queue
	done   chan struct{}       // the writer has ended
	checks sync.WaitGroup

	hits, misses, skipped, corrupt, evicted atomic.Int64
	read, written                           atomic.Int64
	filling                                 atomic.Bool // neither paused nor closed; to be looked at without the lock

	// Of the writer goroutine alone, and of OpenDisk before it.
	log    *diskLog
	lock   *os.File
	nextID uint64

	// System calls, for tests that make them fail.
	preadv, pwritev func(fd int, iovs [][]byte, off int64) (int, error)

	mu struct {
		sync.Mutex
		index
		pause
		records  []byte  // of the log, not written yet
		checking bool    // a goroutine verifies
		toCheck  []*part // what it shall verify next
		closed   bool
	}
}

// OpenDisk opens or makes the tier in o.Dir and starts its writer. The error wraps ErrDiskInUse when somebody has it.
func OpenDisk(o DiskOptions) (*Disk, error) {
	o, err := o.normal()
	if err != nil {
		return nil, err
	}
	d := &Disk{o: o, layout: newLayout(o), done: make(chan struct{}), preadv: unix.Preadv, pwritev: unix.Pwritev}
	d.room = semaphore.NewWeighted(o.QueueBytes)
	d.queue.wake = make(chan struct{}, 1)
	d.mu.index = newIndex()
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.filling.Store(true)
	if err := d.open(); err != nil {
		d.cancel()
		return nil, err
	}
	go d.write()
	return d, nil
}

// open takes the directory and loads what is in it.
func (d *Disk) open() error {
	// With what is above: who empties a cache may take that along.
	if err := os.MkdirAll(d.o.Dir, 0o700); err != nil {
		return fmt.Errorf("cache: make the directory of the disk tier: %w", err)
	}
	if err := os.Mkdir(filepath.Join(d.o.Dir, ownDir), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("cache: make the directory of the disk tier: %w", err)
	}
	if err := private(filepath.Join(d.o.Dir, ownDir)); err != nil {
		return err
	}
	lock, err := lockDir(d.o.Dir)
	if err != nil {
		return err
	}
	if err := d.load(); err != nil {
		return errors.Join(err, lock.Close())
	}
	d.lock = lock
	return nil
}

// Close writes what is queued and the log, and gives the directory free. When ctx ends before, the rest of the queue is
// dropped; the error says so. Wholes stay usable.
func (d *Disk) Close(ctx context.Context) error {
	d.mu.Lock()
	d.mu.closed = true
	d.mu.Unlock()
	d.filling.Store(false)
	d.cancel()
	d.queue.close()
	select {
	case <-d.done:
		d.checks.Wait()
		return nil
	case <-ctx.Done():
	}
	if n := d.dropQueue(); n > 0 {
		return fmt.Errorf("cache: %d blocks were not written to %s: %w", n, d.o.Dir, ctx.Err())
	}
	select {
	case <-d.done:
		return nil
	default:
		return fmt.Errorf("cache: the writer of %s has not ended: %w", d.o.Dir, ctx.Err())
	}
}

// DiskStats is one moment of a Disk. Hits and Misses count blocks that flights took from disk and had to fetch instead.
// A block fetched is written or skipped, unless it is there already or waits in the queue.
type DiskStats struct {
	Bytes, Files            int64 // charges: bytes and 4 KiB a file, also of dropped files that a Whole holds; <= SizeBytes
	Hits, Misses            int64 // blocks
	ReadBytes, WrittenBytes int64
	QueuedBytes             int64 // wait to be written, or are being written
	Skipped                 int64 // blocks that were not written: queue full, tier paused
	Corrupt                 int64 // blocks that did not match their checksum: fetched again
	Evicted                 int64 // files dropped for room
	IndexBytes              int64 // memory of the index, computed from what it holds
	Paused                  string
}

// Stats returns the counters. Bytes, Files, IndexBytes and Paused are of one moment.
func (d *Disk) Stats() DiskStats {
	queued := d.queue.size()
	d.mu.Lock()
	defer d.mu.Unlock()
	return DiskStats{
		Bytes: d.mu.bytes, Files: int64(d.mu.parts.Len()), IndexBytes: d.mu.memory, Paused: d.mu.why,
		Hits: d.hits.Load(), Misses: d.misses.Load(), ReadBytes: d.read.Load(), WrittenBytes: d.written.Load(),
		QueuedBytes: queued, Skipped: d.skipped.Load(), Corrupt: d.corrupt.Load(), Evicted: d.evicted.Load(),
	}
}

// Missing says how many bytes of v the disk tier lacks.
func (d *Disk) Missing(v Version) int64 {
	version := unique.Make(v)
	missing, blocks := int64(0), d.layout.blocks(v)
	for i := int64(0); i < blocks; {
		n, have := d.run(v, version, i, int(min(blocks-i, 1<<20)))
		end := min((i+int64(n))*d.layout.block, v.Size)
		if !have {
			missing += end - i*d.layout.block
		}
		i += int64(n)
	}
	return missing
}
