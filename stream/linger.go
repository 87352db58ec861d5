package stream

import "time"

// In this file, a closed stream gives up data that it cannot send.

// startLinger starts a timer, so that a closed stream does not wait for ever for the window of its peer. The peer may
// have forgotten the stream, as xtaci/smux does when it closes one, or be hostile.
func (s *Stream) startLinger() {
	h := &s.send
	if s.closed == notClosed || h.unsent == 0 || h.lingering || s.session != sessionUp || s.canSend() {
		return
	}
	h.lingering = true
	waiting := h.unsent
	s.ensureExtras().linger = time.AfterFunc(s.shared.linger(), func() { s.endLinger(waiting) })
}

// stopLinger stops that timer, which would keep the memory of a stream that is finished.
func (s *Stream) stopLinger() {
	if s.send.lingering {
		s.send.lingering = false
		s.extras.linger.Stop()
	}
}

// endLinger is what the timer calls: Linger has passed since waiting bytes were unsent. If some of them have been sent
// since, or the peer may still read them, unlock starts the timer again.
func (s *Stream) endLinger(waiting int32) {
	s.mu.Lock()
	defer s.unlock()
	h := &s.send
	h.lingering = false
	if h.unsent == waiting && !s.canSend() && s.session == sessionUp && !s.peerMayRead() {
		s.giveUp()
	}
}

// peerMayRead reports whether the stream keeps its unsent data for longer than Linger: the peer may still read it, and
// closed streams do not keep too much for such peers.
func (s *Stream) peerMayRead() bool {
	p := s.send.peer
	return (p == peerOpen || p == peerStillReads) && s.shared.closedUnsent.Load() <= s.shared.maxClosedUnsent()
}

// GiveUp throws away the unsent data of a closed stream, and reports whether it did. A session calls it for all streams
// if it cannot send. The first call does nothing, so that a stream that was closed a moment ago keeps its data until
// the second.
func (c *Core) GiveUp() bool {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	if s.closed == notClosed || s.send.unsent == 0 {
		return false
	}
	if !s.send.giveUpNext {
		s.send.giveUpNext = true
		return false
	}
	s.giveUp()
	return true
}

// giveUp throws away the unsent data of a closed stream. No FIN is sent.
func (s *Stream) giveUp() {
	s.dropUnsent()
	s.send.state = sendDone
	s.recv.window.Finish(s.shared.windows())
}
