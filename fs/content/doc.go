// Package content decides about the bytes of open files: where each byte is, when it is sent, what is done when somebody
// else has changed the object meanwhile. It knows no names beyond keys, no FUSE and no minio.
//
// fs calls it; it calls cache.Blocks for what the store has, fs/journal for what the store does not have, fs/upload to
// make an object equal to a file, and s3client.Store to ask for an object's version and to delete the old name of a
// renamed one. What goes up goes through the funcs in Options.
//
// # Life cycle
//
// Files.Open makes or shares the one File of an ID and counts one reference; File.Hold counts another; File.Close gives
// one back. File.Handle makes the reader state that belongs to one reference. A clean File without references is
// forgotten together with its spool; after its commit a File goes on reading from its spool until then, so that a
// written file is not downloaded again. An unsaved File without references stays: Files.Unsaved names it, SyncAll tries
// again, Close keeps it in the journal, and Recover of the next run stores it.
//
// # Files
//
//	store.go      Files: the table of open and unsaved files, Close
//	file.go       File: states, references, Stat, Touch
//	read.go       ReadAt: from blocks without a copy, or put together from spool, base and zeros
//	readahead.go  pure: what to fetch ahead
//	write.go      WriteAt, Append, Truncate, Allocate; the upload that runs while a file is written
//	dirty.go      pure: sets of bytes, and the layout of a file over spool, base and zeros
//	commit.go     Sync: one state of the file becomes the object
//	conflict.go   the base changed or vanished; both versions are kept
//	sync.go       many files at once
//	move.go       rename and unlink of open and unsaved files
//	recover.go    what earlier runs left
//
// # Locks
//
// In this order: File.turn, Files.mu, File.mu; Handle.mu alone. turn is a token and not a mutex: it is held across disk
// and network, by one writer, commit, Move or Detach of a file at a time, and is waited for with a context. A Detaching
// holds it until Done or Undo. No one takes a second File's turn but Move, whose target may be in a Detaching of the same
// caller. The mutexes are never held across disk, network, or a func of Options. A writer waits for a slow upload before
// it has the turn, so that a commit never waits for a waiting writer.
//
// # What it never does
//
// It never serves bytes of two versions as one file, never drops an unsaved byte but in Detaching.Done, never reports an
// unknown answer as a missing object, starts no goroutine that outlives the call that started it, and never commits what
// nobody asked to commit.
package content
