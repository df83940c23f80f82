// Package tree decides about names: which path is which key, what exists, what attributes it has, and what a change of
// names costs the store. It knows neither FUSE nor minio nor the bytes of open files.
//
// Called by fs. Calls s3client.Store (requests), cache.Entries (what listings and HEADs said) and the Copy func that fs
// takes from fs/upload. content's Stored callback arrives here through fs.
//
// What is where: key.go (name and key), attributes.go (headers and attributes) and laterBound are pure; overlay.go holds
// the changes made here against listings that lag; known.go and following.go answer without a request; lookup.go,
// verify.go, complete.go, list.go and bucket.go ask; learn.go takes what GETs said; change.go, setattr.go, headers.go,
// rename.go, renamedir.go and copymany.go change; flight.go shares requests; away.go knows whether the store answers.
//
// A path is known by, in this order: a change made here that is not stored yet; a change made here that a listing or
// HEAD bore out less than the TTL ago; what a listing or HEAD said less than the TTL ago; a complete listing of its
// directory. Else the store is asked by listings, never by HEAD: a HEAD reads the attributes of what a listing
// showed, or decides between a listing and a change made here that contradict each other for long.
//
// Requests: an unknown name is one LIST; the second unknown name of its directory within the TTL lists the directory's
// first page instead; attributes are one HEAD for each version of an object, and one LIST for a directory (its
// marker "dir/"). Create is none, Mkdir one PUT, Unlink one DELETE, a renamed file one copy and one DELETE, a
// changed attribute one copy.
//
// While the store does not answer, a Lookup or List is answered by what was known before the TTL went by (away.go), but
// never who is about to change something, and never with "no such file" where nothing was known.
//
// The TTL may be a hundred years. A change made here that listings have contradicted is forgotten with the overlay's
// entry, and a version that a GET did not find (Outdated) at once, so that no doubt outlives them.
//
// Locks: Tree.mu guards the overlay and the small memories; cache.Entries' own lock is taken below it. Neither is held
// across a request. flights.mu is taken with none of these, absence.mu below it or alone. Goroutines are those of
// flights, which Close waits for, cancelling those nobody waits for, and a listing's fetch of the next page, which the
// listing waits for.
//
// It never writes an object's content but those of markers, links and special files, never deletes a source that was
// not copied, and never turns an error of the store into "no such file".
package tree
