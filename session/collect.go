package session

import (
	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/wire"
)

// In this file, the holder of the writer role fills a batch.

// A turn is a stream's turn to send: what the scheduler allows, and how the stream used it.
type turn struct {
	f    *shaper.Flow
	n    int32 // how many bytes the scheduler allows, or BatchSize if that is less
	sent int32 // how many bytes the stream has added to the batch
	c    shaper.Class
	more bool // the stream has more to send
}

// A turnGroup has turns that are in progress at the same time, so that w.mu is taken once for all of them: turns of
// control frames, and at most one other turn behind them.
type turnGroup struct {
	turns [maxGroup]turn
	n     int
}

// maxGroup is the most turns in a group. A batch of BatchSize that is not full has room for the control frames of as many
// streams. A shaper.Fair counts a turn in progress as 1 KiB, and lets 16 KiB of control go before data that waits: with
// a group of turns in progress, that is 8 KiB at least.
const maxGroup = 8

// collect fills o.batch from the scheduler's queue. If the queue is empty, it gives the role up and returns false.
func (w *writer) collect(o *outgoing) bool {
	var g turnGroup
	for {
		switch w.nextStep(&g, o) {
		case stepTurns:
			for i := range g.turns[:g.n] {
				w.appendTurn(&g.turns[i], o)
			}
		case stepWrite:
			return true
		case stepFree:
			return false
		}
	}
}

// A step is what collect does next.
type step uint8

const (
	stepTurns step = iota // add the frames of a group of turns
	stepWrite             // write the batch
	stepFree              // do nothing: the role is free
)

// nextStep tells the scheduler how the turns of g were used, and then makes g the next turns, if there are some.
func (w *writer) nextStep(g *turnGroup, o *outgoing) step {
	b := o.batch
	w.mu.Lock()
	defer w.mu.Unlock()
	if g.n == 0 {
		w.settleHandover()          // a new batch begins: those before it were written
		w.s.shared.SetSending(true) // again: before the first bulk data it is not noted
	}
	for ; g.n > 0; g.n-- {
		w.endTurn(&g.turns[g.n-1], b) // the last one first, as if they were nested: see shaper.Fair
	}
	if w.err == nil && !o.isFull() {
		w.popTurns(g, o)
	}
	switch {
	case g.n > 0:
		return stepTurns
	case w.err == nil && b.Len() > 0:
		return stepWrite
	}
	w.lost = w.lost || b.Len() > 0 // writing has failed or was stopped: the frames in b are not sent
	w.free()
	return stepFree
}

// endTurn tells the scheduler how a turn was used. The caller holds w.mu.
func (w *writer) endTurn(t *turn, b *wire.Batch) {
	if t.sent == 0 && t.more && b.Full() {
		w.heldTurn = *t // the batch had no room for it: it begins the next one. It is the last of its group
	} else {
		w.sched.EndTurn(t.f, t.c, int(t.sent), t.more)
	}
}

// isFull reports whether o.batch has to be written before more is added.
func (o *outgoing) isFull() bool {
	b := o.batch
	return b.Full() || o.throttle != nil && b.Len() > 0 && o.allowed() <= 0
}

// allowed returns how much more payload the rate allows in o.batch. It is called only if there is a throttle.
func (o *outgoing) allowed() int { return o.throttle.piece - o.batch.Len() - wire.HeaderSize }

// popTurns adds the next turns to g, which is empty. The caller holds w.mu.
func (w *writer) popTurns(g *turnGroup, o *outgoing) {
	limit := maxGroup
	if w.maxWrite != 0 || o.throttle != nil {
		limit = 1 // the batch may be smaller
	}
	for first := o.batch.Len() == 0; g.n < limit; first = false {
		t := &g.turns[g.n]
		if !w.popTurn(t, first) {
			return
		}
		g.n++
		if t.c != shaper.Control || t.f == &w.own.flow {
			return // it may fill the batch
		}
	}
}

// popTurn makes t the next turn. It reports false if there is none, or if the batch has to be written first. first says
// that no turn of the batch has begun yet. The caller holds w.mu.
func (w *writer) popTurn(t *turn, first bool) bool {
	if w.heldTurn.f != nil {
		*t, w.heldTurn = w.heldTurn, turn{}
		return true
	}
	if !first && w.sched.FlushDue() {
		return false
	}
	f, c, n := w.sched.Pop()
	*t = turn{f: f, c: c, n: int32(min(n, wire.BatchSize))}
	return f != nil
}

// appendTurn adds the frames of turn t to o.batch, and notes in t how many bytes they have.
func (w *writer) appendTurn(t *turn, o *outgoing) {
	b := o.batch
	n, before := int(t.n), b.Len()
	if o.throttle != nil {
		n = min(n, max(1, o.allowed()))
	}
	st, ok := t.f.Owner.(*sessionStream)
	if !ok {
		t.more = w.appendOwn(b)
		t.sent = int32(b.Len() - before)
		return
	}
	t.more = st.appendFrames(b, t.c, n)
	t.sent = int32(b.Len() - before)
	if t.sent > 0 && (t.c == shaper.Data || !st.core.IsOpened()) {
		o.streams = append(o.streams, st)
	}
	if w.s.shared.WriteThrough && t.sent > 0 && t.c == shaper.Data {
		o.given = append(o.given, st)
	}
	if !w.inline {
		w.s.delivery().noteGiven(st.core.Stream().ID(), int(t.sent))
	}
}
