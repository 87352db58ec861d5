//go:build !ours

package main

// The session package is being written: without the build tag "ours" the
// benchmark runs with the peers alone. This file goes when it is there.
var ours []*peer
