package posix

// families is the list.
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
