// Package s3client is the store: one account of an S3-compatible object storage behind one interface, Store.
//
// minio-go is imported here and nowhere else. It carries the calls about single objects (object.go, get.go,
// multipart.go) and buckets; what it lacks, or decodes so that a strange answer looks like a good one, is done with its
// signer in signed.go: ACLs and locations, listings (list.go), copies (copy.go), multi-deletes (delete.go). It makes one
// attempt a call. The rest is this package's own:
//
//	profile.go      regions, endpoints, limits and quirks of stores
//	credentials.go  where access keys come from; credentials_file.go and _role.go, and when they are taken up anew
//	limit.go        requests in flight, writes a second
//	retry.go        attempts, back-off, deadlines, and what to think of an answer that got lost
//	health.go       whether the store answers, and how calls are made while it does not
//	body.go         what Get hands out: takes over from a body that broke off or stands still
//	wire.go         under minio-go and signed.go alike: counts, error documents; stall.go, time-outs of answers and bodies
//	reach.go        how far the way to the endpoint leads, for a diagnosis
//	transport.go    connections; head.go, the guard against Swift's answers to HEADs that miss
//	classify.go     status and code to Kind, total (errors.go has the kinds)
//	xmlscan.go      the XML that stores send
//
// How a call goes: Client.do waits for the write rate and a slot, makes an attempt with a time-out that starts anew with
// each byte sent, and turns what comes back into a Kind; Temporary and Throttled are tried again until Config.Timeout has
// passed without progress. A GET's body is taken over where it broke off or stood still, by a request for the rest that is
// pinned to its ETag: a reader is given exactly what was promised, or an error. An answer that is not the store's (a
// proxy's page, a document cut off, no ETag, another range) is Unknown, whatever its status.
//
// A store that gives no answer for some seconds is away: from then on a call is one quick attempt, but for uploads and
// what a Patient context asks for, until the first answer. So Config.Timeout is waited for once, not by each who comes.
//
// Called by cache (through a func), fs/tree, fs/content, fs/upload and cmd/pailfs. Calls nobody of ours. It never
// caches, never decides about names, and never reports an unknown answer as "not found". It keeps no goroutines, but for a
// question about keys that hangs (asking); its locks are leaves and guard single fields, but two: a request's body is read
// under its source's lock, so that nobody reads it any more when the call has returned, and the watch (stall.go) cancels
// requests under its own. minio-go asks for keys under a lock of its own: whoever sends a request waits while they are read.
package s3client
