package simnet

import (
	"net"
	"syscall"
	"time"
)

// CloseWrite ends writing at this end. The peer reads the data that was written, and then io.EOF. CloseWrite does
// not block.
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

// Close closes this end. Blocked calls and later calls return net.ErrClosed, and so does a second Close. It does
// not block. Data that was written before is still sent: the peer reads it, and then io.EOF. Unread data at this
// end is discarded. One delay later, or after a stall of that direction, the peer's writes fail. Until then their
// data is discarded.
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
	in.wakeReaders()
	in.begin(now) // no window holds it any more
	if c.out.abandoned {
		p.release()
	}
	p.advance(now)
	return nil
}

// finish sends fin after the data that was written, and ends blocked Writes.
func (c *Conn) finish(now time.Duration) {
	c.out.finished = true
	c.out.begin(now)
	c.out.wakeWriters()
}

// release frees all buffers when both ends are closed.
func (p *pair) release() {
	for _, d := range p.dirs {
		d.end(nil)
		d.goneAt = never
		d.bytes = ring{}
	}
}
