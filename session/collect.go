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

// collect fills o.batch from the scheduler's queue. If the queue is empty, it gives the role up and returns false.
func (w *writer) collect(o *outgoing) bool {
	var t turn
	for {
		switch w.nextStep(&t, o) {
		case stepTurn:
			w.appendTurn(&t, o)
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
	stepTurn  step = iota // add the frames of one turn
	stepWrite             // write the batch
	stepFree              // do nothing: the role is free
)

// nextStep tells the scheduler how the stream used t, if t is a turn, and then makes t the next turn, if there is one.
func (w *writer) nextStep(t *turn, o *outgoing) step {
	b := o.batch
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case t.f == nil:
		w.settleHandover() // a new batch begins: those before it were written
	case t.sent == 0 && t.more && b.Full():
		w.heldTurn = *t // the batch had no room for it: it begins the next one
	default:
		w.sched.EndTurn(t.f, t.c, int(t.sent), t.more)
	}
	if w.err == nil && !o.isFull() && w.popTurn(t, b) {
		return stepTurn
	}
	if w.err == nil && b.Len() > 0 {
		return stepWrite
	}
	w.lost = w.lost || b.Len() > 0 // writing has failed or was stopped: the frames in b are not sent
	w.free()
	return stepFree
}

// isFull reports whether o.batch has to be written before more is added.
func (o *outgoing) isFull() bool {
	b := o.batch
	return b.Full() || o.throttle != nil && b.Len() > 0 && o.allowed() <= 0
}

// allowed returns how much more payload the rate allows in o.batch. It is called only if there is a throttle.
func (o *outgoing) allowed() int { return o.throttle.piece - o.batch.Len() - wire.HeaderSize }

// popTurn makes t the next turn, and reports whether there is one. The caller holds w.mu.
func (w *writer) popTurn(t *turn, b *wire.Batch) bool {
	if w.heldTurn.f != nil {
		*t, w.heldTurn = w.heldTurn, turn{}
		return true
	}
	*t = turn{}
	if b.Len() > 0 && w.sched.FlushDue() {
		return false
	}
	f, c, n := w.sched.Pop()
	t.f, t.c, t.n = f, c, int32(min(n, wire.BatchSize))
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
