package simnet

import (
	"net"
	"time"
)

// SetDeadline sets the deadlines of Read and Write. It affects blocked calls.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadline(t, true, true) }

// SetReadDeadline sets the deadline of Read. It affects blocked calls. The zero time is no deadline.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(t, true, false) }

// SetWriteDeadline sets the deadline of Write. It affects blocked calls. The zero time is no deadline.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(t, false, true) }

func (c *Conn) setDeadline(t time.Time, read, write bool) error {
	p := c.pair
	p.mu.Lock()
	defer p.unlock()
	p.now()
	if c.closed {
		return c.error("set", net.ErrClosed)
	}
	at := never
	if !t.IsZero() {
		at = t.Sub(p.start)
	}
	if read {
		c.in.readDeadline = at
		c.in.wakeReaders()
	}
	if write {
		c.out.writeDeadline = at
		c.out.wakeWriters()
	}
	return nil
}
