// Package tree decides about names: which path is which key, what exists, what attributes it has, and what a change of
// names costs the store. It knows neither FUSE nor minio nor the bytes of open files.
//
// Called by fs. Calls s3client.Store (requests), cache.Entries (what listings and HEADs said) and the Copy func that fs
// takes from fs/upload. content's Stored callback arrives here through fs. With Options.Later small changes go there
// instead of the store, and what became of them arrives at Settled.
//
// What is where: key.go (name and key), bucketname.go (rules of buckets' names), attributes.go (headers and attributes),
// packed.go (how names are kept), unseen.go (what is not shown, and why) and laterBound are pure; overlay.go holds the changes made here against listings that
// lag; known.go and following.go answer without a request; lookup.go, verify.go, complete.go, page.go, list.go
// with lister.go, readlink.go and bucket.go ask; walk.go and walkread.go list many directories at once; learn.go takes what GETs said; change.go,
// remove.go, setattr.go, headers.go, rename.go, renamedir.go, renamerecord.go, renameagain.go (what a dead process began),
// renamelog.go and copymany.go change; later.go hands changes to Later, settled.go takes what became of them,
// recovered.go what an earlier run left; flight.go shares requests; away.go knows whether the store answers.
//
// A path is known by, in this order: a change made here that is not stored yet; a change made here that a listing or
// HEAD bore out less than the TTL ago; what a listing or HEAD said less than the TTL ago; a complete listing of its
// directory. Else the store is asked by listings, never by HEAD: a HEAD reads the attributes of what a listing
// showed, or decides between a listing and a change made here that contradict each other for long.
//
// Requests: an unknown name is one LIST; the second unknown name of its directory within the TTL lists the directory's
// first page instead, and in a large directory names in order the page that begins with them; attributes are one HEAD for
// each version of an object, and one LIST for a directory (its marker "dir/"). A listing is a LIST for each thousand
// names, one page ahead; where directories of one parent are listed, or looked at, in order, it is a LIST for each
// thousand keys below that parent. Create is none, Mkdir one PUT, Unlink one DELETE, a renamed file one copy and one
// DELETE, with a HEAD between them where the copy took long, a changed attribute one copy.
//
// With Later a change costs no request here. The overlay pins it until Later has settled it: no listing is asked about it,
// nothing drops it, and it answers for its name whatever the TTL, as does what is known of a directory that was made and is
// not settled. Settled makes it a change of that moment, so that listings are outweighed from when the store really had it;
// what Later gives up is forgotten, and the next look asks the store. A path may wait for two keys, "path" and "path/"; it
// is pinned until both are settled. Content that is changed on top of what waits lies above it: given up before it is
// stored (Discard, Unlink), it uncovers what waits. Renames of stored objects, and buckets, have Later carry out what waits
// under both names first. What an earlier run has left of versions is believed as long as the store has no other one: that run
// may have stored it itself.
//
// While the store does not answer, a Lookup or List is answered by what was known before the TTL went by (away.go), but
// never who is about to change something, and never with "no such file" where nothing was known.
//
// The TTL may be a hundred years. A change made here that listings have contradicted is forgotten with the overlay's
// entry, and a version that a GET did not find (Outdated) at once, so that no doubt outlives them.
//
// Locks: a path's turn (later.go) orders the changes of a path on their way to Later, from the look at what it is to the
// record of what was accepted. It is held across Later's calls and across requests; who has one takes at most that of a
// directory above, and it comes before every other lock. Settled takes none. Tree.mu guards the overlay and the small memories; cache.Entries' own lock is taken below it, a walk's
// mu before it. None is held across a request. flights.mu is taken with none of these but a walk's, absence.mu below it
// or alone. Goroutines are those of flights, which Close waits for, cancelling those nobody waits for (the page that a
// walk reads ahead), and a listing's fetch of the next page, which the listing waits for.
//
// It never writes an object's content but those of markers, links and special files, never deletes a source that was
// not copied, and never turns an error of the store into "no such file".
package tree
