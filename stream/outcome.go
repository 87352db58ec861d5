package stream

import "github.com/smuxkit/smuxkit/flow"

// An Outcome says how a stream has ended, for its session. See [Core.Outcome].
type Outcome uint8

const (
	// OutcomeComplete: everything that Write has accepted was handed to the session.
	OutcomeComplete Outcome = iota
	// OutcomeRefused: this side has refused the stream, by [Core.Refuse].
	OutcomeRefused
	// OutcomeRefusedByPeer: the peer has refused the stream.
	OutcomeRefusedByPeer
	// OutcomeStalled: [Core.FailStalled] has closed the stream.
	OutcomeStalled
	// OutcomeOverrun: the peer has sent too far beyond the stream's window.
	OutcomeOverrun
	// OutcomeIdle: [Core.CloseIdle] has closed the stream.
	OutcomeIdle
	// OutcomeDropped: data that Write had accepted was thrown away, because the peer had closed the stream, or because
	// the data had waited for [Shared].Linger.
	OutcomeDropped
	// OutcomeSessionEnded: the session has ended before the stream; or it could not send any more, and data that Write
	// had accepted was thrown away.
	OutcomeSessionEnded
)

// Outcome returns how the stream has ended. It is valid in [Notifier].Finished, and after Abort with AbortBoth.
func (c *Core) Outcome() Outcome { return c.s.outcome }

// OutcomeErr returns the error that says the same as Outcome: nil for OutcomeComplete and OutcomeRefused, and that of the
// first Abort for OutcomeSessionEnded.
func (c *Core) OutcomeErr() error {
	s := &c.s
	switch s.outcome {
	case OutcomeRefusedByPeer:
		return ErrRefused
	case OutcomeStalled:
		return ErrStalled
	case OutcomeOverrun:
		return flow.ErrWindow
	case OutcomeIdle:
		return ErrIdleTimeout
	case OutcomeDropped:
		return ErrPeerClosed
	case OutcomeSessionEnded:
		return *s.shared.err.Load()
	case OutcomeComplete, OutcomeRefused:
	}
	return nil
}

// currentOutcome returns the outcome of a stream that is finished. The caller holds s.mu.
func (s *Stream) currentOutcome() Outcome {
	switch {
	case s.closed == closedByRefusal:
		return OutcomeRefused
	case s.recv.refusal == refused:
		return OutcomeRefusedByPeer
	case s.closed == closedByStall:
		return OutcomeStalled
	case s.closed == closedByOverrun:
		return OutcomeOverrun
	case s.closed == closedByIdle:
		return OutcomeIdle
	case s.send.lost && !s.session.sends():
		return OutcomeSessionEnded
	case s.send.lost:
		return OutcomeDropped
	}
	return OutcomeComplete
}
