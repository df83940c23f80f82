// Package container runs pailfs as containers do it: the image of contrib/container in podman, a sidecar whose mount other
// containers see, and one without any privilege that serves what a mount-helper lends. `make test-container` runs it.
package container
