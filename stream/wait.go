package stream

import "sync"

// waiters are the goroutines that wait for something to happen to one direction
// of a stream. A stream has them from a pool while somebody waits, so that an idle one
// does without.
type waiters struct {
	cond sync.Cond
	n    int
}

var waitersPool = sync.Pool{New: func() any { return new(waiters) }}

// wait settles what came due and releases s.mu until the next wake of *w. It may also return for no reason.
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
		q.cond.L = nil // in the pool it must not keep the stream from being freed
		waitersPool.Put(q)
	}
}

// wake wakes all who wait.
func (w *waiters) wake() {
	if w != nil {
		w.cond.Broadcast()
	}
}

// reading is the buffer of a Read that waits, to be filled without another copy.
type reading struct {
	buf []byte
	n   int // how much of it has been filled
}

var readingPool = sync.Pool{New: func() any { return new(reading) }}

// room returns what has not been filled. A nil reading has none.
func (r *reading) room() []byte {
	if r == nil {
		return nil
	}
	return r.buf[r.n:]
}
