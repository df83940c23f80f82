// Package fs is the face to the kernel: a go-fuse node tree over an account, a bucket or a prefix.
//
// It translates and decides nothing: names are tree's, bytes are content's, and an error becomes an errno in errno.go
// and nowhere else. go-fuse is imported here and in no other package.
//
// Called by fs/wired, and by cmd/pailfs. Calls fs/tree and fs/content; the two do not know each other, and what one must learn of the
// other passes through here (a rename, an unlink, a size) or through the funcs that fs/wired put between them.
//
// # Nodes and names
//
// A node stores no key. Its name is its place in go-fuse's tree of inodes, which the bridge keeps right after every
// rename and unlink; path() walks up from the node. A node that was unlinked or replaced while it was open has no place
// any more: it is gone, answers stat from what it knew last, and its File lives on until the last handle closes.
//
// # One inode, one version
//
// The kernel's page cache belongs to an inode, and a handle reads one version of an object. So an inode with open
// handles never changes its version underneath them: a lookup that finds another version in the store gives a new
// inode, and an open that finds one answers ESTALE, upon which the kernel looks the name up again and gets that new
// inode. Without open handles the inode stays and the next open drops its pages (no FOPEN_KEEP_CACHE).
//
// # Names that stay
//
// A rename copies an object and deletes it under its old name; what is stored there in between would be lost. So changes of
// a file hold its path while they are carried out, and a rename, an unlink or an rmdir waits for them and keeps later ones
// waiting (names.go). A rename lets them on when the bridge has moved its node, so that path() gives the new name. A commit
// that no call asked for takes its name through Hold, before it has anything of the file's: an owner wants the file next.
//
// # What is not stored yet
//
// In journal durability close and unlink return when the journal has the change, and whatever was looked up may be stored, and
// its File forgotten, a moment later. So a File is asked for before its name is looked up (attr.go: fileAt), and a name is
// looked up again when it was stored while it was being opened (open.go: openFile). An unlink is in the outbox for good before
// the file's record leaves the journal, and returns when that is for good too; a rename appends the moved file's record
// before the replaced one's goes. fsync stores: bytes, and with Drain what waits of the name.
//
// # Locks
//
// node.mu guards a few words of the node and is held over no call out of the package. shed.mu comes before it, dirTimes.mu behind it. dirHandle.mu is held while a page
// of a listing is fetched: the kernel serialises readdir of a handle anyway. Neither is ever taken inside the other,
// and both come before every lock of tree and content. names.mu is held over nothing; a path is held across the network,
// waited for with the request's context, taken before a File's turn, and never while another is held.
//
// # Interrupts
//
// A signal reaches the daemon as an interrupt of the request. Go programs send themselves SIGURG all day, shells get
// SIGCHLD and SIGWINCH; only a signal that is meant to end the caller ends its request (interrupt.go).
package fs
