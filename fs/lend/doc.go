// Package lend passes the mounts of a process that may mount to one that may not: a descriptor of /dev/fuse, already mounted,
// over a UNIX socket.
//
// cmd/pailfs uses both sides. The Lender is `pailfs mount-helper`, small and privileged: it opens /dev/fuse, mounts, hands the
// descriptor over, and takes the mount away when its borrower asks for it or is gone. Borrow is `pailfs mount --fd-socket`: it
// knows the store, the keys and every file, and needs no privilege at all. A descriptor is lent once: a borrower that starts
// again gets a fresh mount.
//
// They talk in packets (SOCK_SEQPACKET) of JSON:
//
//	borrower  mount     please; source and read_only are wishes
//	lender    mounted   with the descriptor, or error
//	borrower  serving   the mount answers
//	borrower  unmount   unless it is in use; or detach, even so
//	lender    done      or error with errno
//	lender    stop      end, please: store what is left, unmount, go
//
// The borrower keeps the connection for as long as it serves. When it closes, or its process ends, the lender detaches the mount
// and turns to the next. One borrower is served at a time; others wait in the queue of the socket.
//
// The package imports nothing of ours and never looks into a mount. It holds one lock, of Loan, while a question is answered.
package lend
