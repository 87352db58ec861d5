//go:build !linux || 386 || portable

package session

import "io"

// newTransport returns the transport that uses conn. Here sockets are used as any other conn.
func newTransport(conn io.ReadWriteCloser, r *reader, _ bool) transport { return newPortable(conn, r) }

// socketBelow returns nil: here sockets do not tell what the peer's host has.
func socketBelow(io.ReadWriteCloser) settler { return nil }
