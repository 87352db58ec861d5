package stream

import (
	"errors"
	"net"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// Close closes both directions of the stream. It does not block. Calls on the stream fail with [net.ErrClosed], also
// those that are blocked. Unread data is thrown away, and so is data that arrives later.
//
// The session still sends the data that Write has accepted, and a FIN after it. It sends the FIN twice if the
// peer's FIN has not arrived, so that the peer can tell Close from CloseWrite (docs/protocol.md, "Streams"). [Stream.Flush]
// waits for all that: call it before the program ends.
//
// If some of the accepted data was thrown away instead, Close returns the reason: that of the session's end,
// [ErrPeerClosed] or [ErrRefused]. A second Close does nothing and returns nil.
//
// With WriteThrough of the session's Config, Close waits until the transport has taken the FIN, for at most
// LingerTimeout. Then it returns os.ErrDeadlineExceeded, and the FIN is sent later. If the session ends before, Close
// returns the reason.
func (s *Stream) Close() error {
	now := s.lock()
	defer s.unlock()
	if s.closed != notClosed {
		return nil
	}
	s.close(closedByUser, now)
	if s.send.lost {
		return s.opError("close", s.lostErr())
	}
	return s.opError("close", s.awaitTaken())
}

// close closes both directions of a stream that is not closed. The caller holds s.mu.
func (s *Stream) close(by closeReason, now time.Duration) {
	s.closed = by
	s.shared.closedUnsent.Add(int64(s.send.unsent))
	dropped := s.recv.discard()
	s.due.returned += dropped
	s.closeSending()
	s.noteRead(dropped, now, SendSoon)
	if !s.needsUpdates() {
		s.recv.window.Finish(s.shared.windows())
	}
	s.stopSecondFIN()
	if s.extras != nil {
		s.extras.readDeadline.stop()
		s.extras.writeDeadline.stop()
	}
	s.noteDone()
}

// closeSending ends Writes and queues the FIN. If the session is ending, it queues none: a FIN would say that the
// stream was complete.
func (s *Stream) closeSending() {
	h := &s.send
	h.writers.wake()
	s.endBulk()
	switch {
	case s.session != sessionUp:
		if h.state == sendOpen {
			h.state, s.finLost = sendDone, true
		}
		return
	case h.state == sendOpen:
		h.state = sendFINDue
	case h.state == sendFINSent && s.closed != notClosed && s.recv.hasFIN():
		h.state = sendDone
	case h.state == sendFINSent && s.closed != notClosed:
		h.state = sendFINDueAgain
	}
	// If this side wrote last, the peer may be waiting for the end of the data. If the peer wrote last, and
	// has not sent its FIN, it is not waiting.
	urgency := SendLazily
	switch {
	case s.closed == closedByOverrun:
		urgency = SendSoon // the caller is the session's reader, which must not write
	case h.wroteSinceRead:
		urgency = SendNow
	case s.recv.hasFIN() && h.peer != peerClosed:
		urgency = SendSoon
	}
	s.queueData(urgency)
}

// closedErr returns the error of calls on a closed stream.
func (s *Stream) closedErr() error {
	switch s.closed {
	case closedByStall:
		return ErrStalled
	case closedByOverrun:
		return flow.ErrWindow
	case closedByIdle:
		return ErrIdleTimeout
	default:
		return net.ErrClosed
	}
}

// CloseWrite closes the sending direction. It does not block. Write fails with [net.ErrClosed], and the peer reads
// io.EOF after the data that was written. Reading goes on. CloseWrite returns nil; a second call does nothing.
//
// With WriteThrough of the session's Config, CloseWrite waits and fails as Close does.
//
// With NoHalfClose of the session's Config, CloseWrite changes nothing and returns errors.ErrUnsupported, because the peer could not
// answer any more.
func (s *Stream) CloseWrite() error {
	if s.shared.NoHalfClose {
		return s.opError("close", errors.ErrUnsupported)
	}
	s.mu.Lock()
	defer s.unlock()
	if s.send.state != sendOpen {
		return nil
	}
	s.closeSending()
	s.noteDone()
	return s.opError("close", s.awaitTaken())
}

// CloseRead closes the receiving direction. It does not block. Read fails with [net.ErrClosed], and unread data and
// data that arrives later are thrown away. The peer does not learn of it, as the protocol has no frame for it, and
// can go on writing. CloseRead always returns nil; a second call does nothing.
func (s *Stream) CloseRead() error {
	now := s.lock()
	defer s.unlock()
	if dropped := s.recv.discard(); dropped > 0 {
		s.due.returned += dropped
		s.noteRead(dropped, now, SendSoon)
	}
	return nil
}
