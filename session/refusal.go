package session

import (
	"sync/atomic"

	"github.com/smuxkit/smuxkit/wire"
)

// peerRefusals counts the streams that the peer has refused. An open stream knows by itself whether it is refused. For
// one that is closed already, the reader matches the frames: those of a refusal follow each other (docs/protocol.md,
// "Streams").
type peerRefusals struct {
	count atomic.Uint64

	// The fields below belong to the reader.
	id    uint32 // of the stream of the last empty PSH
	state refusalMatch
	last  uint64 // the number of the last frame that matched, among those received
}

// A refusalMatch says which frames of a refusal have arrived in a row.
type refusalMatch uint8

const (
	matchNone refusalMatch = iota
	matchPSH
	matchPSHTwice
	matchFIN
	matchAll
)

// total returns how many streams were refused.
func (p *peerRefusals) total() uint64 {
	if p == nil {
		return 0
	}
	return p.count.Load()
}

// match matches the frame with header h, which is the frame number n. It reports whether it completes a refusal.
func (p *peerRefusals) match(h wire.Header, n uint64) (complete bool) {
	follows := h.StreamID == p.id && n == p.last+1
	switch {
	case h.Command == wire.PSH && !follows:
		p.id, p.state = h.StreamID, matchPSH
	case h.Command == wire.PSH && p.state == matchPSH:
		p.state = matchPSHTwice
	case h.Command == wire.FIN && follows && p.state == matchPSHTwice:
		p.state = matchFIN
	case h.Command == wire.FIN && follows && p.state == matchFIN:
		p.state = matchAll
	default:
		p.state = matchNone
	}
	p.last = n
	return p.state == matchAll
}

// handleEmpty handles a PSH without data.
func (r *reader) handleEmpty(h wire.Header) {
	s := r.s
	if !s.isLocal(h.StreamID) {
		return
	}
	p := r.refusals.Load()
	if p == nil {
		p = new(peerRefusals)
		r.refusals.Store(p)
	}
	p.match(h, s.stats.framesReceived.Load())
	if st := r.stream(h.StreamID); st != nil {
		st.core.HandleEmpty()
	}
}

// handleFIN handles a FIN, which may be a signal.
func (r *reader) handleFIN(h wire.Header) {
	s := r.s
	refused := false
	p := r.refusals.Load()
	if p != nil {
		refused = p.match(h, s.stats.framesReceived.Load())
	}
	if st := r.stream(h.StreamID); st != nil {
		r.st = st
		refused = st.core.HandleFIN()
	} else if h.StreamID > lastStreamID {
		s.handleSignal(h)
		return
	} else {
		s.delivery().noteFIN(h.StreamID)
	}
	// A hostile peer can refuse a closed stream again and again.
	if refused && p.count.Load() < s.stats.streamsOpened.Load() {
		p.count.Add(1)
		s.tracer.streamRefused(h.StreamID, RefusedByPeer)
	}
}
