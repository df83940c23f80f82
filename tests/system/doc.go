// Package system boots a real systemd with mounts of pailfs in it: what a host does at boot, while it runs, and on its way
// down. `make test-system` builds what it needs and runs it; the tests have the build tag system, since they take root,
// systemd-nspawn, a tree of a Debian system that PAILFS_TEST_TREE names, and a minute.
//
// The machine has the host's network: the store is the tests' own, outside of it, and can be away while the machine boots.
package system
