package flow

import "math"

// A waiter is one blocked call of Wait. Its channel is made by that call, so that
// in a testing/synctest bubble it belongs to the bubble.
type waiter struct {
	share *Share
	ready chan struct{} // holds one signal
}

// Wait blocks until the session is not Full, and returns true, or until done is
// closed, and returns false. If both hold it returns true. A nil done never ends it.
func (s *Share) Wait(done <-chan struct{}) bool {
	for s.Full() {
		w := s.enqueue()
		// Look again now that every Return sees the waiter.
		if s.Full() {
			select {
			case <-w.ready:
			case <-done:
				s.dequeue(w)
				return !s.Full()
			}
		}
		s.dequeue(w)
	}
	return true
}

func (s *Share) enqueue() *waiter {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	w := s.spare
	if s.spare = nil; w == nil {
		w = &waiter{share: s, ready: make(chan struct{}, 1)}
	}
	b.waiting = append(b.waiting, w)
	s.waiters.Add(1)
	b.wakeAt.Store(max(b.wakeAt.Load(), s.ceiling(s.used.Load())))
	return w
}

func (s *Share) dequeue(w *waiter) {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.waiting {
		if b.waiting[i] == w {
			b.drop(i)
			break
		}
	}
	if len(b.waiting) == 0 {
		b.wakeAt.Store(math.MinInt64)
	}
	select {
	case <-w.ready:
	default:
	}
	s.spare = w
}

// drop takes waiter i from the list. The caller holds mu.
func (b *Budget) drop(i int) {
	b.waiting[i].share.waiters.Add(-1)
	last := len(b.waiting) - 1
	b.waiting[i], b.waiting[last] = b.waiting[last], nil
	b.waiting = b.waiting[:last]
}

// wake ends the waits of all shares that are no longer full.
//
// No wake-up is missed: wakeAt covers every waiter's ceiling before the waiter
// looks at Full for the last time, here as in enqueue. A Return that changes the
// outcome after that look finds wakeAt high enough and calls wake; what raises a
// ceiling itself (the share's own Return or Grant, somebody's Leave) always does.
func (b *Budget) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return
	}
	at := int64(math.MinInt64)
	for _, w := range b.waiting {
		at = max(at, w.share.ceiling(w.share.used.Load()))
	}
	b.wakeAt.Store(at)
	for i := len(b.waiting) - 1; i >= 0; i-- {
		if w := b.waiting[i]; !w.share.Full() {
			b.drop(i)
			w.ready <- struct{}{} // has room: a waiter is signalled once per entry
		}
	}
	if len(b.waiting) == 0 {
		b.wakeAt.Store(math.MinInt64)
	}
}
