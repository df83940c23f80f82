// Package faults does to a mount what a bad network, a bad store and a bad disk do, everything to every operation.
//
// The matrix (matrix_test.go) runs each operation of a mount (ops_test.go) under each fault (faults_test.go): once, at each of
// its requests in turn; twice on end; and for as long as it lasts. In both durabilities. Between pailfs and a real server
// stands tests/lagproxy, which does the harm. Of each cell it is asked:
//
//   - is the answer one of those that EXPECTED.md has for it, within the time that it may take;
//   - has the store, asked past the mount, what it had before or what was asked for, and nothing else; what a writer was
//     told is stored, and what the mount took from a writer it could not store, once the fault is over;
//   - does the mount show what the store has;
//   - is each fault that was injected in the mount's own numbers (ledger_test.go).
//
// At the end of a mount the next one must find no unfinished upload to leave behind.
//
//	go test ./tests/faults -run TestMatrix -seed 7 -for 60s       # random cells of the matrix, for a minute
//	go test ./tests/faults -run TestMatrix -for 0                 # all of them; `make fault`
//	go test ./tests/faults -run TestMatrix -cell store/rename/lose/once@2
//	go test ./tests/faults -run TestRandom -random 5m -seed 7     # random operations under random faults
//
// -record writes what came out of the matrix into EXPECTED.md beside what stands there, for somebody to look at.
package faults
