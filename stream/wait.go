package stream

import (
	"sync"
	"time"
)

// waiters are the goroutines that wait for something to happen to one direction
// of a stream. It is lent to a stream while somebody waits, so that an idle one
// does without.
type waiters struct {
	cond sync.Cond
	n    int
}

var waitersPool = sync.Pool{New: func() any { return new(waiters) }}

// wait releases s.mu until the next wake of *w, and may also return for no reason.
func (s *Stream) wait(w **waiters) {
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

// deadlineTimer is the deadline of one direction.
type deadlineTimer struct {
	at      time.Time // zero: none
	timer   *time.Timer
	expired bool
}

// passed reports whether the deadline has passed. A nil deadline never passes.
func (d *deadlineTimer) passed() bool { return d != nil && d.expired }

// stop ends the timer of a stream that needs no deadlines any more.
func (d *deadlineTimer) stop() {
	if d != nil && d.timer != nil {
		d.timer.Stop()
	}
}

// setDeadline sets *d, the deadline of those who wait at *w, to t. The caller
// holds s.mu.
func (s *Stream) setDeadline(d **deadlineTimer, w **waiters, t time.Time) {
	if *d == nil {
		if t.IsZero() {
			return
		}
		*d = new(deadlineTimer)
	}
	l := *d
	l.at, l.expired = t, false
	if t.IsZero() {
		l.stop()
		return
	}
	left := time.Until(t)
	switch {
	case left <= 0:
		l.stop()
		l.expired = true
		(*w).wake()
	case l.timer == nil:
		l.timer = time.AfterFunc(left, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if l.at.IsZero() {
				return
			}
			// It is too early if the deadline was moved since the timer fired, or
			// is a wall clock's that was set back.
			if left := time.Until(l.at); left > 0 {
				l.timer.Reset(left)
				return
			}
			l.expired = true
			(*w).wake()
		})
	default:
		l.timer.Reset(left)
	}
}
