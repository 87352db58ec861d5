//go:build !linux || 386

package session

import "io"

// A rawConn is a socket that is read and written without blocking. This platform has
// no implementation of it: sockets are used as any other transport.
type rawConn struct{}

type rawWrite struct{}

func newRawWrite() *rawWrite { return nil }

func newRawConn(io.ReadWriteCloser) *rawConn { return nil }

func socketBelow(io.ReadWriteCloser) *rawConn { return nil }

func (c *rawConn) tryWrite(*rawWrite, [][]byte) (int, error) { panic("unreachable") }

func (c *rawConn) writeAll(*rawWrite, []byte) (int, error) { panic("unreachable") }

func (c *rawConn) unacknowledged() int { return 0 }

func (r *reader) runRaw() error { panic("unreachable") }

func (r *reader) look() bool { panic("unreachable") }
