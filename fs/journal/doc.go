// Package journal holds what the store does not have yet: the bytes of files being written, in spools, records of the
// spools that have to outlive the process, and small notes of other rooms. It is the only copy there is, never a cache.
//
// fs/content, fs/outbox and fs/upload use it; it calls the local file system and imports nothing of this module. Under its
// directory lie
//
//	lock        flock'ed by the one process that uses the directory; holds its pid
//	log/NUMBER  the segments of the log: records, bytes of small spools, notes (segment.go, entry.go)
//	spool/ID    a sparse file per spool that is too large for memory (spoolfile.go)
//	record/ID   records as earlier versions kept them; read, never written (old.go)
//	damaged/    copies of segments, and records with their spools, that could not be read: for a person to look at
//
//	journal.go   Options, Open, Close, the lock
//	keep.go      Keep, Amend, Sync, drops         notes.go      notes, Stats
//	intents.go   what a record says               spool.go      spools, wherever their bytes are
//	log.go       the log: append, what is alive   spoolmemory.go, spoolfile.go, spoolhole.go  the bytes, each read checked
//	commit.go    group commit, failed syncs       spoollent.go  bytes that stay in somebody else's memory for a while
//	                                              sums.go       pure: the checks of a file
//	trim.go      giving space back                replay.go     reading the log
//	release.go   bytes that are given away        recovered.go  what earlier runs kept
//
// What is durable when. An entry is written to the file before the call that makes it returns: kill -9 loses nothing.
// Keep and Sync return when the log is on the disk up to what was appended before them; all who wait at once share one
// fdatasync. The rest is synced within a second. The log is sequential: what is durable covers all before it.
//
// A small spool's bytes stand in its entry. A large one's file is synced before its entry is written, and the entry has
// the file's checks. Before such a file is changed where it was kept, the checks are revoked, durably; what is written
// behind what was kept is cut off by the next run. A file goes when the drop of its record is durable. So a record without
// its bytes, or with bytes that do not fit, is damage, while a file without a record was never acknowledged to anybody and
// is removed by the next Open.
//
// A spool's owner may give bytes away that are somewhere else (Spool.Release): the file has a hole there, and who reads them
// gets ErrReleased, in the next run too, where the record names the parts of the upload that have them.
//
// What passes (Spool.Pass) may stay in memory that the journal borrows, in place of the file, until it is given away or the
// spool is kept: then it goes to the file, each block held against its check. So it is no more and no less durable than
// bytes of a file that nobody has kept, which the next run removes.
//
// Errors of the disk, a full one included, are returned as they are (errors.Is(err, syscall.ENOSPC) works). After a write
// that failed the log is as it was before. After a sync that failed see syncTo.
//
// Locks. Spool.mu guards a spool's state and its bytes in memory; blocks of its file are guarded by spans, wherever they are.
// spoolFile.mu guards which are in borrowed memory. Journal.mu guards the open spools and the memory in use. oldRecords.mu
// guards a set of names. ledger.mu guards the log; as the one exception it is held across the write(2) of an entry (and the creation of a segment, and in rewriting after a failed sync
// or for space across reading the entry back), since the order of the calls is the order in the file. None is held across a
// sync. Order: Spool.mu, then spoolFile.mu or Journal.mu; ledger.mu and oldRecords.mu are taken alone.
//
// One goroutine (tend) lives from Open to Close.
package journal
