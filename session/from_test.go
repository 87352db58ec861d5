package session_test

import (
	"net"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// wrapper is a net.Conn with something in it.
type wrapper struct{ net.Conn }

func (w wrapper) NetConn() net.Conn { return w.Conn }

// From finds the session of a stream, wrapped or not, at both ends. Transport returns what was given to the session.
func TestFromFindsTheSession(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		ca, cb := tr.Pair(t)
		c, s := client(t, ca, &session.Config{Version: version}), server(t, cb, nil)
		opened, accepted := openPair(t, c, s)
		for st, want := range map[net.Conn]*session.Session{
			opened: c, accepted: s, wrapper{wrapper{opened}}: c, &wrapper{accepted}: s,
		} {
			if got, ok := session.From(st); got != want || !ok {
				t.Errorf("From(%T) = %p, %v, want %p", st, got, ok, want)
			}
		}
		if c.Transport() != ca || s.Transport() != cb {
			t.Error("Transport returns something else")
		}
		_ = c.CloseNow()
		if got, ok := session.From(opened); got != c || !ok {
			t.Error("the end of the session changes that")
		}
	})
	var loop wrapper
	self := &loop
	self.Conn = self
	a, b := net.Pipe()
	defer b.Close()
	defer a.Close()
	for _, conn := range []net.Conn{nil, a, wrapper{a}, wrapper{}, (*wrapper)(nil), (*stream.Stream)(nil), self} {
		if s, ok := session.From(conn); s != nil || ok {
			t.Errorf("From(%T) = %v, %v, want none", conn, s, ok)
		}
	}
}
