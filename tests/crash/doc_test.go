// Package crash kills mounts at random moments, mounts again, and looks whether everything that a program was told is
// there.
//
//	make crash                                     200 kills
//	make crash CRASHFLAGS='-kills 1000 -seed 7'
//
// Four worlds take turns: store and journal durability, each directly on the embedded server and through a proxy that
// fails one request in ten (refused, reset, done and then reset, done and never answered). Each has a bucket, a state
// directory, writers and a ledger. A round mounts, looks whether the ledger's files are there (ledger_test.go says what
// may be there), lets the writers work (load_test.go), and kills the process in the middle. All the while another client
// reads objects: a body must be a state that a writer had finished (body_test.go makes bodies that show what they are).
//
// The test's own process is the writers': no program may be started while they have files open, since the child would
// close its copies of the descriptors and so make the mount store what is half done. So the worlds take turns.
package crash
