// Package s3test is the conformance suite of stores: what s3client.Store promises, one behaviour a sub-test.
//
// The fake (s3mem), the decorator (s3fault) and the network client against a real server all pass it, so that the rooms
// above may be tested on the fake. What a server is known to lack is said in Options; each behaviour that is left out
// for it is a skipped sub-test with its reason, and Run prints how many there were.
//
// Called by tests only: s3mem's own, and real_test.go with a server that the environment names. It writes only into
// buckets that it has created under random names, and removes them.
package s3test
