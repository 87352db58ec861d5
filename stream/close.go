package stream

import (
	"net"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// Close closes both directions and returns at once. Calls that are blocked end with
// net.ErrClosed. What has not been read is thrown away, and so is what still
// arrives. What Write has accepted is still sent, and FIN behind it: twice, unless the peer's has
// come, so that the peer can tell this from CloseWrite (docs/protocol.md, "Streams").
// Closing again does nothing.
//
// The error, if any, is why what Write had accepted was thrown away instead of being handed to the
// transport: the reason for the session's end, or [ErrPeerClosed].
func (s *Stream) Close() error {
	now := s.now()
	s.mu.Lock()
	defer s.unlock()
	if s.closed != notClosed {
		return nil
	}
	s.close(closedByUser, now)
	if !s.send.lost {
		return nil
	}
	if err := s.sessionErr(); err != nil {
		return s.opError("close", err)
	}
	return s.opError("close", ErrPeerClosed)
}

// close closes both directions of a stream that is not closed.
func (s *Stream) close(by closure, now time.Duration) {
	s.closed = by
	s.shared.closedUnsent.Add(int64(s.send.unsent))
	dropped := s.recv.discard()
	s.due.returned += dropped
	s.closeSending()
	s.noteRead(dropped, now, SendSoon)
	if !s.needsUpdates() {
		s.recv.window.Finish(s.shared.Budget)
	}
	if s.rare != nil {
		s.rare.readLimit.stop()
		s.rare.writeLimit.stop()
	}
}

// closeSending ends Writes and has FIN sent. Once the session is ending no FIN goes out any more: it
// would say that the stream was complete.
func (s *Stream) closeSending() {
	h := &s.send
	h.writers.wake()
	s.endBulk()
	switch {
	case s.session != sessionUp:
		if h.state == sendOpen {
			h.state = sendDone
		}
		return
	case h.state == sendOpen:
		h.state = sendFINDue
	case h.state == sendFINSent && s.closed != notClosed && s.recv.hasFIN():
		h.state = sendDone
	case h.state == sendFINSent && s.closed != notClosed:
		h.state = sendFINDueAgain
	}
	// Somebody may be waiting for the end of what this side has said. If the last word
	// was the peer's, and was not its FIN, nobody is.
	urgency := SendLazily
	switch {
	case s.closed == closedByOverrun:
		urgency = SendSoon // this is the goroutine that reads, which must not wait for a write
	case h.wroteSinceRead:
		urgency = SendNow
	case s.recv.hasFIN() && h.peer != readerGone:
		urgency = SendSoon
	}
	s.queueData(urgency)
}

// closedErr is what calls on a closed stream get.
func (s *Stream) closedErr() error {
	switch s.closed {
	case closedByStall:
		return ErrStalled
	case closedByOverrun:
		return flow.ErrWindow
	default:
		return net.ErrClosed
	}
}

// CloseWrite closes the stream for writing: Write fails with net.ErrClosed, and the peer
// reads io.EOF after what was written. It does not wait for that to be sent. Reading goes
// on. Closing again does nothing.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.unlock()
	if s.send.state == sendOpen {
		s.closeSending()
	}
	return nil
}

// CloseRead closes the stream for reading: Read fails with net.ErrClosed, what has not
// been read is thrown away, and so is what still arrives. The peer is not told, as
// the protocol has no words for it; it can go on writing. Closing again does nothing.
func (s *Stream) CloseRead() error {
	now := s.now()
	s.mu.Lock()
	defer s.unlock()
	if dropped := s.recv.discard(); dropped > 0 {
		s.due.returned += dropped
		s.noteRead(dropped, now, SendSoon)
	}
	return nil
}
