// Package upload makes an object equal a file with the cheapest sequence of requests that it finds, and copies objects of
// any size inside the store.
//
// fs/content calls Store and the Streams, fs/tree gets Copy handed in; the package calls s3client.Store, and from
// fs/journal it takes the type Range alone. It knows no names of files, no FUSE and no cache, and keeps no bytes: they are
// read from the caller's io.ReaderAt when a request needs them.
//
//	limits.go  the store's limits, and the layout of parts along a file (pure)
//	plan.go    what to send and what to copy (pure)
//	run.go     Uploader; Store carries a plan out
//	parts.go   one multipart upload: create, parts, complete, check, abort
//	stream.go  an upload that runs while the file is still being written; sending.go: who sends its parts
//	copy.go    Copy
//
// What makes it hard:
//
//  1. Some stores answer 200 and have done nothing, or copy less than they were told to. An answer without an ETag is a
//     failure, and what was copied, whole or in parts, is looked at (size) before it is reported; what was sent is not, where
//     the answer tells enough, and a small PUT never.
//  2. Parts that are uploaded but not named at completion stay on Swift for ever, invisible. So all parts of an upload are
//     named, or the upload is aborted; an upload is aborted only when none of its requests runs any more.
//  3. A completion that failed without a clear refusal may still happen in the store. Aborting then could take the segments
//     away from under the finished object. Such an upload is left alone until a later Store to the same key has replaced
//     whatever came of it (undecided.go).
//  4. A caller that is interrupted leaves at once, but an upload whose creation is on its way must not be forgotten: a
//     goroutine waits for its id and aborts it. Close waits for those.
//
// Locks: Stream.mu, then Uploader.mu; neither is held across a request or a wait. A Stream's turn and birth (channels of
// one place) are held across requests; turn comes first, then slots, then birth; all are taken with a context.
package upload
