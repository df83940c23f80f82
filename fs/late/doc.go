// Package late is a store whose deletions hold: what a request that was given up makes of a name behind the deletion of that
// name is deleted as well. And they take nothing else: what is made of the name later stays.
//
// A request that makes an object (Put, Copy, CompleteUpload) may end without an answer, or with that of a later attempt, while
// the store, or something before it, still has it and carries it out seconds later. Who deletes the object meanwhile, unlink
// or a rename, is told that it is gone; and it comes back. So the Store notes such requests, and where one of their names is
// deleted within a minute it looks at the name again: a moment later and at the minute's end. Only the very object that the
// request makes is deleted then, never what somebody else has stored. Where nothing is in doubt it makes no request.
//
// The other way round a deletion may end without an answer, or with that of a later attempt, and be carried out when its name has a
// new object (going.go). It names no version, so nothing could be deleted instead, and what it takes nobody has any more: whatever
// makes an object of that name waits until the deletion can come no more. The names are in the same notes. Of more than mostGoing
// it is remembered that it may be any name.
//
// A process that is killed may leave both: a name in doubt, and a deletion that is to hold. So each name has a note in the
// journal, in both durabilities, written when a request ends without an answer and when the name is deleted (write(2), no
// sync), gone when nothing can come any more (register.go). The next process looks at what the one before had deleted, and
// knows what may still come; of the files and changes that it finds in the journal it expects that their requests were on
// their way at the kill, deletions too. Before a name is stored again its note stops speaking of a deletion, durably. Not known
// is what a killed process was sending without having kept it: a file's first close in store durability, an unlink in it, and
// the deletion of a rename's source.
//
// fs/wired puts it between s3client and the rooms that store and delete: fs/content, fs/tree, fs/outbox, fs/upload. It
// knows s3client alone, and the journal as an interface.
//
// Locks: register.mu, held across the journal's write(2), then Store.mu, held over nothing. A goroutine waits for each name
// that was deleted in doubt, and one for all that were not; Close waits for them.
package late
