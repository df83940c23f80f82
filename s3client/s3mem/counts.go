package s3mem

import (
	"maps"

	"pailfs/s3client"
)

// Counts are requests answered, by kind, and the bytes of bodies, seen from the client as s3client.Counters has them:
// BytesIn were read from the store. A request that failed counts too; one whose context had ended beforehand does not.
//   - Get: Get, BucketLocation, BucketACL; Head: Head, HeadBucket; List: Buckets, List, Parts, Uploads
//   - Put: Put, UploadPart, CreateBucket, SetBucketACL; Copy: Copy, CopyPart
//   - Post: CreateUpload, CompleteUpload, DeleteMany (one for each Profile().MaxDelete keys)
//   - Delete: Delete, AbortUpload, DeleteBucket
//
// Retries and Throttled are always 0.
type Counts = s3client.Counts

// Counts are the requests so far.
func (s *Store) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.counts
}

// Calls are the calls so far by the name of the Store's method: "Get", "CopyPart", ...
func (s *Store) Calls() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.mu.calls)
}

// countLocked counts n requests of one call.
func (s *Store) countLocked(call string, n int64) {
	s.mu.calls[call]++
	c := &s.mu.counts
	switch call {
	case "Get", "BucketLocation", "BucketACL":
		c.Get += n
	case "Head", "HeadBucket":
		c.Head += n
	case "Buckets", "List", "Parts", "Uploads":
		c.List += n
	case "Put", "UploadPart", "CreateBucket", "SetBucketACL":
		c.Put += n
	case "Copy", "CopyPart":
		c.Copy += n
	case "CreateUpload", "CompleteUpload", "DeleteMany":
		c.Post += n
	default: // Delete, AbortUpload, DeleteBucket
		c.Delete += n
	}
}
