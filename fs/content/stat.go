package content

import (
	"time"

	"pailfs/cache"
)

// Stat is what is known of a File without asking anybody.
type Stat struct {
	Size    int64         // bytes
	Mtime   time.Time     // the last change of bytes here; zero if there was none
	Dirty   bool          // the store lacks something; false for a detached File
	Version cache.Version // the stored version under the File; zero if none
	Seen    time.Time     // when the store was last seen to have it
	Blocks  int64         // units of 512 bytes, as in stat(2)
}

// Stat never waits for disk or network.
func (f *File) Stat() Stat {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := Stat{Size: f.mu.layout.size, Mtime: f.mu.mtime, Dirty: f.unsavedLocked(),
		Blocks: (f.mu.layout.size + 511) / 512}
	if under := f.underLocked(); under != nil {
		st.Version, st.Seen = under.Version, under.Seen
	}
	return st
}

// versionLocked is the version that the file's other bytes come from, zero if none.
func (f *File) versionLocked() cache.Version {
	if f.mu.base == nil {
		return cache.Version{}
	}
	return f.mu.base.Version
}

// NextData is where data begins at or behind off (SEEK_DATA); false when there is none.
func (f *File) NextData(off int64) (int64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.layout.nextData(off)
}

// NextHole is where a hole begins at or behind off (SEEK_HOLE), the end of the file being one; false behind the end.
func (f *File) NextHole(off int64) (int64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.layout.nextHole(off)
}
