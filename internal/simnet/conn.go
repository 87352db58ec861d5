package simnet

import (
	"errors"
	"net"
)

// Conn is one end of a pair: a net.Conn that behaves like a TCP connection. All methods may be called
// concurrently. Bytes of concurrent Writes are not mixed.
//
// Errors other than io.EOF are *net.OpError. They wrap os.ErrDeadlineExceeded, net.ErrClosed (this end was closed),
// syscall.EPIPE (the other end was closed, or CloseWrite was called here), io.ErrShortWrite (see [Link]), or the
// error of a [Cut].
type Conn struct {
	pair          *pair
	out, in       *Direction
	local, remote Addr
	closed        bool // guarded by pair.mu
}

var _ net.Conn = (*Conn)(nil)

// Addr is the name of an end: "a" or "b".
type Addr string

// Network returns "simnet".
func (Addr) Network() string  { return "simnet" }
func (a Addr) String() string { return string(a) }

// Out returns the direction of the bytes that are written to c.
func (c *Conn) Out() *Direction { return c.out }

// In returns the direction of the bytes that are read from c.
func (c *Conn) In() *Direction { return c.in }

// LocalAddr returns the name of this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the name of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

func (c *Conn) error(op string, err error) error {
	var known *net.OpError
	if errors.As(err, &known) {
		return err
	}
	return &net.OpError{Op: op, Net: "simnet", Source: c.local, Addr: c.remote, Err: err}
}
