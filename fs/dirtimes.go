package fs

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// manyDirs bounds the directories whose latest change of names is remembered: some 100 bytes each.
const manyDirs = 1 << 14

// dirTimes remembers when this mount last changed a name in a directory, by the directory's number, which it keeps under a new
// name and when the kernel forgets it. POSIX wants that for mtime and ctime; stored with the marker it would cost a request for
// each name, so that it lives as long as the mount. Safe for concurrent use.
type dirTimes struct {
	mu struct {
		sync.Mutex
		at *simplelru.LRU[uint64, time.Time]
	}
}

func newDirTimes() *dirTimes {
	d := &dirTimes{}
	var err error
	if d.mu.at, err = simplelru.NewLRU[uint64, time.Time](manyDirs, nil); err != nil {
		panic(err) // only for a size below 1
	}
	return d
}

// changed notes that a name of a directory came or went now.
func (d *dirTimes) changed(dir uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.at.Add(dir, time.Now())
}

// set notes that the times of a directory were set: what was changed before counts no longer.
func (d *dirTimes) set(dir uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.at.Remove(dir)
}

// of is when a name of a directory was last changed here; zero where that is not known.
func (d *dirTimes) of(dir uint64) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, _ := d.mu.at.Get(dir)
	return at
}

// namesChanged notes that a name in this directory came or went.
func (n *node) namesChanged() { n.face.dirTimes.changed(n.StableAttr().Ino) }
