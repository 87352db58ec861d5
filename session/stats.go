package session

import (
	"cmp"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// Stats are the counters of a session since it began, and what it holds now.
type Stats struct {
	// Version is the version of the protocol, 1 or 2. It is 0 while a server with Config.Version 0 has received no frame.
	Version int

	BytesSent, BytesReceived   uint64 // over the transport, headers included
	FramesSent, FramesReceived uint64 // of all kinds, also for streams that are not open

	StreamsOpened        uint64 // by this side
	StreamsAccepted      uint64 // streams of the peer that were added to the backlog
	StreamsRefused       uint64 // streams of the peer beyond a limit, or that this side did not accept any more
	StreamsRefusedByPeer uint64 // streams of this side that the peer has refused, closed ones included, see [stream.ErrRefused]

	// StreamsOpen is the number of open streams, as [Session.NumStreams] returns it, and StreamsClosed how the others
	// have ended: StreamsOpened + StreamsAccepted = StreamsOpen + StreamsClosed.Total().
	StreamsOpen   int
	StreamsClosed ClosedStreams

	Unread int // bytes that wait for the application now
	Unsent int // bytes of memory for data of Writes that was not sent yet, see Config.MaxSendBuffer
	// ReceiveWindows is the sum of the windows of all open streams: how much the peer may send before the application
	// reads. It is 0 in version 1. The windows that the peer has granted are in the Stats of streams.
	ReceiveWindows int

	// BlockedOnWindow, BlockedOnTransport and BlockedOnRate are how long calls of Write have waited, summed over all
	// streams, as in [stream.Stats]. BlockedOnBuffer is how long the session did not read the transport because its
	// receive buffer was full. Waits that go on are included.
	BlockedOnWindow, BlockedOnTransport, BlockedOnRate, BlockedOnBuffer time.Duration

	// RTT is the round-trip time that the last [Session.Ping] measured. If there was none, it is the least that
	// the windows of version 2 have measured for open streams, of 64 of them at most. 0 means unknown.
	RTT time.Duration
}

// ClosedStreams counts the streams of a session that have ended, by the reason.
type ClosedStreams struct {
	// Complete: the streams ended in order. Everything that was written to them was handed to the transport.
	Complete uint64
	// Refused: this side has refused them while they waited to be accepted. Streams that were refused at once were
	// never open: StreamsRefused of [Stats] counts them as well.
	Refused uint64
	// RefusedByPeer: the peer has refused them before this side had closed them.
	RefusedByPeer uint64
	// Stalled: Config.StallTimeout has aborted them.
	Stalled uint64
	// Overrun: the peer has sent too far beyond their windows, see [flow.ErrWindow].
	Overrun uint64
	// Idle: Config.StreamIdleTimeout or Stream.SetIdleTimeout has closed them.
	Idle uint64
	// Dropped: written data was thrown away, because the peer had closed them, or after Config.LingerTimeout.
	Dropped uint64
	// SessionEnded: they were open when the session ended, or lost written data because it could not be sent any more.
	SessionEnded uint64
}

// Total returns the sum of all counters.
func (c ClosedStreams) Total() uint64 {
	return c.Complete + c.Refused + c.RefusedByPeer + c.Stalled + c.Overrun + c.Idle + c.Dropped + c.SessionEnded
}

// counters are the counters of Stats.
type counters struct {
	bytesSent, bytesReceived, framesSent, framesReceived atomic.Uint64
	streamsOpened, streamsAccepted                       atomic.Uint64 // changed under Session.mu
}

// rareState is what most sessions do not need. Session.mu guards it.
type rareState struct {
	place *place // if not nil, the session belongs to a Listener

	// Counters.
	refused     uint64        // streams of the peer
	closed      ClosedStreams // Complete is not set: it follows from the others
	bufferWait  time.Duration // how long the reader has waited for the receive buffer
	bufferSince time.Duration // when it began to wait; 0: it does not
}

// Stats returns the counters. It reads them one after the other, and not at one instant, but those of open and closed
// streams fit together.
func (s *Session) Stats() Stats {
	c := &s.stats
	x := Stats{
		Version:        int(s.version()),
		BytesSent:      c.bytesSent.Load(),
		BytesReceived:  c.bytesReceived.Load(),
		FramesSent:     c.framesSent.Load(),
		FramesReceived: c.framesReceived.Load(),

		StreamsRefusedByPeer: s.in.refusals.Load().total(),

		Unread: s.budget.Used(),
		Unsent: s.sendBudget.Used(),
		RTT:    s.rtt(),
	}
	if x.Version == int(wire.V2) {
		x.ReceiveWindows = s.budget.Committed()
	}
	x.BlockedOnWindow, x.BlockedOnTransport, x.BlockedOnRate = s.shared.Blocked()
	s.addStreamStats(&x)
	return x
}

// addStreamStats adds what Session.mu guards.
func (s *Session) addStreamStats(x *Stats) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	x.StreamsOpened, x.StreamsAccepted = s.stats.streamsOpened.Load(), s.stats.streamsAccepted.Load()
	x.StreamsOpen = len(s.streams)
	if r := s.rare; r != nil {
		x.StreamsRefused, x.StreamsClosed = r.refused, r.closed
		x.BlockedOnBuffer = r.bufferWait
		if r.bufferSince > 0 {
			x.BlockedOnBuffer += max(0, now-r.bufferSince)
		}
	}
	x.StreamsClosed.Complete = x.StreamsOpened + x.StreamsAccepted - uint64(x.StreamsOpen) - x.StreamsClosed.Total()
}

