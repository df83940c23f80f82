package content

import "pailfs/cache"

// Cached is how many bytes of a version are in memory and in the disk cache.
func (s *Files) Cached(v cache.Version) (memory, disk int64) { return s.o.Blocks.Cached(v) }

// Unsaved is what of the File the store does not have; false when it has all.
func (f *File) Unsaved() (Unsaved, bool) { return f.unsaved() }
