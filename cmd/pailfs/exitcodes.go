package main

// The exit codes of every command. They are part of the command line's contract: scripts and units depend on them.
const (
	exitOK          = 0
	exitGeneral     = 1 // anything without a code of its own
	exitUsage       = 2 // wrong command line, option or environment variable
	exitDenied      = 3 // the store refuses: credentials, their rights, the region, the clock
	exitUnreachable = 4 // the store does not answer: name, network, TLS, 5xx until the deadline
	exitNotFound    = 5 // no such bucket or object
	exitMountPoint  = 6 // the mount point: missing, not empty, busy, in use, not mounted, not answering
	exitHost        = 7 // this host cannot: no FUSE, no permission, no room for state
	exitUnsaved     = 8 // data is left in the journal that the store does not have yet
	exitInterrupted = 130
)

// exitCodes says each code in a line, for `pailfs docs exitcodes` and the help.
var exitCodes = []struct {
	code int
	text string
}{
	{exitOK, "done"},
	{exitGeneral, "any other failure"},
	{exitUsage, "wrong command line, option or environment variable"},
	{exitDenied, "the store refuses: credentials, their rights, the region or the clock"},
	{exitUnreachable, "the store does not answer: name, network, TLS, or only errors until the deadline"},
	{exitNotFound, "no such bucket, upload or file"},
	{exitMountPoint, "the mount point: missing, not a directory, not empty, mounted, busy, not mounted, or not answering"},
	{exitHost, "this host cannot: no FUSE, no permission, the state directory cannot be used"},
	{exitUnsaved, "data is left that the store does not have yet; it is kept and stored by the next mount"},
	{exitInterrupted, "interrupted"},
}
