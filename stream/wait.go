package stream

import "sync"

// waiters are the calls that wait at one half of a stream. The half takes its waiters from a pool when the first call
// waits, and returns them after the last one, so that an idle stream has none.
type waiters struct {
	cond sync.Cond
	n    int
}

var waitersPool = sync.Pool{New: func() any { return new(waiters) }}

// wait releases s.mu until *w is woken. If something fell due, wait settles that instead, and returns. So the caller
// checks again, in a loop, what it waits for.
func (s *Stream) wait(w **waiters) {
	if s.due != (effects{}) {
		s.settle()
		return
	}
	q := *w
	if q == nil {
		q = waitersPool.Get().(*waiters)
		q.cond.L = &s.mu
		*w = q
	}
	q.n++
	q.cond.Wait()
	q.n--
	if q.n == 0 {
		*w = nil
		q.cond.L = nil // so that the pool does not keep the stream in memory
		waitersPool.Put(q)
	}
}

// wake wakes all calls that wait.
func (w *waiters) wake() {
	if w != nil {
		w.cond.Broadcast()
	}
}

// A waitingRead is the buffer of a Read that waits. The session may fill it without a further copy.
type waitingRead struct {
	buf []byte
	n   int // how much of it has been filled
}

var waitingReadPool = sync.Pool{New: func() any { return new(waitingRead) }}

// room returns the part of the buffer that is not filled yet. It is nil for a nil waitingRead.
func (r *waitingRead) room() []byte {
	if r == nil {
		return nil
	}
	return r.buf[r.n:]
}
