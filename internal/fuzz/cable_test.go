package fuzz

import (
	"io"
	"net"
	"sync"
)

// A cable is a transport of a session, with the test at its other end.
type cable struct {
	chunk int // most bytes of a Read; 0 is no limit

	mu      sync.Mutex
	changed sync.Cond
	in      []byte // for the session to read,
	inErr   error  // what comes after in; nil if more bytes come
	out     []byte // what the session has written
	stalled bool   // Write waits
	closed  bool   // by the session
}

var _ io.ReadWriteCloser = (*cable)(nil)

func newCable(chunk int) *cable {
	c := &cable{chunk: chunk}
	c.changed.L = &c.mu
	return c
}

func (c *cable) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.in) == 0 && c.inErr == nil && !c.closed {
		c.changed.Wait()
	}
	if c.closed {
		return 0, net.ErrClosed
	}
	if len(c.in) == 0 {
		return 0, c.inErr
	}
	if c.chunk > 0 {
		p = p[:min(len(p), c.chunk)]
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *cable) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.stalled && !c.closed {
		c.changed.Wait()
	}
	if c.closed {
		return 0, net.ErrClosed
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

func (c *cable) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.changed.Broadcast()
	return nil
}

// LocalAddr has the network of net.Pipe: what Write has taken has arrived. So Close asks the peer for no proof.
func (*cable) LocalAddr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// send gives the session bytes to read.
func (c *cable) send(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = append(c.in, b...)
	c.changed.Broadcast()
}

// end ends what the session can read.
func (c *cable) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inErr = err
	c.changed.Broadcast()
}

func (c *cable) stall(stalled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = stalled
	c.changed.Broadcast()
}

// written returns what the session has written since the last call.
func (c *cable) written() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.out
	c.out = nil
	return b
}
