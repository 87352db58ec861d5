package testutil

import (
	"errors"
	"runtime"
	"syscall"
)

// Windows has these errors for a connection that the peer has reset: WSAECONNABORTED if a write finds out, WSAECONNRESET.
// Package syscall does not turn them into ECONNRESET.
const (
	windowsAborted = syscall.Errno(10053)
	windowsReset   = syscall.Errno(10054)
)

// IsReset reports whether err is what a socket returns after its peer has reset the connection, on any system.
func IsReset(err error) bool {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return true
	}
	return runtime.GOOS == "windows" && (errors.Is(err, windowsAborted) || errors.Is(err, windowsReset))
}
