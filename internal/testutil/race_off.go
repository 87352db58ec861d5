//go:build !race

package testutil

// Race says whether the race detector watches.
const Race = false
