package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"unique"
)

// ErrClosed is the answer of a Blocks after Close, also to those who waited for a flight then.
var ErrClosed = errors.New("cache: closed")

// Version names one version of one object: another ETag is another object. It is the cache key.
type Version struct {
	Bucket, Key, ETag string
	Size              int64 // bytes
}

// Fetch opens one ranged read of a version: body delivers exactly length bytes from off, or an error. Both the call
// and reads of body must end soon after ctx ends. Fetch is called from several goroutines at once.
type Fetch func(ctx context.Context, v Version, off, length int64) (io.ReadCloser, error)

// BlocksOptions says how a Blocks is built. Zero values mean the defaults.
type BlocksOptions struct {
	// MemoryBytes bounds present bytes and bytes in flight together. Default 256 MiB, at least four blocks.
	MemoryBytes int64
	// BlockBytes is the unit of caching and the least that is fetched. Default 32 KiB.
	BlockBytes int
	// Fetch is required.
	Fetch Fetch
	// MaxFetchBytes is the longest single fetch, in whole blocks. Default 8 MiB, at most half of MemoryBytes.
	MaxFetchBytes int64
	// Carry, when not nil, makes the context that Fetch gets of the flight's own and of that of the View it was begun for: what
	// of it should be known there. It must not end with the View's.
	Carry func(own, view context.Context) context.Context
	// Disk is the tier below the memory; nil for none. It must have the same BlockBytes, and is closed after the Blocks.
	Disk *Disk
}

const (
	defaultMemoryBytes   = 256 << 20
	defaultBlockBytes    = 32 << 10
	defaultMaxFetchBytes = 8 << 20
	minMemoryBlocks      = 4
	toDiskShare          = 4 // at most this part of the memory waits for the disk
)

func (o BlocksOptions) normal() BlocksOptions {
	if o.MemoryBytes <= 0 {
		o.MemoryBytes = defaultMemoryBytes
	}
	if o.BlockBytes <= 0 {
		o.BlockBytes = defaultBlockBytes
	}
	if o.MaxFetchBytes <= 0 {
		o.MaxFetchBytes = defaultMaxFetchBytes
	}
	block := int64(o.BlockBytes)
	o.MemoryBytes = max(o.MemoryBytes, minMemoryBlocks*block)
	o.MaxFetchBytes = min(o.MaxFetchBytes, o.MemoryBytes/2)
	o.MaxFetchBytes = max(o.MaxFetchBytes-o.MaxFetchBytes%block, block)
	return o
}

// Blocks is a read-through cache of the bytes of objects, in blocks. Safe for concurrent use. See the package text.
type Blocks struct {
	o       BlocksOptions
	buffers *buffers
	memory  *memory
	disk    *Disk           // nil for none
	ctx     context.Context // ends at Close; parent of every flight's
	cancel  context.CancelFunc

	hits, misses, fetches, fetched atomic.Int64
	queued                         atomic.Int64 // len(mu.queue), to be looked at without the lock
	toDisk                         atomic.Int64 // bytes of offered blocks in the queue of the disk
	lent                           atomic.Int64 // bytes of blocks that are nobody's copy (Lend), a part of buffers.held

	mu struct {
		sync.Mutex
		flying   map[blockKey]*pending // who fetches a block that is not present
		flights  map[*flight]struct{}  // queued and running
		queue    []*flight             // demand flights that wait for room, oldest first
		running  int                   // goroutines, and Directs
		inFlight int64                 // cost of the blocks running flights still have to publish
		closed   bool
		idle     chan struct{} // closed when closed and nothing runs any more
	}
}

// NewBlocks returns an empty cache over o.Fetch. It starts nothing.
func NewBlocks(o BlocksOptions) *Blocks {
	if o.Fetch == nil {
		panic("cache: BlocksOptions.Fetch is nil")
	}
	b := &Blocks{o: o.normal(), disk: o.Disk}
	if b.disk != nil && b.disk.o.BlockBytes != b.o.BlockBytes {
		panic("cache: BlocksOptions.Disk has another block size")
	}
	b.buffers = &buffers{size: b.o.BlockBytes}
	b.memory = newMemory(b.buffers, b.o.MemoryBytes)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.mu.flying = make(map[blockKey]*pending)
	b.mu.flights = make(map[*flight]struct{})
	b.mu.idle = make(chan struct{})
	return b
}

// Block arithmetic. A span is the bytes [off, end) of a version and the blocks first..last over them.
type span struct {
	off, end    int64
	first, last int64
}

// spanOf cuts [off, off+n) at the version's size. It reports false when no byte is left.
func (b *Blocks) spanOf(v Version, off, n int64) (span, bool) {
	if n <= 0 || off < 0 || off >= v.Size {
		return span{}, false
	}
	end := v.Size
	if n < v.Size-off {
		end = off + n
	}
	block := int64(b.o.BlockBytes)
	return span{off: off, end: end, first: off / block, last: (end - 1) / block}, true
}

func (s span) blocks() int { return int(s.last - s.first + 1) }

