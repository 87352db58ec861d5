package session

import "net"

// Listener returns a net.Listener for the streams that the peer opens. Use it for servers that close their listener
// before they have sent their last answers, as http.Server.Shutdown and grpc.Server.GracefulStop do. Accept of
// the Listener is [Session.Accept].
//
// Close of the Listener stops accepting, and nothing else. Accepted streams go on, this side may still open
// streams, and the session goes on. (Close of the Session, which is a net.Listener too, ends all of them.) Close
// returns nil at once. It tells a peer of this package to open no more streams, as [Session.Shutdown] does.
// Accept still returns the streams that the peer opened before it heard of that, and then fails with
// [net.ErrClosed]: after a round trip if the peer is of this package, and otherwise after Config.CloseTimeout,
// because other peers cannot be told. Streams that come later are refused ([stream.ErrRefused]). Streams that
// wait to be accepted are refused, too, when no stream was accepted for CloseTimeout. A second Close does
// nothing.
//
// All Listeners of a session share its streams: closing one closes all of them, for good, and ends
// [Session.AcceptStream] and [Session.Accept]. A Listener of a closed session needs no Close.
func (s *Session) Listener() net.Listener { return &listener{s} }

// A listener is what Session.Listener returns.
type listener struct{ s *Session }

func (l *listener) Accept() (net.Conn, error) { return l.s.Accept() }

func (l *listener) Addr() net.Addr { return l.s.Addr() }

func (l *listener) Close() error {
	l.s.stopAccepting()
	return nil
}

// stopAccepting starts the drain. Accept fails once the drain is done and no stream waits.
func (s *Session) stopAccepting() {
	s.mu.Lock()
	s.acceptStopped = true
	s.wakeAccepts()
	s.mu.Unlock()
	s.startDrain()
}
