//go:build !container

package docs

// withPodman: see podman_test.go.
const withPodman = false
