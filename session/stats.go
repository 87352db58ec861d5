package session

import "sync/atomic"

// Stats are the counters of a session since it began, and how much data it holds now.
type Stats struct {
	BytesSent, BytesReceived uint64 // over the transport, headers included
	FramesReceived           uint64
	StreamsOpened            uint64 // by this side
	StreamsAccepted          uint64 // streams of the peer that were added to the backlog
	StreamsRefused           uint64 // streams of the peer beyond a limit, or after this side stopped accepting
	Unread                   int    // bytes that wait for the application now
	Unsent                   int    // bytes of memory for data of Writes that was not sent yet, see Config.MaxSendBuffer
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
		Unread:          s.budget.Used(),
		Unsent:          s.sendBudget.Used(),
	}
}
