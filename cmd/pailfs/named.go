package main

import (
	"os"

	pfs "pailfs/fs"
)

// mountpointOf is the mount point of a mount that a configuration file names, so that `pailfs umount photos` takes away what
// `pailfs mount photos` has mounted, and every other command finds it as well. A path where something is mounted comes first.
func mountpointOf(given string) string {
	if !isName(given) {
		return given
	}
	c, err := loadConfig(os.Getenv("PAILFS_CONFIG"), os.Getenv, os.Geteuid())
	if err != nil { // it is the path of that name, of which the command will say what is wrong
		return given
	}
	m := c.mount(given)
	if m == nil || m.mountpoint == "" {
		return given
	}
	if path, err := realPath(given); err == nil {
		if info, err := pfs.TopMount(path); err != nil || info != nil {
			return given
		}
	}
	return m.mountpoint
}
