package content

import (
	"pailfs/cache"
	"pailfs/fs/journal"
)

// cachedBytes is the largest file whose bytes go to the block cache when it is forgotten: a larger one has a spool on the disk as a
// rule, and whoever reads it again gets it in few requests.
const cachedBytes = 1 << 20

// cacheStored gives the block cache what a file that is forgotten was stored with, so that who reads it next (git its
// packs, tar what it compares) need not fetch what this host has just sent. What cannot be had is fetched.
func (s *Files) cacheStored(f *File, spool *journal.Spool) {
	if spool == nil {
		return
	}
	if v, whole := f.storedWhole(); whole {
		s.o.Blocks.Put(v, spool)
	}
}

// storedWhole is the version of a forgotten file, if the spool has all of its bytes.
func (f *File) storedWhole() (v cache.Version, whole bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, l := f.versionLocked(), &f.mu.layout
	return v, f.mu.state == clean && !f.mu.foreign && f.mu.conflict == nil && !f.mu.detached && !f.mu.superseded && v.ETag != "" &&
		v.Size == l.size && l.size > 0 && l.size <= cachedBytes && len(l.local.gaps(0, l.size)) == 0
}
