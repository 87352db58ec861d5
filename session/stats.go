package session

import (
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// Stats are the counters of a session since it began, and how much data it holds now.
type Stats struct {
	BytesSent, BytesReceived uint64 // over the transport, headers included
	FramesReceived           uint64 // of all kinds, also for streams that are not open
	StreamsOpened            uint64 // by this side
	StreamsAccepted          uint64 // streams of the peer that were added to the backlog
	StreamsRefused           uint64 // streams of the peer beyond a limit, or that this side did not accept any more
	StreamsRefusedByPeer     uint64 // streams of this side that the peer has refused, closed ones included, see [stream.ErrRefused]
	Unread                   int    // bytes that wait for the application now
	Unsent                   int    // bytes of memory for data of Writes that was not sent yet, see Config.MaxSendBuffer
	// RTT is the round-trip time that the last [Session.Ping] measured. If there was none, it is the least that
	// the windows of version 2 have measured for open streams, of 64 of them at most. 0 means unknown.
	RTT time.Duration
}

// counters are the counters of Stats.
type counters struct {
	bytesSent, bytesReceived, framesReceived       atomic.Uint64
	streamsOpened, streamsAccepted, streamsRefused atomic.Uint64
}

// Stats returns the counters. It reads them one after the other, and not at one instant.
func (s *Session) Stats() Stats {
	c := &s.stats
	return Stats{
		BytesSent:       c.bytesSent.Load(),
		BytesReceived:   c.bytesReceived.Load(),
		FramesReceived:  c.framesReceived.Load(),
		StreamsOpened:   c.streamsOpened.Load(),
		StreamsAccepted: c.streamsAccepted.Load(),
		StreamsRefused:  c.streamsRefused.Load(),

		StreamsRefusedByPeer: s.in.refusals.Load().total(),

		Unread: s.budget.Used(),
		Unsent: s.sendBudget.Used(),
		RTT:    s.rtt(),
	}
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
