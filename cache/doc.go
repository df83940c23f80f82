// Package cache holds copies of what the store has: bytes of objects (Blocks) and what listings and HEADs said about
// names (Entries). All of it may vanish at any time and nothing is lost.
//
// # Who calls it, whom it calls
//
// fs/content reads through Blocks, fs/tree remembers in Entries, fs hands the files of a Disk to the kernel. The package
// imports nothing of pailfs; Blocks reaches the store only by the Fetch func it was built with.
//
// # Blocks
//
// The key of a block is (Version, index), and a Version holds the ETag: another version is another object, so that
// nothing is ever invalidated. No caller does get-miss-fetch-put; View reads through:
//
//	absent --claimed by a View or a Prefetch--> in flight --bytes complete--> present --evicted--> absent
//	                                                |
//	                                                +--fetch failed or was cancelled--> absent
//
// A flight brings a run of absent blocks: by one ranged fetch, or from the disk tier. Many wait for it, one goroutine
// reads it, and a block is published as soon as its last byte is there: what one read of the body completed, in one go.
// A block is whole or it is not there.
//
// Blocks are small, since a random read fetches whole ones, and are handled in groups, since each has its price: up to
// eight neighbours in a version (256 KiB) lie in one shard and, if they came together, one behind the other in memory.
// So one read of a socket may bring them all, one slice of a View may hold them, and they are evicted together.
//
// # Memory
//
// Present bytes plus bytes in flight stay within BlocksOptions.MemoryBytes at every moment: a flight reserves its
// bytes before it begins and evicts present blocks for them. Blocks are counted: the cache has one reference, each
// View one; a buffer is used again only after the last reference is gone. A block that is evicted while a View holds
// it counts as "held" until Done; held bytes make later flights evict more and wait longer.
//
// Buffers are cut from extents of eight (extent.go), and each is given back by itself. What is free is used before more
// is taken from the system, in pieces if need be: only while less than a 32nd of the buffers, or than a run needs, is
// free, more is taken for the sake of a long run. So what the system gave is at most 3.3 % (a 31st) and one extent more
// than what was ever counted at once. It is given back with the Blocks alone.
//
// Up to half of the memory is lent to who writes (Lend), while readers do not need it; it counts as held.
//
// A demand flight that does not fit waits in a queue, first come first served; a prefetch that does not fit into half
// the memory is not begun. The queue cannot stall: when nothing is in flight its head goes whatever Views hold (a
// flight is never longer than half the memory), and a flight that has begun needs nothing that a View could withhold.
// So a caller may hold any number of Views while it asks for another one; it pays with time, and with memory above
// the bound by what it holds.
//
// # The disk tier
//
// A Disk lies under the memory of a Blocks. A run of absent blocks is cut where the answer to "is it on disk?" changes,
// and each stretch is a flight of its own: disk and network overlap because flights run at once, and there is one fetch
// for each stretch that is on neither tier. A flight from disk reads 1 MiB at a time with one preadv into the blocks
// themselves, verifies each block's CRC32C and publishes it. What is missing or wrong by then the same flight fetches:
// no failure of the disk reaches a reader.
//
// Fetched blocks are offered to a queue, and one goroutine writes neighbouring ones with one pwritev. A queue that is
// full skips the block: the disk never slows the network. A queued block that left the cache counts as held memory. At
// most a quarter of the memory waits for the disk that way, and a flight that needs the room has such blocks skipped;
// only the batch that is being written (8 MiB) it must wait for. Nothing is synced and no page cache is dropped: what
// was just fetched is what is read next, and a block that a crash lost does not match its checksum.
//
// Files: an object of up to a quarter of SizeBytes has one file of its own size, blocks at their own offsets, nothing
// else in it; a larger one has one for each 64 MiB (an eighth of SizeBytes, if that is less). A file that is whole is
// never changed. Files go by order of use, whole; a file that a Whole holds is passed over, since unlinking it would free
// nothing. A broken block of a held file drops the file, instead of mending it under its reader.
//
//	DIR/pailfs.cache/lock             flock of the one Disk, with its pid
//	DIR/pailfs.cache/log              which files and blocks there are; see disklog.go
//	DIR/pailfs.cache/blocks/c7/...c7  files, by id, in 256 directories
//
// The index is in memory: 152 KB a GiB of data (4 bytes a block and its share of two bitmaps), and 500 to 600 bytes a
// file. The log says the same on disk. Data is written before its record; a record that is cut or wrong ends the log,
// files without a record are removed by OpenDisk, and blocks of an earlier run are believed only after their checksum. So
// a crash costs at most the last batch.
//
// When the disk refuses (full, over quota, less than MinFreeBytes, broken) nothing is written for 30 seconds, old files
// make room where that helps, and reading goes on. When the directory was removed, the tier begins anew in its place.
//
// # Locks
//
// Order: Blocks.mu, then shard.mu or Disk.mu or diskQueue.mu or buffers.mu. A hit takes shard.mu alone. Blocks.mu guards
// flights, the queue and the bytes in flight, Disk.mu index and records; none is held across a fetch, a system call on a
// file or a wait. The writer goroutine alone has log and lock file. Entries has one mutex of its own.
//
// # What it never does
//
// It never writes to the store, and to disk only below DIR/pailfs.cache; never keeps a part of a block; never changes or
// reuses bytes that a View hands out before its Done; never turns an error into data or into absence; never starts a
// request nobody asked for.
package cache
