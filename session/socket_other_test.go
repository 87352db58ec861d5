//go:build !linux || 386 || portable

package session_test

// portable reports whether sockets are used like any other transport.
const portable = true
