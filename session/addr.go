package session

import "net"

// Addr returns the local address, as a net.Listener does.
func (s *Session) Addr() net.Addr { return s.shared.LocalAddr }

// LocalAddr returns the transport's local address. If the transport tells none, or a nil pointer, it
// returns an address that says "smux".
func (s *Session) LocalAddr() net.Addr { return s.shared.LocalAddr }

// RemoteAddr returns the transport's remote address. If the transport tells none, or a nil pointer, it
// returns an address that says "smux".
func (s *Session) RemoteAddr() net.Addr { return s.shared.RemoteAddr }

// noAddr is the address of a transport that does not tell.
type noAddr struct{}

func (noAddr) Network() string { return "smux" }
func (noAddr) String() string  { return "smux" }

func transportAddr(conn any, which string) (a net.Addr) {
	switch which {
	case "LocalAddr":
		if c, ok := conn.(interface{ LocalAddr() net.Addr }); ok {
			a = c.LocalAddr()
		}
	case "RemoteAddr":
		if c, ok := conn.(interface{ RemoteAddr() net.Addr }); ok {
			a = c.RemoteAddr()
		}
	}
	if a == nil || isNil(a) {
		return noAddr{}
	}
	return a
}