// blockLen is the length of block i: a whole block but for the last one of the version.
func (b *Blocks) blockLen(v Version, i int64) int {
	block := int64(b.o.BlockBytes)
	return int(min(block, v.Size-i*block))
}

// maxRun is how many blocks one fetch may bring.
func (b *Blocks) maxRun() int64 { return b.o.MaxFetchBytes / int64(b.o.BlockBytes) }

// MaxFetchBytes is the longest single fetch.
func (b *Blocks) MaxFetchBytes() int64 { return b.o.MaxFetchBytes }

// View returns the bytes [off, off+n) of v, cut at v.Size, as slices over cached blocks; past the end it is empty.
// Missing runs of blocks are fetched, one fetch a run and never a byte more than the blocks asked for; blocks that
// somebody fetches already are waited for. The View must be given back by Done.
//
// It waits for fetches, and for room in memory. Errors: ctx.Err() when ctx ends while it waits; the error of a fetch,
// unchanged (a block whose prefetch failed is tried once more before); io.ErrUnexpectedEOF, wrapped, for a body that
// ended early; ErrClosed; a negative offset.
func (b *Blocks) View(ctx context.Context, v Version, off int64, n int) (*View, error) {
	if off < 0 {
		return nil, fmt.Errorf("cache: view of %s/%s at negative offset %d", v.Bucket, v.Key, off)
	}
	sp, ok := b.spanOf(v, off, int64(n))
	if !ok {
		return &View{}, nil
	}
	view := newView(b, sp.blocks())
	version := unique.Make(v)
	missing := len(view.blocks) - b.memory.getAll(blockKey{version, sp.first}, view.blocks)
	b.hits.Add(int64(len(view.blocks) - missing))
	b.misses.Add(int64(missing))
	if missing > 0 {
		if err := b.fill(ctx, v, version, sp.first, view.blocks); err != nil {
			view.Done()
			return nil, err
		}
	}
	view.cut(sp, int64(b.o.BlockBytes))
	return view, nil
}

// ReadAt reads like io.ReaderAt: less than len(p) only with an error, io.EOF at the end of v. It holds at most
// MaxFetchBytes of blocks at a time. Errors are those of View.
func (b *Blocks) ReadAt(ctx context.Context, v Version, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		want := min(int64(len(p)-done), b.o.MaxFetchBytes)
		view, err := b.View(ctx, v, off+int64(done), int(want))
		if err != nil {
			return done, err
		}
		n := view.Len()
		for _, s := range view.Slices() {
			done += copy(p[done:], s)
		}
		view.Done()
		if int64(n) < want {
			return done, io.EOF
		}
	}
	return done, nil
}

// Contains reports whether all of [off, off+length), cut at v.Size, is present now. It is no use of the blocks, and a
// block may be gone a moment later.
func (b *Blocks) Contains(v Version, off, length int64) bool {
	sp, ok := b.spanOf(v, off, length)
	if !ok {
		return true
	}
	version := unique.Make(v)
	for i := sp.first; i <= sp.last; i++ {
		if !b.memory.contains(blockKey{version, i}) {
			return false
		}
	}
	return true
}

// BlocksStats is one moment of a Blocks. Hits and Misses count blocks as Views found them; a block in flight was
// missed. Fetches counts calls of Fetch, FetchedBytes what their bodies brought. Bytes and InFlightBytes are charges:
// a block of at most half the block size is charged a little more than its length, any other one a whole block.
type BlocksStats struct {
	Hits, Misses          int64
	Bytes, InFlightBytes  int64 // present; reserved by running fetches and not present yet: together <= MemoryBytes
	HeldBytes             int64 // not present any more, but a View still has them
	Fetches, FetchedBytes int64
}

// Stats returns the counters, consistent where the comments of BlocksStats relate them.
func (b *Blocks) Stats() BlocksStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return BlocksStats{
		Hits: b.hits.Load(), Misses: b.misses.Load(),
		Bytes: b.memory.bytes.Load(), InFlightBytes: b.mu.inFlight,
		HeldBytes: b.buffers.held.Load(),
		Fetches:   b.fetches.Load(), FetchedBytes: b.fetched.Load(),
	}
}

// Close cancels every flight, drops every block and waits until the last fetch has ended, or for ctx, whose error it
// then returns wrapped. Waiting Views end with ErrClosed; finished ones keep their bytes. It may be called again.
func (b *Blocks) Close(ctx context.Context) error {
	idle := b.shut()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.running == 0 {
		return nil
	}
	return fmt.Errorf("cache: %d fetches have not ended: %w", b.mu.running, ctx.Err())
}

func (b *Blocks) shut() (idle <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return b.mu.idle
	}
	b.mu.closed = true
	b.cancel()
	for len(b.mu.queue) > 0 {
		b.cancelLocked(b.mu.queue[0])
	}
	for b.memory.evictOldest() {
	}
	if b.mu.running == 0 {
		close(b.mu.idle)
	}
	return b.mu.idle
}
