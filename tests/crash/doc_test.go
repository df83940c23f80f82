// Package crash kills mounts at random moments, mounts again, and looks whether everything that a program was told is
// there.
//
//	make crash                                     200 kills
//	make crash CRASHFLAGS='-kills 1000 -seed 7 -durability journal'
//
// Four worlds take turns: store and journal durability, each directly on the embedded server and through a proxy that
// fails one request in ten (refused, reset, done and then reset, done and never answered). Each has a bucket, a state
// directory, writers of small and of large files, and a ledger. A round mounts, looks whether the ledger's files are there
// (ledger_test.go says what may be there) and no multipart upload is left, lets the writers work (load_test.go), and kills
// the process in the middle; now and then it kills one more that has just been started, or does not wait for the recovery.
// All the while another client reads objects (observe_test.go): a body must be a state that a writer had finished
// (body_test.go makes bodies that show what they are), and with store durability one that its path may have at that moment.
//
// Directories are renamed with what is in them (tree_test.go); what a kill has left of that the next mount completes. Now and then a
// file of the disk cache is damaged between a kill and the next mount, which may cost requests and nothing else. And in worlds of
// their own, one for eight kills, a file of the journal is: what was acknowledged and cannot be read any more has to be in the log,
// and nobody may ever read what no writer wrote (damage_test.go).
//
// What was wrong is shown with what was last done to the path, by the writers and by the mount's requests (trace_test.go).
// The seed draws the work and the fates of requests; the moments of the kills are the machine's.
//
// The test's own process is the writers': no program may be started while they have files open, since the child would
// close its copies of the descriptors and so make the mount store what is half done. So the worlds take turns.
package crash
