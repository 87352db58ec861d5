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

// Ended returns a channel that is closed as that of [Stream.Done] is, except that the peer alone does not close it: while
// the session goes on, it is open until this side has closed the stream, or has sent its FIN and the peer's FIN has
// arrived. Use it to release what belongs to the stream when this side needs the stream no more.
//
// Ended does not block, and always returns the same channel.
func (s *Stream) Ended() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.ensureExtras()
	if x.ended == nil {
		x.ended = make(chan struct{})
		s.noteDone()
	}
	return x.ended
}

// noteDone closes the channels of Done and Ended if that is due. It is called after each change that may make isDone or
// isEnded true.
func (s *Stream) noteDone() {
	if s.extras == nil {
		return
	}
	if done := s.extras.done; done != nil && s.isDone() {
		closeOnce(done)
	}
	if ended := s.extras.ended; ended != nil && s.isEnded() {
		closeOnce(ended)
	}
}

// closeOnce closes c if it is open. The stream's mu makes sure that one call at a time does so.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// isDone reports whether the channel of Done is to be closed.
func (s *Stream) isDone() bool { return s.send.peer == peerClosed || s.isEnded() }

// isEnded reports whether the channel of Ended is to be closed.
func (s *Stream) isEnded() bool {
	return s.closed != notClosed || !s.session.receives() || s.recv.hasFIN() && s.send.isOver()
}
