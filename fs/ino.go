package fs

import (
	"encoding/binary"
	"hash/fnv"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// manyMoved bounds the names whose number is not the one by their name, manyRemoved those that are known to have been
	// taken away: some 100 bytes each.
	manyMoved   = 1 << 16
	manyRemoved = 1 << 14
	// rootIno is the root's number.
	rootIno = 1
)

// nameIn is a name in a directory, by the directory's number.
type nameIn struct {
	dir  uint64
	name string
}

// inodes gives names their st_ino: a hash of the directory's number and the name, so that a file that the kernel has
// forgotten and looks up again is the same one for programs, and what readdir says agrees with stat. A renamed file takes
// its number along; what is made under a name that was another file's before gets a new one. Of these the latest are
// remembered. Safe for concurrent use.
type inodes struct {
	made atomic.Uint64 // new numbers
	gen  atomic.Uint64 // nodes; two that live at once are never one to the library, whatever their numbers are
	mu   struct {
		sync.Mutex
		moved   *simplelru.LRU[nameIn, uint64]
		removed *simplelru.LRU[nameIn, struct{}]
	}
}

func newInodes() *inodes {
	i := &inodes{}
	var err error
	if i.mu.moved, err = simplelru.NewLRU[nameIn, uint64](manyMoved, nil); err != nil {
		panic(err) // only for a size below 1
	}
	if i.mu.removed, err = simplelru.NewLRU[nameIn, struct{}](manyRemoved, nil); err != nil {
		panic(err)
	}
	return i
}

// of is a name's number.
func (i *inodes) of(dir uint64, name string) uint64 {
	p := nameIn{dir, name}
	i.mu.Lock()
	defer i.mu.Unlock()
	if ino, ok := i.mu.moved.Get(p); ok {
		return ino
	}
	if i.mu.removed.Remove(p) {
		ino := i.fresh(p)
		i.mu.moved.Add(p, ino)
		return ino
	}
	return number(p, 0)
}

// removes tells that a name is not the file any more that it was: what is there next is another one.
func (i *inodes) removes(dir uint64, name string) {
	p := nameIn{dir, name}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.moved.Remove(p)
	i.mu.removed.Add(p, struct{}{})
}

// moves tells that the file of a number has another name.
func (i *inodes) moves(ino, fromDir uint64, from string, toDir uint64, to string) {
	i.removes(fromDir, from)
	p := nameIn{toDir, to}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.removed.Remove(p)
	i.mu.moved.Add(p, ino)
}

func (i *inodes) fresh(p nameIn) uint64 { return number(p, i.made.Add(1)) }

// number hashes; salt is not 0 for a number that is not the name's own.
func number(p nameIn, salt uint64) uint64 {
	h := fnv.New64a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], p.dir)
	binary.LittleEndian.PutUint64(b[8:], salt)
	h.Write(b[:])
	h.Write([]byte(p.name))
	sum := h.Sum64()
	// FNV leaves the high bits of short names alike.
	sum ^= sum >> 33
	sum *= 0xff51afd7ed558ccd
	sum ^= sum >> 33
	if sum <= rootIno || sum == ^uint64(0) {
		return rootIno + 1 + salt // reserved numbers
	}
	return sum
}
