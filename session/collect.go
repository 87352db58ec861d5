package session

import (
	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/wire"
)

// How the holder of the writer role fills a batch.

// A turn is what the scheduler gave a stream, and what came of it.
type turn struct {
	f    *shaper.Flow
	c    shaper.Class
	n    int  // the bytes it is meant for
	sent int  // the bytes that were added to the batch
	more bool // the stream has more to send
}

// collect fills b with what is in line. If there is nothing, the role becomes free
// and collect returns false.
func (w *writer) collect(b *wire.Batch) bool {
	var t turn
	for {
		switch w.nextStep(&t, b) {
		case stepTurn:
			w.take(&t, b)
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
	stepTurn  step = iota // add what a stream has to send
	stepWrite             // the batch goes out
	stepFree              // nothing is to be written, and the role is free
)

// nextStep settles t, if it has been a turn, and makes it the next one, if there is one.
func (w *writer) nextStep(t *turn, b *wire.Batch) step {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case t.f == nil:
	case t.sent == 0 && t.more && b.Full():
		w.heldTurn = *t
	default:
		w.sched.Sent(t.f, t.c, t.sent, t.more)
	}
	if w.err == nil && !w.isFull(b) && w.popTurn(t, b) {
		return stepTurn
	}
	if w.err == nil && b.Len() > 0 {
		return stepWrite
	}
	w.lost = w.lost || b.Len() > 0
	w.free()
	return stepFree
}

// isFull reports whether b is to be sent before more is added.
func (w *writer) isFull(b *wire.Batch) bool {
	return b.Full() || w.throttle != nil && b.Len() > 0 && w.room(b) <= 0
}

// room returns how much payload the rate allows in b. There is a throttle.
func (w *writer) room(b *wire.Batch) int { return w.throttle.piece - b.Len() - wire.HeaderSize }

// popTurn makes t the next turn. The caller holds w.mu.
func (w *writer) popTurn(t *turn, b *wire.Batch) bool {
	if w.heldTurn.f != nil {
		*t, w.heldTurn = w.heldTurn, turn{}
		return true
	}
	*t = turn{}
	if b.Len() > 0 && w.batcher != nil && w.batcher.EndBatch() {
		return false
	}
	t.f, t.c, t.n = w.sched.Pop()
	return t.f != nil
}

// take adds to b what is sent in turn t.
func (w *writer) take(t *turn, b *wire.Batch) {
	n, before := t.n, b.Len()
	if w.throttle != nil {
		n = min(n, max(1, w.room(b)))
	}
	if st, ok := t.f.Owner.(*sessionStream); ok {
		t.more = st.take(b, t.c, n)
	} else {
		t.more = w.takeOwn(b)
	}
	t.sent = b.Len() - before
}