// ensureRare returns the rare state. The caller holds s.mu.
func (s *Session) ensureRare() *rareState {
	if s.rare == nil {
		s.rare = new(rareState)
	}
	return s.rare
}

// countClosed counts a stream that has ended. The caller holds s.mu.
func (s *Session) countClosed(o stream.Outcome) {
	if o == stream.OutcomeComplete {
		return
	}
	c := &s.ensureRare().closed
	switch o {
	case stream.OutcomeRefused:
		c.Refused++
	case stream.OutcomeRefusedByPeer:
		c.RefusedByPeer++
	case stream.OutcomeStalled:
		c.Stalled++
	case stream.OutcomeOverrun:
		c.Overrun++
	case stream.OutcomeIdle:
		c.Idle++
	case stream.OutcomeDropped:
		c.Dropped++
	case stream.OutcomeSessionEnded:
		c.SessionEnded++
	case stream.OutcomeComplete:
	}
}

// pauseForBuffer notes that the reader waits for the receive buffer, and resumeFromBuffer that it goes on.
func (s *Session) pauseForBuffer() {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ensureRare().bufferSince = max(1, now)
}

func (s *Session) resumeFromBuffer() {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rare
	r.bufferWait += now - r.bufferSince
	r.bufferSince = 0
}

// rtt returns the round-trip time for Stats.
func (s *Session) rtt() (least time.Duration) {
	if rtt := s.ping.Load().lastRTT(); rtt > 0 {
		return rtt
	}
	if s.version() != wire.V2 {
		return 0
	}
	for _, st := range s.someStreams(64) {
		if rtt := st.core.RTT(); rtt > 0 && (least == 0 || rtt < least) {
			least = rtt
		}
	}
	return least
}

// someStreams returns at most n of the open streams.
func (s *Session) someStreams(n int) (some []*sessionStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		if len(some) == n {
			break
		}
		some = append(some, st)
	}
	return some
}

// Streams returns the streams that were open when it was called, in the order of their ids. Those that wait for
// AcceptStream are among them. A stream may end while the result is iterated over. No lock is held meanwhile.
func (s *Session) Streams() iter.Seq[*stream.Stream] {
	open := s.snapshot()
	slices.SortFunc(open, func(a, b *sessionStream) int {
		return cmp.Compare(a.core.Stream().ID(), b.core.Stream().ID())
	})
	return func(yield func(*stream.Stream) bool) {
		for _, st := range open {
			if !yield(st.core.Stream()) {
				return
			}
		}
	}
}
