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
	shardBlocks = 128 // a shard is worth its mutex from this many blocks on
	groupBlocks = extentBlocks
)

// memory holds the present blocks. It knows bytes but no bound: Blocks evicts before it inserts.
// Neighbours in a version are one group, at multiples of groupBlocks: they are in one shard, so that a run costs one
// lock, and go one after the other, so that the memory they share comes free together.
// insert and evictOldest are called under Blocks.mu; all else is safe for concurrent use.
type memory struct {
	buffers *buffers
	seed    maphash.Seed
	shards  []shard // a power of two
	bytes   atomic.Int64

	// Whose turn it is to evict, and the group it is at; guarded by Blocks.mu.
	turn  int
	group blockKey
}

// A shard holds its blocks in two queues, after 2Q: a block enters probation, which is first in first out, and moves
// to protected, which is least recently used out, when it is read again later. A scan passes through probation and
// leaves protected alone. Reads that follow the first one closely are the same pass (a reader with small reads), so
// they count only after `pass` other blocks came in. The larger queue gives up the next block: while only scans run
// they have all the memory, and the two meet at half.
type shard struct {
	pass  int64
	bytes atomic.Int64 // of both queues; changed with mu
	mu    struct {
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

// groupOf is the key of the first block of a block's group.
func groupOf(k blockKey) blockKey { return blockKey{k.version, k.index &^ (groupBlocks - 1)} }

func (m *memory) shard(k blockKey) *shard {
	return &m.shards[maphash.Comparable(m.seed, groupOf(k))&uint64(len(m.shards)-1)]
}

// shardOf is the shard of the block, and how many of the n blocks from it on are of its group.
func (m *memory) shardOf(k blockKey, n int) (s *shard, same int) {
	return m.shard(k), min(n, int(groupBlocks-k.index%groupBlocks))
}

// get returns the block with a reference for the caller, or nil.
func (m *memory) get(k blockKey) *block {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.getLocked(k)
}

// getAll fills blocks with what is present from k on, each with a reference, and says how many there were.
func (m *memory) getAll(k blockKey, blocks []*block) (present int) {
	for len(blocks) > 0 {
		s, n := m.shardOf(k, len(blocks))
		s.mu.Lock()
		for i := range n {
			if blocks[i] = s.getLocked(k); blocks[i] != nil {
				present++
			}
			k.index++
		}
		s.mu.Unlock()
		blocks = blocks[n:]
	}
	return present
}

func (s *shard) getLocked(k blockKey) *block {
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

// consumed drops of the n blocks from k on those on probation: a reader has passed them and is not expected to come
// back.
func (m *memory) consumed(k blockKey, n int) {
	var room [groupBlocks]*block
	for n > 0 {
		s, same := m.shardOf(k, n)
		out := s.cutProbation(k, same, room[:0])
		for _, b := range out {
			m.bytes.Add(-b.cost)
		}
		m.buffers.drop(out...)
		k.index += int64(same)
		n -= same
	}
}

// cutProbation takes of the n blocks from k on those on probation out, and appends them.
func (s *shard) cutProbation(k blockKey, n int, out []*block) []*block {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		if b, ok := s.mu.probation.Peek(k); ok {
			s.mu.probation.Remove(k)
			s.mu.probation.bytes -= b.cost
			s.bytes.Add(-b.cost)
			out = append(out, b)
		}
		k.index++
	}
	return out
}

// contains reports whether the block is present; it is no use of the block.
func (m *memory) contains(k blockKey) bool {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasLocked(k)
}

func (s *shard) hasLocked(k blockKey) bool {
	return s.mu.probation.Contains(k) || s.mu.protected.Contains(k)
}

// insert takes over the caller's references of the blocks, which follow one another from k on; used is set by the
// caller. Those that are present already it drops.
func (m *memory) insert(k blockKey, blocks []*block) {
	for len(blocks) > 0 {
		s, n := m.shardOf(k, len(blocks))
		bytes, double := s.insert(k, blocks[:n])
		m.bytes.Add(bytes)
		m.buffers.drop(double...)
		k.index += int64(n)
		blocks = blocks[n:]
	}
}

// insert returns the bytes it took, and the blocks it did not take.
func (s *shard) insert(k blockKey, blocks []*block) (bytes int64, double []*block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range blocks {
		if s.hasLocked(k) {
			double = append(double, b)
		} else {
			s.mu.inserts++
			b.since = s.mu.inserts
			s.mu.probation.push(k, b)
			bytes += b.cost
		}
		k.index++
	}
	s.bytes.Add(bytes)
	return bytes, double
}

// evictOldest drops one block, of the shard that holds most, so that a block grows as old in one as in any other; but
// the rest of a group first. It reports false when there is none.
func (m *memory) evictOldest() bool {
	if k, ok := m.shards[m.turn].oldest(); !ok || groupOf(k) != m.group {
		m.turnToFullest()
	}
	for m.shards[m.turn].bytes.Load() > 0 {
		if k, b, ok := m.shards[m.turn].pop(); ok {
			m.group = groupOf(k)
			m.bytes.Add(-b.cost)
			m.buffers.drop(b)
			return true
		}
		m.turnToFullest() // consumed emptied it just now
	}
	return false
}

func (m *memory) turnToFullest() {
	most := int64(-1)
	for i := range m.shards {
		if bytes := m.shards[i].bytes.Load(); bytes > most {
			m.turn, most = i, bytes
		}
	}
}

// oldest is what pop would take.
func (s *shard) oldest() (k blockKey, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, _, ok = s.fullerLocked().GetOldest()
	return k, ok
}

func (s *shard) pop() (k blockKey, b *block, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.fullerLocked()
	if k, b, ok = q.RemoveOldest(); ok {
		q.bytes -= b.cost
		s.bytes.Add(-b.cost)
	}
	return k, b, ok
}

// fullerLocked is the queue that gives up the next block.
func (s *shard) fullerLocked() *queue {
	if s.mu.probation.bytes >= s.mu.protected.bytes {
		return &s.mu.probation
	}
	return &s.mu.protected
}
