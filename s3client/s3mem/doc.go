// Package s3mem is an object store in memory: the fake that tests of all rooms run on.
//
// It implements s3client.Store with the behaviour that the suite s3test demands of every store, and can be made to
// behave like the harder kinds: listings that lag behind (WithListingLag), whole-second times rounded up
// (WithWholeSeconds), copies of multipart objects that keep their "-N" ETag (LikeSwift), small limits (WithProfile,
// WithMinPart). It is stricter than any real store where that finds mistakes: metadata that is not ASCII, or a
// completion whose Size is not the sum of its parts, is Invalid.
//
// Objects are lists of extents (content.go), either bytes or computed from (key, version, offset). A computed object of
// a terabyte costs nothing, also when it is copied or assembled from parts, and a read that mixes two versions shows.
//
// Called by tests only. Calls s3client for its types and nobody else. One mutex guards everything; no request body is
// read and no answer is delivered while it is held. It starts no goroutine, never sleeps, and needs no Close.
// Faults and delays are not its business: s3fault decorates it.
package s3mem
