// Command pailfs mounts the buckets of an S3-compatible object storage as directories.
//
// This package talks to people and puts a mount together; it decides nothing about names or bytes. Every option stands in
// one table (flags.go), every exit code in one list (exitcodes.go), every hint in one place (hints.go and its two
// neighbours). mount.go makes a checked plan of what was asked for; rooms.go opens s3client, journal and the disk cache by it,
// has fs/wired build upload, tree, content and the face of them, and closes all in reverse; serve.go serves until the mount is
// to end, and stores what is left. A mount in the background is this same program started again in a session of its own
// (daemon.go); it tells its parent through a pipe whether the mount answers, answers `pailfs status`, flush, refresh and warm
// on a socket (control.go), and tells `pailfs umount` through its runtime file (runtime.go) how it ended.
// Scrapes, probes and profiles are answered by HTTP where that is asked for (observe.go; the numbers in Prometheus's form are
// package metrics), and limits and the log's level are changed over the socket (control_tune.go).
//
// Secrets are never arguments and never logged: they come from the environment, files and roles that s3client reads.
package main
