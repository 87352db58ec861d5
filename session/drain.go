package session

import "time"

// A drainState says how far this side is in taking no more streams:
//
//	drainNone --Shutdown, Listener.Close--> drainDue --(the version is known)--> drainSent
//	drainSent --the peer's echo, or CloseTimeout--> drainDone
//	drainDue --CloseTimeout--> drainDone
//
// Until drainDone the peer's streams are accepted: the peer may have sent their SYNs before it received the signal. The
// echo follows the last of them.
type drainState uint8

const (
	drainNone drainState = iota
	drainDue             // the signal waits for the version
	drainSent            // the signal was sent, or waits for the writer
	drainDone            // the peer opens no more streams, or they are refused
)

// Draining returns a channel that is closed when the peer has said that it takes no more streams, by its
// Shutdown or by closing its [Session.Listener]. Streams that are open go on. OpenStream fails with
// [ErrPeerShutdown] from then on: open streams on another session instead. Only sessions of this package say so,
// and the channel stays open when a session ends without it: see [Session.Done].
func (s *Session) Draining() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining == nil {
		s.draining = make(chan struct{})
		if s.peerDraining {
			close(s.draining)
		}
	}
	return s.draining
}

// startDrain tells the peer that this side takes no more streams.
func (s *Session) startDrain() {
	s.mu.Lock()
	if s.drain != drainNone || s.phase >= phaseClosing {
		s.mu.Unlock()
		return
	}
	s.drain, s.acceptedOne = drainDue, false
	s.drainTimer = time.AfterFunc(s.closeTimeout, s.drainExpired)
	known := s.ver.Load() != 0
	if known {
		s.drain = drainSent
	}
	s.mu.Unlock()
	s.tracer.drainBegin()
	if known {
		s.out.sendOwn(ownDrain)
	}
}

// handleDrainEcho notes that the peer opens no more streams.
func (s *Session) handleDrainEcho() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drain == drainSent {
		s.finishDrain()
	}
}

// finishDrain ends the drain: from now on the session refuses the peer's streams. The caller holds s.mu.
func (s *Session) finishDrain() {
	s.drain = drainDone
	s.wakeAccepts() // if a Listener is closed, Accept fails once nothing waits any more
	s.wakeShutdown()
}

// drainExpired is called when CloseTimeout has passed since the drain began, and each time that it passes again
// while streams wait to be accepted. If none of them was accepted in that time, nobody accepts any more.
func (s *Session) drainExpired() {
	s.mu.Lock()
	if s.phase >= phaseClosing {
		s.mu.Unlock()
		return
	}
	var waiting []*sessionStream
	if !s.acceptedOne {
		waiting = s.takeBacklog()
	}
	s.acceptedOne = false
	if s.drain != drainDone {
		s.finishDrain()
	}
	if s.backlog.n > 0 {
		s.drainTimer.Reset(max(s.closeTimeout, minDrainCheck))
	}
	s.mu.Unlock()
	s.refuseAll(waiting)
}

// minDrainCheck is the least time between two looks at the backlog of a session that drains.
const minDrainCheck = 100 * time.Millisecond

// handleDrain notes that the peer takes no more streams. The echo follows the last SYN of this side.
func (s *Session) handleDrain() {
	s.mu.Lock()
	s.notePeerDraining()
	s.mu.Unlock()
	s.echoDue.Store(true)
	s.echoDrain()
}

// notePeerDraining notes that the peer takes no more streams. The caller holds s.mu.
func (s *Session) notePeerDraining() {
	if s.peerDraining {
		return
	}
	s.peerDraining = true
	s.tracer.peerDraining()
	if s.draining != nil {
		close(s.draining)
	}
	s.opening.broadcast()
}

// echoDrain sends the echo of the peer's drain signal if it is due and all SYNs are sent. It is called when it
// becomes due, and when the last SYN is in a batch.
func (s *Session) echoDrain() {
	if s.unsentSYN.Load() == 0 && s.echoDue.CompareAndSwap(true, false) {
		s.out.sendOwn(ownDrainEcho)
	}
}

// awaitDrained waits while busy returns true, which it calls with s.mu held: first at once, then each time the last stream
// has ended, the drain is done or the session has ended. It reports false if over is closed before that.
func (s *Session) awaitDrained(over <-chan struct{}, busy func() bool) bool {
	s.mu.Lock()
	for busy() {
		if s.drained == nil {
			s.drained = make(chan struct{})
		}
		drained := s.drained
		s.mu.Unlock()
		select {
		case <-drained:
		case <-s.done:
		case <-over:
			return false
		}
		s.mu.Lock()
	}
	s.mu.Unlock()
	return true
}

// wakeShutdown wakes the calls of Shutdown. The caller holds s.mu.
func (s *Session) wakeShutdown() {
	if s.drained != nil {
		close(s.drained)
		s.drained = nil
	}
}

// takeBacklog returns the streams that wait to be accepted, for refuseAll. The caller holds s.mu.
func (s *Session) takeBacklog() []*sessionStream {
	waiting := s.backlog.takeAll()
	if len(waiting) > 0 {
		s.ensureRare().refused += uint64(len(waiting))
	}
	return waiting
}

// refuseAll refuses streams that no application has seen.
func (s *Session) refuseAll(waiting []*sessionStream) {
	for _, st := range waiting {
		s.tracer.streamRefused(st.core.Stream().ID(), RefusedUnaccepted)
		st.core.Refuse()
	}
}
