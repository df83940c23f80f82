package posix

// families is the list of what runs on a mount that is written.
func families() []family {
	return []family{
		{"open", openRules()},
		{"open flags", openFlagRules()},
		{"read", readRules()},
		{"write", writeRules()},
		{"fsync", fsyncRules()},
		{"lseek", seekRules()},
		{"truncate", truncateRules()},
		{"fallocate", fallocateRules()},
		{"rename", renameRules()},
		{"rename errors", renameErrorRules()},
		{"link", linkRules()},
		{"symlink", symlinkRules()},
		{"unlink", unlinkRules()},
		{"mkdir", mkdirRules()},
		{"readdir", readdirRules()},
		{"stat", statRules()},
		{"mknod", mknodRules()},
		{"chmod", chmodRules()},
		{"chown", chownRules()},
		{"permissions", permissionRules()},
		{"utimensat", utimensRules()},
		{"timestamps", timestampRules()},
		{"mmap", mmapRules()},
		{"copy", copyRules()},
		{"locks", lockRules()},
		{"xattr", xattrRules()},
		{"names", nameRules()},
	}
}

// everything is the whole list.
func everything() []family { return append(families(), family{readOnlyFamily, readOnlyRules()}) }
