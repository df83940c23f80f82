// Package upload makes an object equal a file with the cheapest sequence of requests that it finds, and copies objects of
// any size inside the store.
//
// fs/content calls Store and the Streams, fs/tree gets Copy handed in, fs/wired calls Adopt and AbortLeft at mount; the
// package calls s3client.Store, and from fs/journal it takes the type Range alone. It knows no names of files, no FUSE and
// no cache, and keeps no bytes: they are read from the caller's io.ReaderAt when a request needs them.
//
//	limits.go    the store's limits, and the layout of parts along a file (pure)
//	plan.go      what to send and what to copy (pure); runs.go: which stretches of the base are copied
//	run.go       Uploader; Store carries a plan out
//	parts.go     one multipart upload: create, parts, complete, check, abort
//	stream.go    an upload that runs while the file is still being written; sending.go: who sends its parts
//	verify.go    is what the store has got what was sent?
//	register.go  which uploads are ours, here and in a Register that outlives the process
//	left.go      uploads that nobody works on: undecided, failed, or of an earlier run; abort.go: their end
//	resume.go    taking one of those up again
//	copy.go      Copy
//	late.go      requests that were given up and may be carried out nevertheless; latepart.go: parts behind their upload's end
//
// What makes it hard:
//
//  1. Some stores answer 200 and have done nothing, or copy less than they were told to. An answer without an ETag is a
//     failure, and what was copied, whole or in parts, is looked at (size) before it is reported; what was sent is not, where
//     the answer tells enough, and a small PUT never.
//  2. Parts that are uploaded but not named at completion stay on Swift for ever, invisible. So all parts of an upload are
//     named, or the upload is aborted; an upload is aborted only when none of its requests runs any more.
//  3. A completion that failed without a clear refusal may still happen in the store. Aborting then could take the segments
//     away from under the finished object. Such an upload is left alone until a later Store to the same key finds out that
//     it is the object, completes it again, or has replaced whatever came of it. The same holds for one whose process died.
//  4. A caller that is interrupted leaves at once, but an upload whose creation is on its way must not be forgotten: a
//     goroutine waits for its id and aborts it. Close waits for those.
//  5. A creation whose answer was lost may have made an upload of which nobody knows the id, even when a second attempt
//     inside the client succeeded (s3client.Doubt). It is found by key and time in the store's list of uploads.
//  6. ListParts tells neither the headers that an upload was begun with nor what its parts have in them. A part is used again
//     when its ETag is the MD5 of the bytes that it should have; copied ones are copied again; headers that are not known are
//     looked at afterwards and put right.
//  7. A caller may have given bytes of acknowledged parts away (Stream.Rely). Such an upload is not aborted and not begun
//     anew, whatever its requests are answered, and its object is looked at before it is forgotten. Gone, it is ErrLost.
//
// An upload's life, each step noted in the Register:
//
//	begins → has an id → parts → completes → ended: it is the object
//	   |         |_________|         |_______ undecided: left, may be the object
//	   |              |____ failed for good: aborted, ended; for the moment: left
//	   |___ not answered: left without an id
//
// Where a part may have been on its way to the store at its end, it is "ended" when it was aborted twice more.
//
// A leftover is taken up or aborted by the next Store of its key, by AbortLeft in the next run, or, where no Register knows
// of it, by Close.
//
// Locks: Stream.mu, then Uploader.mu; neither is held across a request or a wait. A Stream's turn and birth (channels of
// one place) are held across requests; turn comes first, then slots, then birth; all are taken with a context. The Register
// is called with no lock held.
package upload
