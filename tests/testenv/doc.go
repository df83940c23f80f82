// Package testenv gives the tests of tests/ a real mount: the real pailfs program in a process of its own, on a real
// FUSE mount point, over a real S3 server.
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
//	func TestWriteThenRead(t *testing.T) {
//		testenv.Require(t)
//		st := testenv.Store(t)
//		bucket := st.Bucket(t)
//		m := testenv.Mount(t, st, testenv.Of(bucket))
//		os.WriteFile(m.Path("a.txt"), ...)
//		st.Get(t, bucket, "a.txt")
//	}
//
// A test fails by itself when the process ends with a status it did not announce (ExpectExit), when its log holds a WARN
// or ERROR line it did not announce (ExpectLog), a data race or a panic, and when the mount is still there at the end.
//
// Run, ServingPID, AwaitEnd and Sweep are for mounts that a command leaves in the background.
//
// Without PAILFS_TEST_ENDPOINT every Store is a server of its own (contrib/demostore) over a temporary directory. With it,
// together with PAILFS_TEST_REGION, PAILFS_TEST_SERVER, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the same tests run
// on that server; they use buckets of their own there and remove them.
//
// Further variables: PAILFS_TEST_BINARY and PAILFS_TEST_DEMOSTORE name programs that are built already; PAILFS_TEST_RACE=1
// builds pailfs with the race detector; PAILFS_TEST_SKIP_FILE names a file that gets one line for each test that was skipped, and
// PAILFS_TEST_FAIL_FILE one for those that failed (gotest); PAILFS_TEST_KEEP=1 keeps the temporary directories of failed tests.
// tests/run makes the files, and reads PAILFS_TEST_NO_SKIPS and PAILFS_TEST_AGAIN. What begins with PAILFS_TEST_ is never an option
// of pailfs, which says nothing of it (cmd/pailfs/variables.go): a new variable of a test is called so.
//
// NamedTests and Claims hold pages of docs/ to the tests that they name.
//
// The package is used by tests alone. It starts processes and ends only those it started, by their own id.
package testenv
