package session

import (
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A sessionStream is a stream of a session, with what the session's parts need to know of it. It is the stream's
// Notifier: through it the stream tells the session what it needs.
type sessionStream struct {
	s       *Session
	flow    shaper.Flow // for the scheduler
	core    stream.Core
	traffic streamTraffic // for latency
	removed atomic.Bool   // the session does not know the stream any more
	// nextWaiting is the stream behind this one in the session's backlog. The session's mu guards it.
	nextWaiting *sessionStream
}

var _ stream.Notifier = (*sessionStream)(nil)

func (st *sessionStream) SendControl(u stream.Urgency) { st.s.out.send(&st.flow, shaper.Control, u) }
func (st *sessionStream) SendData(u stream.Urgency)    { st.s.out.send(&st.flow, shaper.Data, u) }
func (st *sessionStream) Flush()                       { st.s.out.flush() }
func (st *sessionStream) SetWeight(weight int)         { st.s.out.setWeight(&st.flow, weight) }
func (st *sessionStream) Now() time.Duration           { return st.s.now() }

// appendFrames adds the stream's frames of class c to b, with about n bytes of data at most, and reports whether there
// are more. The holder of the writer role calls it.
func (st *sessionStream) appendFrames(b *wire.Batch, c shaper.Class, n int) (more bool) {
	if c == shaper.Control {
		st.core.AppendControl(b)
		return false
	}
	before := b.Len()
	more = st.core.AppendData(b, n)
	if b.Len() > before {
		st.s.latency.onSent(&st.traffic)
	}
	return more
}

// Opened notes that the stream's SYN is in a batch. It wakes the calls of OpenStream that wait because too many SYNs were
// not. If no SYN is left, it sends the echo of the peer's drain signal, if one is due.
func (st *sessionStream) Opened() {
	switch st.s.unsentSYN.Add(-1) {
	case maxUnsentSYN - 1:
		st.s.mu.Lock()
		defer st.s.mu.Unlock()
		st.s.opening.broadcast()
	case 0:
		if st.s.echoDue.Load() {
			st.s.echoDrain()
		}
	}
}

// Finished removes the stream from the session.
func (st *sessionStream) Finished() {
	s := st.s
	s.mu.Lock()
	if !st.removed.Load() {
		id := st.core.Stream().ID()
		s.countClosed(st.core.Outcome())
		s.tracer.pushClosed(st)
		delete(s.streams, id)
		st.removed.Store(true)
		if !s.isLocal(id) {
			s.peerStreams--
		}
		if len(s.streams) == 0 {
			s.wakeShutdown()
		}
	}
	s.mu.Unlock()
	s.tracer.kick()
}

// newStream adds a stream to the session. opens says that this side opens it. The caller holds s.mu. If start is true, the
// caller calls Start of the stream's core after it has released s.mu.
func (s *Session) newStream(id uint32, opens bool) (st *sessionStream, start bool) {
	st = &sessionStream{s: s}
	st.flow.Owner = st
	start = st.core.Init(&s.shared, st, id, opens)
	s.streams[id] = st
	s.tracer.streamBegins(st)
	s.noteStream()
	return st, start
}

// stream returns the open stream with the given id, or nil.
func (s *Session) stream(id uint32) *sessionStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

// isLocal reports whether the stream id is one that this side opens.
func (s *Session) isLocal(id uint32) bool { return id%2 == 1 == s.client }

// acceptsData reports whether the session keeps data for the stream until the application reads it.
func (s *Session) acceptsData(id uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id] != nil && s.phase < phaseClosing
}
