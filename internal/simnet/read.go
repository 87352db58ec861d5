package simnet

import (
	"io"
	"net"
	"os"
)

// Read copies bytes that have arrived to b, at most Link.MaxRead. It blocks until bytes arrive, its deadline
// passes, the direction ends, or this end is closed. At and after its deadline it fails, even if there are bytes
// to read.
func (c *Conn) Read(b []byte) (int, error) {
	p, d := c.pair, c.in
	p.mu.Lock()
	defer p.unlock()
	d.reads++
	for {
		now := p.now()
		unread := d.arrived - d.read
		switch {
		case c.closed:
			return 0, c.error("read", net.ErrClosed)
		case now >= d.readDeadline:
			return 0, c.error("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case d.stalled:
		case unread > 0:
			if m := d.link.MaxRead; m > 0 && m < len(b) {
				b = b[:m]
			}
			if int64(len(b)) > unread {
				b = b[:unread]
			}
			d.bytes.get(b, d.read)
			d.read += int64(len(b))
			d.log(now, OpRead, len(b), nil)
			d.begin(now) // there is room in the window
			p.advance(now)
			return len(b), nil
		case d.readErr == io.EOF:
			return 0, io.EOF
		case d.readErr != nil:
			return 0, c.error("read", d.readErr)
		}
		p.wait(&d.readable, &d.readers)
	}
}
