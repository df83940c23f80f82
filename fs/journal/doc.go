// Package journal holds what the store does not have yet: the bytes of files being written, in spools, and records of
// the spools that have to outlive the process.
//
// fs/content calls it; it calls the local file system and imports nothing of this module. It is never a cache: what is
// in here is the only copy there is. Under its directory lie
//
//	lock       flock'ed by the one process that uses the directory; holds its pid
//	spool/ID   a sparse file per open file (spool.go)
//	record/ID  the record of the spool of the same name: what it is and where it belongs (intents.go)
//	damaged/   records that could not be read, each with its spool: for a person to look at (replay.go)
//
// A spool without a record was never acknowledged to anybody and is removed by the next Open. A spool with a record
// stays until its bytes are stored and Drop or Discard is called: the record goes first, then the spool, so that a crash
// between the two leaves a spool without a record and never a record without bytes. Keep works in the opposite order:
// spool, its directory, record under a temporary name, rename, directory, each synced before the next.
//
// Errors of the disk, a full one included, are returned as they are (errors.Is(err, syscall.ENOSPC) works).
//
// Locks: Journal.mu alone; it is never held across a disk operation. A Spool has none but its kept flag: the kernel orders
// its reads and writes.
package journal
