// Package cache holds copies of what the store has: bytes of objects (Blocks) and what listings and HEADs said about
// names (Entries). All of it may vanish at any time and nothing is lost.
//
// # Who calls it, whom it calls
//
// fs/content reads through Blocks, fs/tree remembers in Entries. The package imports nothing of pailfs; Blocks reaches
// the store only by the Fetch func it was built with.
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
// A flight is one ranged fetch over a run of absent blocks. Many wait for it, one goroutine reads it, and each block
// is published by itself as soon as its last byte is there. A block is whole or it is not there.
//
// # Memory
//
// Present bytes plus bytes in flight stay within BlocksOptions.MemoryBytes at every moment: a flight reserves its
// bytes before it begins and evicts present blocks for them. Blocks are counted: the cache has one reference, each
// View one; a buffer is used again only after the last reference is gone. A block that is evicted while a View holds
// it counts as "held" until Done; held bytes make later flights evict more and wait longer.
//
// A demand flight that does not fit waits in a queue, first come first served; a prefetch that does not fit into half
// the memory is not begun. The queue cannot stall: when nothing is in flight its head goes whatever Views hold (a
// flight is never longer than half the memory), and a flight that has begun needs nothing that a View could withhold.
// So a caller may hold any number of Views while it asks for another one; it pays with time, and with memory above
// the bound by what it holds.
//
// # Locks
//
// Order: Blocks.mu, then shard.mu. A hit takes shard.mu alone. Blocks.mu guards flights, the queue and the bytes in
// flight, and is never held across a fetch or a wait. Entries has one mutex of its own.
//
// # What it never does
//
// It never writes, to the store or to disk; never keeps a part of a block; never changes or reuses bytes that a View
// hands out before its Done; never turns an error into data or into absence; never starts a request nobody asked for.
package cache
