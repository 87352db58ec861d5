package stream

import (
	"net"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// Close closes both directions and returns at once. Calls that are blocked end with
// net.ErrClosed; what has not been read is thrown away, and so is what still
// arrives; what Write has accepted is still sent, and FIN behind it: twice, unless the peer's has
// come, so that the peer can tell this from CloseWrite (PROTOCOL.md, "Lifetime of a stream").
// Closing again does nothing.
//
// The error, if any, is why what Write had accepted was thrown away instead of being handed to the
// transport: the reason for the session's end, or ErrPeerClosed.
func (s *Stream) Close() error {
	_, err := s.close(closedByUser)
	return s.opError("close", err)
}

// close closes the stream and returns how much unread data was thrown away.
func (s *Stream) close(by closer) (dropped int, err error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, nil
	}
	s.closed = true
	s.cfg.kept.Add(int64(s.unsent))
	s.closedBy = by
	if s.lost {
		if err = s.err; err == nil {
			err = ErrPeerClosed
		}
	}
	dropped = s.dropUnread()
	// A second FIN says that both directions are closed (PROTOCOL.md, "Lifetime of a
	// stream"), so that the peer's Writes fail and need not wait for a window.
	s.finAgain = s.in == inOpen
	s.endWriting()
	update := s.credited(dropped)
	if !s.receives() || s.err != nil {
		s.window.Finish(s.cfg.Budget)
	}
	s.readLimit.stop()
	s.writeLimit.stop()
	s.endWrites()
	s.linger()
	done := s.finish()
	if s.err != nil && !s.sending && !s.finished {
		// There is no session left to send FIN.
		s.finished, done = true, true
	}
	s.mu.Unlock()
	if dropped > 0 {
		s.cfg.Budget.Return(dropped)
	}
	if done {
		s.link.Finished()
	}
	if update {
		s.link.SendControl(Soon)
	}
	return dropped, err
}

// closedErr is what calls on a closed stream get.
func (s *Stream) closedErr() error {
	switch s.closedBy {
	case closedByStall:
		return ErrStalled
	case closedByOverrun:
		return flow.ErrWindow
	}
	return net.ErrClosed
}

// CloseWrite closes the stream for writing: Write fails with net.ErrClosed, and the peer
// reads io.EOF after what was written. It does not wait for that to be sent. Reading goes
// on. Closing again does nothing.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out == outOpen {
		s.endWriting()
		s.endWrites()
	}
	return nil
}

// endWriting closes the way out. Once the session is ending no FIN goes out any more: it
// would say that the stream was complete.
func (s *Stream) endWriting() {
	switch {
	case s.out != outOpen:
	case s.err == nil:
		s.out = outFinishing
	default:
		s.out = outFinished
	}
}

// linger sees to it that a closed stream does not wait for ever for the window of a peer that has
// forgotten it, as xtaci/smux does when it closes a stream, or of one that means harm.
func (s *Stream) linger() {
	if s.lingering || !s.closed || s.unsent == 0 || s.sendable() || s.err != nil {
		return
	}
	s.lingering = true
	waiting := s.unsent
	time.AfterFunc(s.cfg.linger(), func() { s.lingered(waiting) })
}

// lingered is called when Linger has passed since there were so many bytes to send.
func (s *Stream) lingered(waiting int32) {
	s.mu.Lock()
	s.lingering = false
	if s.unsent != waiting || s.sendable() || s.err != nil || s.awaited() {
		s.linger() // or Data does, when the window is used up again
		s.mu.Unlock()
		return
	}
	s.giveUp()
}

// GiveUp throws away what a stream that was closed has yet to send, and reports whether there was
// something: its session can send nothing. The stream sends no FIN, which would say that it was complete.
func (p *Port) GiveUp() bool {
	s := &p.s
	s.mu.Lock()
	if !s.closed || s.unsent == 0 {
		s.mu.Unlock()
		return false
	}
	s.giveUp()
	return true
}

// giveUp does that for a closed stream. It releases s.mu.
func (s *Stream) giveUp() {
	s.dropUnsent()
	s.out, s.finAgain = outFinished, false
	s.window.Finish(s.cfg.Budget)
	done := s.finish()
	s.mu.Unlock()
	if done {
		s.link.Finished()
	}
}

// awaited reports whether the peer may be one that reads on some day, and what is kept for such peers is
// not too much.
func (s *Stream) awaited() bool {
	return (s.in == inOpen || s.halfClosed) && s.cfg.kept.Load() <= s.cfg.maxKept()
}

// endWrites has FIN sent and Writes end. It releases s.mu meanwhile.
func (s *Stream) endWrites() {
	s.readers.wake()
	s.writers.wake()
	s.bulk.end()
	if s.err != nil {
		return
	}
	// Somebody may be waiting for the end of what this side has said. If the last word
	// was the peer's, and was not its FIN, nobody is.
	urgency := Lazily
	switch {
	case s.closedBy == closedByOverrun:
		urgency = Soon // this is the goroutine that reads, which must not wait for a write
	case s.spoke:
		urgency = Now
	case s.in == inEnded && !s.peerClosed:
		urgency = Soon
	}
	s.submit(urgency)
}

// CloseRead closes the stream for reading: Read fails with net.ErrClosed, what has not
// been read is thrown away, and so is what still arrives. The peer is not told, as
// the protocol has no words for it; it can go on writing. Closing again does nothing.
func (s *Stream) CloseRead() error {
	s.mu.Lock()
	if s.discard {
		s.mu.Unlock()
		return nil
	}
	dropped := s.dropUnread()
	s.readers.wake()
	update := dropped > 0 && s.credited(dropped)
	done := s.finish()
	s.mu.Unlock()
	if dropped > 0 {
		s.cfg.Budget.Return(dropped)
	}
	if done {
		s.link.Finished()
	}
	if update {
		s.link.SendControl(Soon)
	}
	return nil
}

// dropUnread throws away what has not been read, and returns how much that was.
func (s *Stream) dropUnread() int {
	s.discard = true
	n := s.unread
	s.unread = 0
	if s.lent == lentQueue {
		// The session is filling the last buffer; Commit frees it.
		for s.queue.Head() != s.queue.Tail() {
			s.queue.Pop().Free()
		}
	} else {
		s.queue.Free()
	}
	return n
}
