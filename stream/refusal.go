package stream

import (
	"errors"
	"time"
)

// In this file, this side refuses a stream, or learns that the peer has refused it. A refusal is four frames: PSH
// without data, twice, then FIN, FIN (docs/protocol.md, "Streams").

// ErrRefused is returned by Read and Write if the peer has refused the stream. No application has seen the stream, so it
// is safe to send the request again, on a new stream.
var ErrRefused = errors.New("stream: refused by peer")

// A refusal says how much of a refusal by the peer has arrived:
//
//	refusalPossible --PSH--> refusalHalfMarked --PSH--> refusalMarked --FIN--> refusalLikely --FIN--> refused
//
// PSH is one without data. A window update before the first FIN changes nothing. Every other frame, and
// secondFINTimeout in refusalLikely, lead to refusalRuledOut: then the peer's FIN means what it means without the PSHs.
type refusal uint8

const (
	refusalRuledOut   refusal = iota // the peer opened the stream, or has sent what a refusal does not have
	refusalPossible                  // this side opened the stream
	refusalHalfMarked                // one empty PSH has arrived
	refusalMarked                    // two empty PSHs have arrived
	refusalLikely                    // a FIN has arrived after them: Read waits for the second FIN
	refused                          // the second FIN has arrived
)

// secondFINTimeout is how long Read waits for the second FIN of a refusal. The peer sends it right behind the first
// one, so that only the loss of packets can delay it. A peer that is no smuxkit and has written nothing, twice, may
// send none.
const secondFINTimeout = 5 * time.Second

// HandleEmpty handles a PSH of the peer without data.
func (c *Core) HandleEmpty() {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	switch h := &s.recv; h.refusal {
	case refusalPossible:
		h.refusal = refusalHalfMarked
	case refusalHalfMarked:
		h.refusal = refusalMarked
	default:
		s.ruleOutRefusal()
	}
}

// noteFIN notes a FIN of the peer that may belong to a refusal. It reports whether the FIN completes one.
func (s *Stream) noteFIN() bool {
	switch h := &s.recv; h.refusal {
	case refusalMarked:
		h.refusal = refusalLikely
		if s.closed == notClosed {
			s.ensureExtras().secondFIN = time.AfterFunc(secondFINTimeout, s.endSecondFIN)
		}
	case refusalLikely:
		h.refusal = refused
		s.stopSecondFIN()
		return true
	default:
		s.ruleOutRefusal()
	}
	return false
}

// ruleOutRefusal notes that the peer has sent something that no refusal has.
func (s *Stream) ruleOutRefusal() {
	h := &s.recv
	switch h.refusal {
	case refused:
		return
	case refusalLikely:
		s.stopSecondFIN()
		h.readers.wake() // the FIN has ended the data
		if s.shared.NoHalfClose {
			s.send.peer = peerClosed
			s.endWritesIfPeerClosed()
			s.noteDone()
		}
	default:
	}
	h.refusal = refusalRuledOut
}

// endSecondFIN is what the timer calls.
func (s *Stream) endSecondFIN() {
	s.mu.Lock()
	defer s.unlock()
	if s.recv.refusal == refusalLikely && s.session.receives() {
		s.ruleOutRefusal()
	}
}

// stopSecondFIN stops the timer.
func (s *Stream) stopSecondFIN() {
	if s.extras != nil && s.extras.secondFIN != nil {
		s.extras.secondFIN.Stop()
		s.extras.secondFIN = nil
	}
}

// peerClosedErr returns why Write fails after the peer's second FIN.
func (s *Stream) peerClosedErr() error {
	if s.recv.refusal == refused {
		return ErrRefused
	}
	return ErrPeerClosed
}

// Refuse closes a stream that the peer has opened and that no application has seen, and tells the peer so. The opener's
// Read and Write fail with [ErrRefused] if it is a stream of this package.
func (c *Core) Refuse() {
	s := &c.s
	now := s.lock()
	defer s.unlock()
	if s.closed != notClosed {
		return
	}
	s.close(closedByRefusal, now)
	if s.send.state == sendFINDue {
		s.send.state = sendRefusalDue
	}
	if s.due.data == SendLazily {
		s.due.data = SendSoon // the opener may wait for it
	}
}
