// Package outbox carries small changes of names to the store behind the caller's back: deletes, small puts (markers,
// links, special files) and new headers of stored objects.
//
// What it promises: a change that it has accepted is in the journal and is carried out some time, in the order in which
// changes of its key were accepted, also when the process dies in between; or it is given up because it makes no sense any
// more (the object it speaks of is another one by now), and that is reported and logged. Nothing is dropped in silence.
// Of a deletion or headers that an earlier run has left the log alone tells: the kill may have come when that run had stored
// the next version, and had not dropped the note of what that made moot.
//
// fs/tree calls it, through an interface of its own; fs/content holds keys while it stores their files; fs/wired ties
// it to fs/journal. It calls s3client.Store and imports nothing else of pailfs. It never reads or moves a file's bytes and
// never decides about names.
//
//	op.go      Op, what a note in the journal says
//	merge.go   what two changes of one key are together (pure)
//	table.go   the changes there are: by bucket and key in order, and when each may begin
//	outbox.go  Outbox: New, Pending, Wake, Close; options.go
//	add.go     Delete, Put, SetHeaders
//	hold.go    Hold: whoever stores a file has its key alone; turns
//	run.go     who begins what, and when; job.go: the requests
//	settle.go  what became of a request: done, given up, again later
//	drain.go   Drain
//
// An entry, one change that the store does not have yet:
//
//	            Add                      rested or full batch, not Busy, key free
//	(journal) ------> resting ------------------------------------------------> running ---> settled
//	                   ^  ^  \ Busy                                               |   \        Settled, note dropped
//	        newer op:  |  |   parked (until Wake, or MaxDelay)                    |    given up (moot): the same, with Err
//	        merged in -+  |                                                       | failed
//	                      +---- pausing <-----------------------------------------+
//	                            (1 s to 1 min, ended by anybody's success; refused: 1 min to 10 min)
//	any but running: dropped by a Hold that stored the key's file (not reported: whoever stored it knows more)
//
// Entries of one key make a chain: its first is the only one that may run. A new change is merged into the last one
// (merge.go) unless that one runs or a Hold stands between them; then it is appended. Keys do not wait for each other.
//
// Replaying a change that was carried out already, after a crash between the store's answer and the note's end, is
// harmless: a put stores the same again, headers are pinned to their source's ETag (another one with these headers has them
// already), a delete that is older than CheckAfter, or of an earlier run, asks whether the object is still the one that was
// deleted: by its ETag, or, where the deletion was of any version, by its time. A put of an earlier run that is older than
// CheckAfter asks too: what another client has stored under its key since stays, and the put is given up. A younger one
// replaces it, as a slow put would.
//
// Locks: Outbox.mu alone, a leaf: nothing is called under it, neither the journal nor the store nor a func of Options. A
// key's turn (Outbox.mu.turns) is a lock of one key over calls to the journal: who has it may change what the key's notes
// say; no entry of the key begins meanwhile. It is taken with a context, never two at a time, never while waiting for
// room or for a request. A Hold keeps entries of its key from beginning, but no turns from being taken.
package outbox
