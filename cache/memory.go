package cache

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"unique"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// A blockKey names a block. The version is interned, so that hashing and comparing it costs a pointer.
type blockKey struct {
	version unique.Handle[Version]
	index   int64
}

const (
	maxShards   = 16
	shardBlocks = 64 // a shard is worth its mutex from this many blocks on
)

// memory holds the present blocks. It knows bytes but no bound: Blocks evicts before it inserts.
// get and contains are safe for concurrent use; insert and evictOldest are called under Blocks.mu.
type memory struct {
	buffers *buffers
	seed    maphash.Seed
	shards  []shard // a power of two
	next    int     // whose turn it is to evict; guarded by Blocks.mu
	bytes   atomic.Int64
}

// A shard holds its blocks in two queues, after 2Q: a block enters probation, which is first in first out, and moves
// to protected, which is least recently used out, when it is read again later. A scan passes through probation and
// leaves protected alone. Reads that follow the first one closely are the same pass (a reader with small reads), so
// they count only after `pass` other blocks came in. The larger queue gives up the next block: while only scans run
// they have all the memory, and the two meet at half.
type shard struct {
	pass int64
	mu   struct {
		sync.Mutex
		probation, protected queue
		inserts              int64
	}
}

// A queue is an ordered set of blocks and their bytes. It has no bound of its own.
type queue struct {
	*simplelru.LRU[blockKey, *block]
	bytes int64
}

func newQueue() queue {
	l, err := simplelru.NewLRU[blockKey, *block](math.MaxInt, nil)
	if err != nil { // only for a size that is not positive
		panic(err)
	}
	return queue{LRU: l}
}

func (q *queue) push(k blockKey, b *block) {
	q.Add(k, b)
	q.bytes += b.cost
}

func (q *queue) pop() (*block, bool) {
	_, b, ok := q.RemoveOldest()
	if ok {
		q.bytes -= b.cost
	}
	return b, ok
}

func newMemory(buffers *buffers, limit int64) *memory {
	blocks := limit / int64(buffers.size)
	n := min(max(blocks/shardBlocks, 1), maxShards)
	n = 1 << (bits.Len64(uint64(n)) - 1)
	m := &memory{buffers: buffers, seed: maphash.MakeSeed(), shards: make([]shard, n)}
	for i := range m.shards {
		s := &m.shards[i]
		s.pass = max(1, blocks/n/16) // an eighth of the time a block passes in a probation of half the memory
		s.mu.probation, s.mu.protected = newQueue(), newQueue()
	}
	return m
}

func (m *memory) shard(k blockKey) *shard {
	return &m.shards[maphash.Comparable(m.seed, k)&uint64(len(m.shards)-1)]
}

// get returns the block with a reference for the caller, or nil.
func (m *memory) get(k blockKey) *block {
	return m.shard(k).get(k)
}

func (s *shard) get(k blockKey) *block {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.mu.protected.Get(k)
	if !ok {
		if b, ok = s.mu.probation.Peek(k); !ok {
			return nil
		}
		s.usedLocked(k, b)
	}
	b.refs.Add(1) // the cache has one too, so it was not zero
	return b
}

// usedLocked notes a read of a block on probation.
func (s *shard) usedLocked(k blockKey, b *block) {
	switch {
	case !b.used: // fetched ahead, and this is what for
		b.used, b.since = true, s.mu.inserts
	case s.mu.inserts-b.since >= s.pass:
		s.mu.probation.Remove(k)
		s.mu.probation.bytes -= b.cost
		s.mu.protected.push(k, b)
	}
}

// consumed drops the block if it is on probation: a reader has passed it and is not expected to come back.
func (m *memory) consumed(k blockKey) {
	s := m.shard(k)
	s.mu.Lock()
	b, ok := s.mu.probation.Peek(k)
	if ok {
		s.mu.probation.Remove(k)
		s.mu.probation.bytes -= b.cost
	}
	s.mu.Unlock()
	if ok {
		m.bytes.Add(-b.cost)
		m.buffers.drop(b)
	}
}

// contains reports whether the block is present; it is no use of the block.
func (m *memory) contains(k blockKey) bool {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.probation.Contains(k) || s.mu.protected.Contains(k)
}

// insert takes over the caller's reference. It reports false, and takes nothing, if the block is present already.
func (m *memory) insert(k blockKey, b *block, used bool) bool {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.probation.Contains(k) || s.mu.protected.Contains(k) {
		return false
	}
	s.mu.inserts++
	b.used, b.since = used, s.mu.inserts
	s.mu.probation.push(k, b)
	m.bytes.Add(b.cost)
	return true
}

// evictOldest drops one block, of the shards in turn. It reports false when there is none.
func (m *memory) evictOldest() bool {
	for range m.shards {
		s := &m.shards[m.next]
		m.next = (m.next + 1) % len(m.shards)
		if b, ok := s.pop(); ok {
			m.bytes.Add(-b.cost)
			m.buffers.drop(b)
			return true
		}
	}
	return false
}

func (s *shard) pop() (*block, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.probation.bytes >= s.mu.protected.bytes {
		if b, ok := s.mu.probation.pop(); ok {
			return b, true
		}
	}
	return s.mu.protected.pop()
}
