//go:build container

package docs

// withPodman: `make test-container` has installed what the blocks of `container` need.
const withPodman = true
