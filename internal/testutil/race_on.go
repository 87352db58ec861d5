//go:build race || emulated

package testutil

// Race reports whether the race detector is on, or the tag emulated is set, as .ci/systems does for emulators. Both make
// tests that move many bytes twenty times as slow, so such tests then move fewer. .ci/test also runs them without it.
const Race = true
