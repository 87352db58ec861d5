package stream

// Done returns a channel that is closed once one of these is true:
//
//   - The peer has closed both directions: Write fails with [ErrPeerClosed].
//   - Both directions have ended: this side has sent its FIN, and the peer's FIN has arrived.
//   - This side has closed the stream, or the session has aborted it.
//   - The session has ended, or this side is closing it.
//
// A FIN that ends only the peer's direction does not close the channel: Read reports it as io.EOF. The channel tells
// nothing of unread data. Read still returns data that arrived before, unless this side has closed the stream or the
// session.
//
// Done does not block, and always returns the same channel. Use it to end work for the stream, such as a query, while no
// Read or Write of the stream waits.
func (s *Stream) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.ensureExtras()
	if x.done == nil {
		x.done = make(chan struct{})
		s.noteDone()
	}
	return x.done
}

// noteDone closes the channel of Done if that is due. It is called after each change that may make isDone true.
func (s *Stream) noteDone() {
	if s.extras == nil || s.extras.done == nil || !s.isDone() {
		return
	}
	select {
	case <-s.extras.done:
	default:
		close(s.extras.done)
	}
}

// isDone reports whether the channel of Done is to be closed.
func (s *Stream) isDone() bool {
	return s.closed != notClosed || s.send.peer == peerClosed || !s.session.receives() ||
		s.recv.hasFIN() && s.send.isOver()
}
