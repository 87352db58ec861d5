package simnet

import (
	"net"
)

// Datagrams returns a transport over c that ends as KCP and other protocols over datagrams do: its Close throws away
// what has not arrived yet, and the peer is not told. Its addresses have the network "udp". It has no CloseWrite.
func Datagrams(c *Conn) net.Conn { return datagrams{Conn: c, c: c} }

type datagrams struct {
	net.Conn // hides the other methods of c
	c        *Conn
}

func (d datagrams) LocalAddr() net.Addr  { return udpAddr{d.c.local} }
func (d datagrams) RemoteAddr() net.Addr { return udpAddr{d.c.remote} }
func (d datagrams) Close() error         { return d.c.forget() }

// A udpAddr is an Addr with the network "udp".
type udpAddr struct{ Addr }

func (udpAddr) Network() string { return "udp" }

// forget closes c and throws away the bytes that have not arrived. The peer's Reads go on waiting, and its Writes are
// discarded.
func (c *Conn) forget() error {
	p := c.pair
	p.mu.Lock()
	defer p.unlock()
	now := p.now()
	if c.closed {
		return c.error("close", net.ErrClosed)
	}
	c.closed = true
	out, in := c.out, c.in
	out.log(now, OpClose, 0, nil)
	out.flight.clear()
	out.endWrites(net.ErrClosed)
	out.written, out.departed = out.arrived, out.arrived

	in.abandoned = true
	in.read = in.arrived
	in.wakeReaders()
	in.begin(now)
	if out.abandoned {
		p.release()
	}
	p.advance(now)
	return nil
}
