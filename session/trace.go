package session

import (
	"fmt"
	"time"

	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A Trace is a set of functions that a session calls when something happens, see [Config].Trace. Each of them may be
// nil. [LogTrace] returns a Trace that logs.
//
// The functions of one session are called one at a time, in the order of the events. They get the session, so sessions
// can share a Trace; those of different sessions are called at the same time.
//
// A function may call anything on the session and its streams, Close included: no lock is held. Most calls come from a
// goroutine that runs while there are events. Others come from the call that caused the event, such as OpenStream or
// Close, before it returns. A function that panics there can be recovered from by the caller; a stream that the call would
// have returned is closed. A function may also end its goroutine (runtime.Goexit), as FailNow of a test does: the other
// functions are called nevertheless. In a call of the application's, that is the goroutine of the caller.
//
// A function should return soon, and not wait for the peer. While it runs, the session goes on, and further events wait.
// If 1,024 of them wait, the session neither reads nor sends until half of them have been dealt with, or until Close or
// CloseNow is called.
type Trace struct {
	// SessionBegin is called once, by [Client] or [Server] before it returns.
	SessionBegin func(s *Session)

	// SessionEnd is called once, when the session has ended and its transport is closed. reason is [Session.Err]. No
	// event of the session follows.
	SessionEnd func(s *Session, reason error)

	// StreamOpened is called when this side has opened a stream.
	StreamOpened func(s *Session, st *stream.Stream)

	// StreamAccepted is called when AcceptStream or Accept is about to return a stream of the peer.
	StreamAccepted func(s *Session, st *stream.Stream)

	// StreamRefused is called for each stream that this side refuses, and for each stream of this side that the peer
	// has refused, closed ones included.
	StreamRefused func(s *Session, r Refusal)

	// StreamClosed is called once for each stream that StreamOpened was called for, and for each stream of the peer that
	// was not refused at once. It is called when the stream has ended for the session: this side has closed it and
	// sent its data, or both directions have ended and all data was read. The streams that are open at the end of the
	// session are closed by that.
	StreamClosed func(s *Session, c StreamEnd)

	// StreamStalled is called for each stream that Config.StallTimeout aborts. unread is how many unread bytes are
	// thrown away.
	StreamStalled func(s *Session, st *stream.Stream, unread int)

	// DataDropped is called when the session has thrown away the data of closed streams because the transport has
	// taken no byte for Config.LingerTimeout. streams is their number.
	DataDropped func(s *Session, streams int)

	// ReadPaused is called when the session stops reading the transport, and ReadResumed when it goes on.
	ReadPaused  func(s *Session, why Pause)
	ReadResumed func(s *Session, why Pause, after time.Duration)

	// KeepAliveProbe is called when the keep-alive policy probes the peer, from which nothing was received for the
	// time silent. KeepAliveGiveUp is called when the policy gives the peer up: the session ends.
	KeepAliveProbe  func(s *Session, silent time.Duration)
	KeepAliveGiveUp func(s *Session, silent time.Duration)

	// DrainBegin is called when this side begins to take no more streams ([Session.Shutdown], or Close of a
	// [Session.Listener]), and PeerDraining when the peer has said so (see [Session.Draining]).
	DrainBegin   func(s *Session)
	PeerDraining func(s *Session)

	// Frame is called with the header of each frame: of those sent, when they are handed to the transport; of those
	// received, when they are handled. It costs more than all other functions together.
	Frame func(s *Session, d Direction, h wire.Header)
}

// A Refusal describes a stream that was refused.
type Refusal struct {
	StreamID uint32
	Cause    RefusalCause
}

// A RefusalCause says who has refused a stream, and why.
type RefusalCause uint8

const (
	// RefusedByPeer: the peer has refused a stream of this side, see [stream.ErrRefused].
	RefusedByPeer RefusalCause = iota + 1
	// RefusedAtLimit: Config.MaxStreams or Config.AcceptBacklog was reached.
	RefusedAtLimit
	// RefusedDraining: the stream came after a drain.
	RefusedDraining
	// RefusedUnaccepted: the stream waited to be accepted when the session was closed, or a drain was over.
	RefusedUnaccepted

	lastRefusalCause = RefusedUnaccepted
)

// String returns the cause in words.
func (c RefusalCause) String() string {
	switch c {
	case RefusedByPeer:
		return "refused by the peer"
	case RefusedAtLimit:
		return "too many streams"
	case RefusedDraining:
		return "draining"
	case RefusedUnaccepted:
		return "not accepted"
	}
	return fmt.Sprintf("RefusalCause(%d)", uint8(c))
}

// A StreamEnd describes a stream that has ended.
type StreamEnd struct {
	Stream *stream.Stream
	// Duration is the time since the stream was opened, or since the peer's SYN was handled.
	Duration time.Duration
	// BytesSent and BytesReceived are how much data the stream has carried, see [stream.Stats].
	BytesSent, BytesReceived uint64
	// Reason is nil if the stream ended in order: everything that was written to it was handed to the transport.
	// Otherwise it is [stream.ErrRefused], [stream.ErrStalled], [stream.ErrIdleTimeout] or [flow.ErrWindow];
	// [stream.ErrPeerClosed] or the error of the transport, if written data was thrown away; or the reason for the
	// session's end.
	Reason error
	// Refused says that this side has refused the stream. Reason is nil then.
	Refused bool
}

// A Pause is a reason for which a session does not read its transport.
type Pause uint8

const (
	// PauseBuffer: the receive buffer is full, until the application reads. See Config.MaxReceiveBuffer.
	PauseBuffer Pause = iota + 1
	// PauseRefusals: 1,024 refusals of streams wait to be sent.
	PauseRefusals
)

// String returns the reason in words.
func (p Pause) String() string {
	switch p {
	case PauseBuffer:
		return "the receive buffer is full"
	case PauseRefusals:
		return "refusals wait to be sent"
	}
	return fmt.Sprintf("Pause(%d)", uint8(p))
}

// A Direction says which way a frame goes.
type Direction uint8

const (
	// Sent: from this side to the peer.
	Sent Direction = iota + 1
	// Received: from the peer to this side.
	Received
)

// String returns "sent" or "received".
func (d Direction) String() string {
	switch d {
	case Sent:
		return "sent"
	case Received:
		return "received"
	}
	return fmt.Sprintf("Direction(%d)", uint8(d))
}
