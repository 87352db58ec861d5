//go:build !linux || 386 || portable

package session

import "io"

// newTransport returns a portable: here sockets are used like any other conn.
func newTransport(conn io.ReadWriteCloser, r *reader, _ bool) transport { return newPortable(conn, r) }

// socketBelow returns nil: here sockets cannot tell what the peer's host has acknowledged.
func socketBelow(io.ReadWriteCloser) tcpBelow { return nil }
