package session

import "net"

// Addr returns the local address, as [Session.LocalAddr] does. It makes the Session a net.Listener.
func (s *Session) Addr() net.Addr { return s.shared.LocalAddr }

// LocalAddr returns [Config].LocalAddr or, if that is nil, the local address of the transport. If the transport has none
// either, both parts of the address are "smux".
func (s *Session) LocalAddr() net.Addr { return s.shared.LocalAddr }

// RemoteAddr returns [Config].RemoteAddr or, if that is nil, the remote address of the transport. If the transport has none
// either, both parts of the address are "smux".
func (s *Session) RemoteAddr() net.Addr { return s.shared.RemoteAddr }

// noAddr is the address of a transport that has none.
type noAddr struct{}

func (noAddr) Network() string { return "smux" }
func (noAddr) String() string  { return "smux" }

// transportAddr returns what conn's method with the given name returns, or noAddr if that is nil or a nil pointer.
func transportAddr(conn any, method string) (a net.Addr) {
	switch method {
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
