// Command pailfs mounts the buckets of an S3-compatible object storage as directories.
//
// This package talks to people and wires the rooms; it decides nothing about names or bytes. Every option stands in one
// table (flags.go), every exit code in one list (exitcodes.go), every hint in one place (hints.go). mount.go builds
// s3client, cache, journal, upload, tree, content and fs in this order and closes them in reverse. A mount in the
// background is this same program started again in a session of its own (daemon.go); it tells its parent through a pipe
// whether the mount answers, answers `pailfs status`, flush, refresh and warm on a socket (control.go), and tells `pailfs umount`
// through its runtime file (runtime.go) how it ended.
// Scrapes, probes and profiles are answered by HTTP where that is asked for (observe.go; the numbers in Prometheus's form are
// package metrics), and limits and the log's level are changed over the socket (control_tune.go).
//
// Secrets are never arguments and never logged: they come from the environment, files and roles that s3client reads.
package main
