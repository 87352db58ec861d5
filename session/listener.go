package session

import "net"

// Listener returns a net.Listener for the streams that the peer opens. Use it for servers that close their listener
// before they have sent their last answers, as http.Server.Shutdown and grpc.Server.GracefulStop do. Accept of
// the Listener is [Session.Accept].
//
// Close of the Listener stops accepting, and nothing else. Accepted streams go on, this side may still open
// streams, and the session goes on. (Close of the Session, which is a net.Listener too, ends all of them.)
// Close returns nil at once. After that, Accept fails with [net.ErrClosed]. Streams that wait to be accepted,
// and those that the peer opens later, are refused: their opener reads io.EOF and no data. A second Close does
// nothing.
//
// All Listeners of a session share its streams: closing one closes all of them, for good, and ends
// [Session.AcceptStream] and [Session.Accept]. A Listener of a closed session needs no Close.
func (s *Session) Listener() net.Listener { return &listener{s} }

type listener struct{ s *Session }

func (l *listener) Accept() (net.Conn, error) { return l.s.Accept() }

func (l *listener) Addr() net.Addr { return l.s.Addr() }

func (l *listener) Close() error {
	l.s.stopAccepting()
	return nil
}

// stopAccepting refuses the streams of the backlog and all that the peer opens later.
func (s *Session) stopAccepting() {
	s.mu.Lock()
	s.acceptStopped = true
	waiting := s.backlog
	s.backlog = nil
	s.accepting.Broadcast()
	s.mu.Unlock()
	for _, st := range waiting {
		_ = st.core.Stream().Close() // no application has seen the stream, so none misses the error
	}
	s.stats.streamsRefused.Add(uint64(len(waiting)))
}
