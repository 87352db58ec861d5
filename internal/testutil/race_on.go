//go:build race

package testutil

// Race says that the race detector watches, which makes what moves many bytes twenty times
// as slow: such a test then moves fewer. .ci/test runs the tests without it as well.
const Race = true
