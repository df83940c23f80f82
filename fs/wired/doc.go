// Package wired wires the rooms of one mount together. Of a store and a journal it builds upload, tree, content and, where
// changes wait, the outbox; it gives each the funcs by which it learns of the others, takes over what earlier runs left in
// the journal, and hands all to the face. Who makes and deletes objects does so through fs/late.
//
// Called by cmd/pailfs, and by the models in fs that kill whole mounts between any two steps: what they look at is what
// runs. It knows no options of the command line, no words for people and no signals; which directory is whose, and when a
// mount ends, the command says.
//
//	options.go  what rooms are built of
//	rooms.go    Rooms: Open, Mount, Start, Recover, Close
//	between.go  what one room has to learn of another
//	earlier.go  what earlier runs left
//	uploads.go  multipart uploads in the journal (upload.Register); orphans.go: those of this host's other mounts
//	renames.go  renames of directories in the journal (tree.Intents)
//	lock.go     opening a journal that somebody has for a moment
//
// # A mount's life
//
// Open makes no request but for a file that an earlier run was replacing, so that all names are as the programs left them
// when Mount lets the kernel in. Start begins what nobody waits for, Recover stores what earlier runs left. At the end the
// kernel is gone first; then Recover's context ends, Files is closed, and Close closes the rest in reverse. The store, the
// journal, the disk cache and the archive are the caller's, and are closed after that.
//
// # Locks
//
// There are none but in the registers of uploads and renames, whose mu is held over nothing. The funcs in between.go are
// called with no lock of the room that calls them held.
package wired
