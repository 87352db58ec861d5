package simnet

import (
	"io"
	"net"
	"os"
	"time"
)

// Write copies b into the sender's buffer, and blocks while that is full. It returns when the buffer has taken the
// last byte. The caller may then reuse b. If its deadline or the end of the connection ends it, it returns the
// number of bytes that the buffer took. These are sent unless the connection broke.
func (c *Conn) Write(b []byte) (int, error) {
	p, d := c.pair, c.out
	p.mu.Lock()
	defer p.unlock()
	d.writes++
	n, err := c.write(b)
	d.log(time.Since(p.start), OpWrite, n, err)
	if err != nil {
		err = c.error("write", err)
	}
	return n, err
}

func (c *Conn) write(b []byte) (int, error) {
	p, d := c.pair, c.out
	for {
		if err := c.writeError(p.now()); err != nil {
			return 0, err
		}
		if !d.writing {
			break
		}
		p.wait(&d.writable, &d.writers)
	}
	d.writing = true
	defer func() {
		d.writing = false
		if d.writers > 0 {
			d.wakeWriters()
		}
	}()

	var short error
	if m := d.link.MaxWrite; m > 0 && m < len(b) {
		b, short = b[:m], io.ErrShortWrite
	}
	n := 0
	for n < len(b) {
		now := p.now()
		if err := c.writeError(now); err != nil {
			return n, err
		}
		left := len(b) - n
		room := d.room()
		// A large Write is not woken for a little room. The link stays busy with the rest of the buffer, and the
		// last byte is as early.
		d.need = min(left, max(1, d.link.Buffer/4))
		if room < d.need {
			p.wait(&d.writable, &d.writers)
			continue
		}
		take := min(left, room)
		d.bytes.put(d.read, d.written, b[n:n+take])
		d.written += int64(take)
		n += take
		d.begin(now)
		p.advance(now)
	}
	return n, short
}

func (c *Conn) writeError(now time.Duration) error {
	switch {
	case c.closed:
		return net.ErrClosed
	case now >= c.out.writeDeadline:
		return os.ErrDeadlineExceeded
	}
	return c.out.writeErr
}
