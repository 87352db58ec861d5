//go:build !race && !emulated

package testutil

// Race reports whether the race detector is on, or the tag emulated is set.
const Race = false
