//go:build race

package testutil

// Race reports whether the race detector is on. It makes tests that move many bytes twenty times as slow, so such
// tests then move fewer. .ci/test also runs them without it.
const Race = true
