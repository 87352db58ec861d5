package simnet

import (
	"net"
	"syscall"
	"time"
)

// CloseWrite ends this end's writes: the peer reads what was written, then io.EOF.
// It does not block.
func (c *Conn) CloseWrite() error {
	p := c.pair
	p.mu.Lock()
	defer p.unlock()
	now := p.now()
	switch {
	case c.closed:
		return c.error("close", net.ErrClosed)
	case c.out.writeErr != nil:
		return c.error("close", c.out.writeErr)
	}
	c.out.writeErr = syscall.EPIPE
	c.finish(now)
	return nil
}

// Close ends this end: blocked calls return net.ErrClosed, and so does everything
// called later. It does not block. What was written before is still sent, and the
// peer reads it, then io.EOF; what is unread here is thrown away. One delay later
// (or after a stall of that direction) the peer knows, and its writes fail; until then
// they vanish. A second Close returns net.ErrClosed.
func (c *Conn) Close() error {
	p := c.pair
	p.mu.Lock()
	defer p.unlock()
	now := p.now()
	if c.closed {
		return c.error("close", net.ErrClosed)
	}
	c.closed = true
	c.out.log(now, OpClose, 0, nil)
	c.out.goneAt = now + c.out.link.Delay
	c.finish(now)

	in := c.in
	in.abandoned = true
	in.read = in.arrived
	in.readable.Broadcast()
	in.begin(now) // no window holds it any more
	if c.out.abandoned {
		p.release()
	}
	p.advance(now)
	return nil
}

// finish lets fin follow what was written, and turns blocked Writes away.
func (c *Conn) finish(now time.Duration) {
	c.out.finished = true
	c.out.begin(now)
	c.out.writable.Broadcast()
}

// release forgets everything, once both ends are closed.
func (p *pair) release() {
	for _, d := range p.dirs {
		d.end(nil)
		d.goneAt = never
		d.bytes = ring{}
	}
}
