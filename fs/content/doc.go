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
// written file is not downloaded again. An unsaved File without references stays: Files.Unsaved names it, the background
// or SyncAll stores it, Close keeps it in the journal, and the next run's Load makes it a File again.
//
// # Two ways to the store
//
// Sync is the short one: it stores the file in the call. Flush goes by the journal where it is allowed to (journal
// durability) or has to (the store did not take the file): the journal keeps a state of the file, and the committer stores
// that state in the background, when the file has rested or the state has become too old. A kept state is never changed:
// whoever overwrites its bytes gets a new spool. So a crash leaves the state of a Flush and no other, a commit in the
// background needs nobody to wait, and the store never has a state that no Flush, Sync or Close asked for, nor a rename over
// what the journal alone had.
//
// Crash order: a new state is durable before the old one's record goes; a record goes after the store has answered, and
// after the deletion of what it belongs to is sure. What a crash leaves in between is stored twice at worst: the object's
// ETag says whether somebody else came between.
//
// # Files
//
//	options.go    what is around Files
//	store.go      Files: the table of open and unsaved files
//	close.go      Close: what is left goes to the journal
//	file.go       File: states, references, tokens, Touch; stat.go and progress.go: what it tells
//	read.go       ReadAt: from blocks without a copy, or put together from spool, base and zeros
//	readahead.go  pure: what to fetch ahead; readers.go: shared among whom
//	write.go      WriteAt, Append, Truncate, Allocate
//	stream.go     the upload that runs while a file is written
//	punched.go    a stream's bytes that are in the store alone; room.go: when they are given away
//	passing.go    a long stream's bytes that are in memory meanwhile
//	clone.go      CloneRange: bytes that another object has
//	dirty.go      pure: sets of bytes, and the layout of a file over spool, base and zeros
//	states.go     the chain of a file's states, each over the one before
//	commit.go     Sync: one state of the file becomes the object; send.go: its bytes and its upload
//	own.go        versions that this mount itself may have stored, unknown to the file
//	conflict.go   the base changed or vanished; both versions are kept. fetch.go: the base into the spool
//	rest.go       what is kept of a file when bytes of its base are nowhere any more
//	flush.go      Flush; keep.go: states in the journal
//	behind.go     the committer; queue.go: in which order (pure); storekept.go: one commit of a kept state
//	sync.go       many files at once
//	move.go       rename of open and unsaved files; yield.go: what they replace; detach.go: unlink
//	load.go       what earlier runs left
//	ahead.go      bytes that nobody has asked for yet
//
// # Locks
//
// In this order: the names and objects that Options.Hold and Options.Guard keep (Hold, File.sending, Guard), File.turn,
// File.recording, committer.mu or Files.mu, File.mu; Handle.mu alone. sending, turn and recording are tokens and not mutexes:
// they are held across disk and network, and waited for with a context.
//   - sending: who stores the file, moves or detaches it. A Detaching holds it, and turn, until Done or Undo.
//   - turn: who changes the file's bytes, and a Sync, which stores one state of it. The committer has it for moments only.
//   - recording: who writes or drops the file's record in the journal. Held across one request alone: the deletion of the
//     former name of a renamed file, between two records.
//
// No one takes a second File's tokens but Move, whose target may be in a Detaching of the same caller, and who stores a
// file's clones before it changes or goes. The mutexes are never held across disk, network, or a func of Options. A writer
// waits for a slow upload before it has the turn, so that a commit never waits for a waiting writer.
//
// # What it never does
//
// It never serves bytes of two versions as one file, never drops an unsaved byte but in Detaching.Done, never reports an
// unknown answer as a missing object, starts no goroutine that outlives Close, and never commits what nobody asked to
// commit.
package content
