package session

import (
	"time"

	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// ownFrames are frames of the session itself that wait to be sent: a NOP, signals (signal.go), and refusals of streams,
// which are its answers to SYNs. The writer's mu guards them.
type ownFrames struct {
	flow     shaper.Flow
	due      ownSet        // frames that are due
	refusals []uint32      // ids of streams to refuse; empty if nothing can be sent any more
	room     chan struct{} // if not nil, closed when the reader may go on
}

const (
	// If maxAnswers wait to be sent, the reader does not handle the next SYN until there is room.
	maxAnswers = 1024
	// answerTimeout is how long the reader waits for room at most while the transport takes nothing.
	answerTimeout = 30 * time.Second
	// refusalSize is the size of the frames that refuse a stream.
	refusalSize = 4 * wire.HeaderSize
	// maxRefusalsPerTurn limits how many streams are refused in one turn.
	maxRefusalsPerTurn = 32
)

// drop throws the refusals away, because nothing can be sent any more.
func (o *ownFrames) drop() {
	o.refusals = nil
	o.resume()
}

// resume lets the reader go on, if it waits for room.
func (o *ownFrames) resume() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// An ownSet is a set of frames of the session's own. Each of them waits at most once: a second one of the kind
// would say nothing more.
type ownSet uint8

const (
	ownNOP ownSet = 1 << iota
	ownDrain
	ownDrainEcho
	ownPing
	ownPingEcho
	ownClose
	ownCloseEcho

	ownEchoes = ownDrainEcho | ownPingEcho | ownCloseEcho
)

// sendOwn sends frames of the session's own. It is called only once the version is known.
func (w *writer) sendOwn(frames ownSet) {
	w.mu.Lock()
	w.own.due |= frames
	w.mu.Unlock()
	u := stream.SendNow
	if frames&ownEchoes != 0 {
		u = stream.SendSoon // it is the reader that calls, and a flood of signals gets fewer echoes
	}
	w.send(&w.own.flow, shaper.Control, u)
}

// appendDue adds the frames that are due to b. The caller holds w.mu.
func (w *writer) appendDue(b *wire.Batch, v wire.Version) {
	due := w.own.due
	w.own.due = 0
	if due&ownNOP != 0 {
		b.Frame(wire.Header{Version: v, Command: wire.NOP}, nil)
	}
	client := w.s.client
	for _, signal := range [...]struct {
		frame ownSet
		id    uint32
	}{
		{ownPing, signalID(pingSignal, client)}, {ownPingEcho, signalID(pingSignal, !client)},
		{ownDrain, signalID(drainSignal, client)}, {ownDrainEcho, signalID(drainSignal, !client)},
		{ownClose, signalID(closeSignal, client)}, {ownCloseEcho, signalID(closeSignal, !client)},
	} {
		if due&signal.frame != 0 {
			b.Frame(wire.Header{Version: v, Command: wire.FIN, StreamID: signal.id}, nil)
		}
	}
	if due&ownPing != 0 {
		w.s.pinger().noteSent(w.s.now())
	}
	w.s.delivery().noteSignals(due)
}

// refuse refuses stream id, which the peer has opened and which is not added to the session (docs/protocol.md,
// "Streams").
func (w *writer) refuse(id uint32) {
	w.mu.Lock()
	if w.err == nil {
		w.own.refusals = append(w.own.refusals, id)
	}
	w.mu.Unlock()
	w.send(&w.own.flow, shaper.Control, stream.SendSoon)
}

// appendOwn adds the session's own frames to b, and reports whether there are more.
func (w *writer) appendOwn(b *wire.Batch) (more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := &w.own
	v := w.s.version()
	if o.due != 0 {
		w.appendDue(b, v)
	}
	// A batch that is not full has room for a refusal, or for the frames that were due.
	k := min(len(o.refusals), maxRefusalsPerTurn, max(0, b.Room()+3*wire.HeaderSize)/refusalSize)
	w.s.delivery().noteGiven(0, k)
	for _, id := range o.refusals[:k] {
		for _, c := range [...]wire.Command{wire.PSH, wire.PSH, wire.FIN, wire.FIN} {
			b.Frame(wire.Header{Version: v, Command: c, StreamID: id}, nil)
		}
	}
	o.refusals = append(o.refusals[:0], o.refusals[k:]...)
	if len(o.refusals) <= maxAnswers/2 {
		o.resume()
	}
	if len(o.refusals) == 0 {
		o.refusals = nil
		return false
	}
	return true
}

// answersFull reports whether the queue of answers has no room.
func (w *writer) answersFull() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.own.refusals) >= maxAnswers
}

// roomForAnswers returns a channel that is closed once the queue of answers is at most half full, or nothing can be
// sent any more. Since the reader found the queue full, the writer may have sent all of it: nothing else would close the
// channel then.
func (w *writer) roomForAnswers() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	room := make(chan struct{})
	if w.own.room = room; w.err != nil || len(w.own.refusals) <= maxAnswers/2 {
		w.own.resume()
	}
	return room
}

// awaitAnswers waits until the queue of answers has room, or the session has ended. It returns false if the transport
// takes nothing for answerTimeout: two sessions that both waited here would wait for each other for ever.
func (s *Session) awaitAnswers() bool {
	room := s.out.roomForAnswers()
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	for {
		select {
		case <-room:
			return true
		case <-s.done:
			return true
		case <-timer.C:
			waited := s.out.watch.stalledFor()
			if waited >= answerTimeout {
				return false
			}
			timer.Reset(answerTimeout - waited)
		}
	}
}
