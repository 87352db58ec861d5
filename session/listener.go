package session

import "net"

// Listener returns a net.Listener for the peer's streams, for servers that close their listener before their
// last answers are sent, as http.Server.Shutdown and grpc.Server.GracefulStop do. Its Accept is
// [Session.Accept]. Its Close stops accepting and nothing else: streams that were accepted go on, this side
// may still open streams, and the session lives until [Session.Close], [Session.Shutdown], or its peer's end.
// [Session.Close], which makes the Session itself a net.Listener, ends all of these.
//
// Close returns at once. From then on Accept fails with net.ErrClosed, and streams that wait to be accepted,
// as well as those that the peer opens later, are refused: their opener reads io.EOF and no data. Close
// always returns nil, and closing again does nothing.
//
// A session has one accepting side. So all its Listeners share its streams, and closing one of them closes
// all, and ends [Session.AcceptStream] and [Session.Accept]. It cannot be undone. A Listener needs no
// Close if the session is closed.
func (s *Session) Listener() net.Listener { return &listener{s} }

type listener struct{ s *Session }

func (l *listener) Accept() (net.Conn, error) { return l.s.Accept() }

func (l *listener) Addr() net.Addr { return l.s.Addr() }

func (l *listener) Close() error {
	l.s.stopAccepting()
	return nil
}

// stopAccepting refuses the streams that wait to be accepted, and all that follow.
func (s *Session) stopAccepting() {
	s.mu.Lock()
	s.stopped = true
	waiting := s.backlog
	s.backlog = nil
	s.accepting.Broadcast()
	s.mu.Unlock()
	for _, st := range waiting {
		_ = st.core.Stream().Close() // no application has seen it
	}
	s.stats.streamsRefused.Add(uint64(len(waiting)))
}
