package session

import (
	"time"

	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A sessionStream is a stream of a session: its core, and its place in the writer's lines. It
// is the stream's way to the session.
type sessionStream struct {
	s       *Session
	flow    shaper.Flow
	core    stream.Core
	traffic streamTraffic
}

var _ stream.Notifier = (*sessionStream)(nil)

func (st *sessionStream) SendControl(u stream.Urgency) { st.s.out.send(&st.flow, shaper.Control, u) }
func (st *sessionStream) SendData(u stream.Urgency)    { st.s.out.send(&st.flow, shaper.Data, u) }
func (st *sessionStream) Flush()                       { st.s.out.flush() }
func (st *sessionStream) SetWeight(weight int)         { st.s.out.setWeight(&st.flow, weight) }
func (st *sessionStream) Now() time.Duration           { return st.s.now() }

// take adds to b what the stream has to send in class c, and reports whether there is more. It is
// called by the holder of the writer role.
func (st *sessionStream) take(b *wire.Batch, c shaper.Class, n int) (more bool) {
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

// Opened lets a call of OpenStream go on.
func (st *sessionStream) Opened() {
	if st.s.unsentSYN.Add(-1) == maxUnsentSYN-1 {
		st.s.mu.Lock()
		defer st.s.mu.Unlock()
		st.s.opening.Broadcast()
	}
}

// Finished takes the stream off the session.
func (st *sessionStream) Finished() {
	s := st.s
	id := st.core.Stream().ID()
	s.mu.Lock()
	if s.streams[id] == st {
		delete(s.streams, id)
		if !s.isLocal(id) {
			s.peerStreams--
		}
		if len(s.streams) == 0 && s.drained != nil {
			close(s.drained)
			s.drained = nil
		}
	}
	s.mu.Unlock()
}

// newStream adds a stream. The caller holds s.mu, and calls the Core's Start without it.
func (s *Session) newStream(id uint32, opens bool) *sessionStream {
	st := &sessionStream{s: s}
	st.flow.Owner = st
	st.core.Init(&s.shared, st, id, opens)
	s.streams[id] = st
	return st
}

// stream returns the open stream id, or nil.
func (s *Session) stream(id uint32) *sessionStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

// isLocal reports whether id is for this side to open.
func (s *Session) isLocal(id uint32) bool { return id%2 == 1 == s.client }

// keeps reports whether data of stream id is kept for a reader.
func (s *Session) keeps(id uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id] != nil && s.phase < phaseClosing
}
