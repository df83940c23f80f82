// Package posix holds the mount against POSIX and the Linux man pages: go-fuse's posixtest, and a list of rules of its
// own, one file a family of system calls. Each rule is named as its man page has it, makes its call with golang.org/x/sys/unix
// and expects an errno or a result.
//
// The rules run in worker processes (worker_test.go), as root and as an ordinary user with one more group, on mounts of
// both durabilities with --allow-other. What only root can prepare for the user (somebody else's files) is staged by the
// test's own process. A worker may map a file, change its directory or hang: nothing waits for it but its rule.
//
// What fails and why is in known_test.go and published in FAILS.md, which
//
//	go test ./tests/posix -run TestFailsIsPublished -update
//
// writes. A rule that is expected to fail and does not is a failure, too.
//
// One rule, as one of them, on one mount:
//
//	go test ./tests/posix -run 'TestRules/store/user/rename/EEXIST'
package posix
