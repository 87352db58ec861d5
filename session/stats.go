package session

import "sync/atomic"

// Stats are counts since the session began.
type Stats struct {
	BytesSent, BytesReceived uint64 // over the transport, headers included
	FramesReceived           uint64
	StreamsOpened            uint64 // by this side
	StreamsAccepted          uint64 // those of the peer that were put in the backlog
	StreamsRefused           uint64 // those that exceeded a limit, or came after Shutdown
	Unread                   int    // bytes that are held for the application now
	Unsent                   int    // bytes of buffers that hold data of Writes now, see Config.MaxSendBuffer
}

type counters struct {
	bytesSent, bytesReceived, framesReceived       atomic.Uint64
	streamsOpened, streamsAccepted, streamsRefused atomic.Uint64
}

// Stats returns what the session has done so far. The counts are taken one after the other
// and not at one instant.
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
