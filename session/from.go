package session

import (
	"io"
	"net"

	"github.com/smuxkit/smuxkit/stream"
)

// From returns the session of a stream. conn may be the stream, or wrap it: From calls the method NetConn, which
// returns what is wrapped, as that of *tls.Conn does, until it finds a stream. It reports false if there is none, or
// if the stream belongs to another implementation of sessions.
//
// Use it where only a net.Conn is at hand, for instance in http.Server.ConnContext.
func From(conn net.Conn) (*Session, bool) {
	for range maxWrapped {
		switch c := conn.(type) {
		case *stream.Stream:
			if c == nil {
				return nil, false
			}
			st, ok := stream.NotifierOf(c).(*sessionStream)
			if !ok {
				return nil, false
			}
			return st.s, true
		case interface{ NetConn() net.Conn }:
			if isNil(c) {
				return nil, false
			}
			conn = c.NetConn()
		default:
			return nil, false
		}
	}
	return nil, false
}

// maxWrapped is how deep From looks, so that a wrapper of itself does not hold it up.
const maxWrapped = 100

// Transport returns the transport that was given to [Client] or [Server], for instance to look at the peer's
// certificate. The session reads and writes it, and closes it: only look at it.
func (s *Session) Transport() io.ReadWriteCloser { return s.conn }
