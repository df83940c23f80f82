// Package store is an S3 server for measurements only: it takes as little of the processors as it can, so that clients
// are measured and not the server. It checks no signature, keeps its index in memory and forgets everything at its end.
// contrib/demostore is a server for everything else.
//
// Objects are files in a directory, best on a tmpfs, and leave by sendfile(2). Two addresses lead to the same objects:
// Direct answers at once and is not counted; Endpoint is as far away as the Link says and counts each request. An
// answer's first byte leaves no sooner than Latency after its request was complete. Rate caps each connection: what
// leaves is paced by the kernel (SO_MAX_PACING_RATE, which works on loopback), what comes in is read no faster.
//
// It knows: GET and HEAD with Range and conditions, PUT, copies, multipart uploads, DELETE, DeleteObjects, both lists,
// the list of buckets, a bucket's location; x-amz-meta headers. It does not know versions, ACLs, policies, or an upload
// list with pages. Addresses are in path style.
//
// Not modelled: TLS, TCP's slow start over a distance, loss.
package store
