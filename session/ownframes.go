package session

import (
	"time"

	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// ownFrames are the session's own frames that wait to be sent: NOP, and the answers to streams that are
// refused. The writer's mu guards them.
type ownFrames struct {
	flow     shaper.Flow
	nop      bool          // NOP is due
	refusals []uint32      // streams of the peer that are to be refused; empty if nothing can be sent any more
	leave    chan struct{} // if not nil, closed when the reader may go on
}

const (
	// At maxAnswers that wait to be sent, the reader waits, before the next frame that may need one.
	maxAnswers = 1024
	// answerTimeout is for how long it does so while the transport takes nothing.
	answerTimeout = 30 * time.Second
	// refusalsPerTurn bounds one turn of the session's own frames.
	refusalsPerTurn = 64
)

// drop throws them away: nothing can be sent any more.
func (o *ownFrames) drop() {
	o.refusals = nil
	o.resume()
}

// resume has the reader go on, if it waits.
func (o *ownFrames) resume() {
	if o.leave != nil {
		close(o.leave)
		o.leave = nil
	}
}

// sendNOP sends a NOP.
func (w *writer) sendNOP() {
	w.mu.Lock()
	w.own.nop = true
	w.mu.Unlock()
	w.send(&w.own.flow, shaper.Control, stream.SendNow)
}

// refuse tells the peer that stream id, which it has opened, is closed in both directions: with FIN, twice.
func (w *writer) refuse(id uint32) {
	w.mu.Lock()
	if w.err == nil {
		w.own.refusals = append(w.own.refusals, id)
	}
	w.mu.Unlock()
	w.send(&w.own.flow, shaper.Control, stream.SendSoon)
}

// takeOwn adds the session's own frames to b.
func (w *writer) takeOwn(b *wire.Batch) (more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := &w.own
	v := w.s.version()
	if o.nop {
		o.nop = false
		b.Frame(wire.Header{Version: v, Command: wire.NOP}, nil)
	}
	k := min(len(o.refusals), refusalsPerTurn)
	for _, id := range o.refusals[:k] {
		fin := wire.Header{Version: v, Command: wire.FIN, StreamID: id}
		b.Frame(fin, nil)
		b.Frame(fin, nil)
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

// answersFull reports whether the reader is to wait until answers have left.
func (w *writer) answersFull() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.own.refusals) >= maxAnswers
}

// answersLeave returns a channel that is closed once no more than half of maxAnswers wait, or none can be
// sent any more.
func (w *writer) answersLeave() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	leave := make(chan struct{})
	if w.own.leave = leave; w.err != nil {
		w.own.resume()
	}
	return leave
}

// awaitAnswers waits until answers have left. It reports false if the transport took nothing for answerTimeout:
// two peers that both wait like this would wait for ever.
func (s *Session) awaitAnswers() bool {
	leave := s.out.answersLeave()
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	for {
		select {
		case <-leave:
			return true
		case <-s.done:
			return true
		case <-timer.C:
			waited := s.out.watch.waited()
			if waited >= answerTimeout {
				return false
			}
			timer.Reset(answerTimeout - waited)
		}
	}
}
