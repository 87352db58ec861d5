package session

import (
	"math"

	"github.com/smuxkit/smuxkit/wire"
)

// Two sessions of this package tell each other what the protocol has no frames for with signals: a FIN of a
// stream that nobody ever opens. Every other implementation drops such a frame (docs/protocol.md, "Signals").
//
// The sender's own id makes the frame a signal, the receiver's makes it the echo that answers one. An
// echo is a barrier: the side that sends it has read everything before the signal, and the side that
// receives it has received everything that was sent before the echo.

const (
	// lastStreamID is the highest id of a stream: the last eight ids of each side are reserved for signals.
	lastStreamID = math.MaxUint32 - 16
	// The signals. The id of a signal is the sender's last id minus this number.
	drainSignal = 0 // the sender is draining: open no more streams
	pingSignal  = 2 // the receiver is to echo it
	closeSignal = 4 // the sender has closed the session: it reads no more, and all of its data came before
)

// signalID returns the id of a signal that the client sends, or the server.
func signalID(signal uint32, client bool) uint32 {
	if client {
		return math.MaxUint32 - signal
	}
	return math.MaxUint32 - 1 - signal
}

// handleSignal acts on a FIN of a stream that is not open, if it is a signal. A session that is closing drops signals:
// echoes would hold up Close, which waits until the peer's host has acknowledged everything. If the transport cannot tell
// that, Close does not wait for it, and pings are answered: the peer's Flush waits for the echo. If Close waits for an echo
// itself, the peer may wait for any of them, too, and gets it.
func (s *Session) handleSignal(h wire.Header) {
	s.keepalive.overhead.Add(1)
	d := s.delivery()
	if d == nil && s.closing() {
		if t, ok := s.transport.(*portable); ok && t.below == nil && h.StreamID == signalID(pingSignal, !s.client) {
			s.out.sendOwn(ownPingEcho)
		}
		return
	}
	switch h.StreamID {
	case signalID(pingSignal, !s.client):
		s.out.sendOwn(ownPingEcho)
	case signalID(pingSignal, s.client):
		d.notePingEcho()
		s.handlePingEcho()
	case signalID(drainSignal, !s.client):
		s.handleDrain()
	case signalID(drainSignal, s.client):
		s.handleDrainEcho()
	case signalID(closeSignal, !s.client):
		s.handlePeerClose()
	case signalID(closeSignal, s.client):
		d.noteCloseEcho()
	default:
		return
	}
	d.noteSignal()
}

// closing reports whether the session is closing or has ended.
func (s *Session) closing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase >= phaseClosing
}
