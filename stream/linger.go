package stream

import "time"

// In this file, a stream gives up data that it cannot send.

// startLinger starts a timer, so that a stream does not wait for ever for the window of its peer. The peer may have
// forgotten the stream, as xtaci/smux does when it closes one, or be hostile. An open stream starts it only if the peer
// has sent one FIN and no update since.
func (s *Stream) startLinger() {
	h := &s.send
	if s.closed == notClosed && h.peer != peerSentFIN || h.lingering || !s.awaitsWindow() {
		return
	}
	h.lingering = true
	waiting := h.unsent
	s.ensureExtras().linger = time.AfterFunc(s.shared.linger(), func() { s.endLinger(waiting) })
}

// stopLinger stops the timer. Otherwise the timer would keep a finished stream in memory.
func (s *Stream) stopLinger() {
	if s.send.lingering {
		s.send.lingering = false
		s.extras.linger.Stop()
	}
}

// awaitsWindow reports whether data waits for the peer's window. While the stream is open, the data of a Write that
// waits counts, too.
func (s *Stream) awaitsWindow() bool {
	n := int(s.send.unsent)
	if s.closed == notClosed {
		n = s.send.waiting()
	}
	return n > 0 && s.isWindowed() && s.send.window.Available() <= 0 && s.session == sessionUp
}

// endLinger is what the timer calls after Linger. waiting is how many bytes were unsent when the timer was started. An
// open stream gives up if the peer has sent no update since its FIN: the peer counts as closed. A closed stream gives up
// if none of the bytes was sent since, unless the peer may still read them. Otherwise unlock starts the timer again.
func (s *Stream) endLinger(waiting int32) {
	s.mu.Lock()
	defer s.unlock()
	h := &s.send
	h.lingering = false
	switch {
	case !s.awaitsWindow():
	case s.closed == notClosed && h.peer == peerSentFIN:
		h.peer = peerClosed
		s.giveUp()
		h.writers.wake()
		s.noteDone()
	case s.closed != notClosed && h.unsent == waiting && !s.peerMayRead():
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
// the second. A stream keeps its data while a call of Flush waits for it.
func (c *Core) GiveUp() bool {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	if s.closed == notClosed || s.send.unsent == 0 || s.isFlushing() {
		return false
	}
	if !s.send.giveUpNext {
		s.send.giveUpNext = true
		return false
	}
	s.giveUp()
	return true
}

// giveUp throws away the unsent data. No FIN is sent.
func (s *Stream) giveUp() {
	s.dropUnsent()
	if s.closed == notClosed && s.send.state == sendOpen {
		s.send.state = sendGivenUp
	} else {
		s.send.state = sendDone
	}
	s.recv.window.Finish(s.shared.windows())
}
