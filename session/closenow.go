package session

import (
	"net"

	"github.com/smuxkit/smuxkit/stream"
)

// CloseNow ends the session at once. It sends nothing: data that Writes have accepted and the transport has not taken
// is thrown away, and so is unread data. Calls on the session and its streams fail with [net.ErrClosed], also those
// that are blocked. The peer's open streams get no FIN: its Reads return io.ErrUnexpectedEOF.
//
// Use CloseNow when the data does not matter or cannot arrive: in a test, after the peer has misbehaved, or when
// [Session.Close] or [Session.Shutdown] takes too long. Otherwise use Close, which loses no data.
//
// CloseNow may be called while Close or Shutdown is under way, and ends them: they return [ErrNotFlushed], except that a
// Close which waits for the transport's Close method alone returns os.ErrDeadlineExceeded after 0.1 s.
//
// CloseNow returns the error of closing the transport. It waits for the transport's Close method for 0.1 s at most, and
// then returns os.ErrDeadlineExceeded. On a session that has ended, CloseNow returns nil at once.
func (s *Session) CloseNow() error {
	s.mu.Lock()
	now := s.now()
	if s.phase == phaseEnded && s.graceTimer != nil && s.closeBy-now > closeGrace {
		s.graceTimer.Reset(closeGrace)
	}
	s.closeBy = now
	if s.phase < phaseEnded {
		s.phase = phaseClosing
		s.err = net.ErrClosed
		s.backlog.takeAll()
		s.cutShort = true
	}
	streams := s.listStreams()
	s.mu.Unlock()

	s.tracer.unbound()
	s.out.stop(net.ErrClosed) // first: otherwise the streams would send on
	for _, st := range streams {
		st.core.Abort(net.ErrClosed, stream.AbortRead)
	}
	return s.opError("close", s.end(net.ErrClosed))
}

// wasCutShort reports whether CloseNow has ended the session.
func (s *Session) wasCutShort() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cutShort
}
