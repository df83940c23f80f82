// Package s3client is the store: one account of an S3-compatible object storage behind one interface, Store.
//
// minio-go is imported here and nowhere else. What minio-go lacks (PUT bucket ACL, listings with a context, the body of
// a 200 answer to a copy) is done with its signer in signed.go. Errors have a Kind (errors.go); retries, back-off and
// deadlines are this package's own (retry.go; minio-go's are off); regions, endpoints, limits and quirks of stores are
// a Profile (profile.go); requests are counted by kind (counters.go) and held under the write rate (limit.go).
//
// Called by cache (through a func), fs/tree, fs/content, fs/upload and cmd/pailfs. Calls nobody of ours. It never
// caches, never decides about names, and never reports an unknown answer as "not found".
package s3client
