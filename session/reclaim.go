package session

import (
	"sync"
	"time"
)

// A reclaimer lowers the windows of streams that do not use them, while the session's budget is under pressure:
// some stream of some session on it wants a larger window than the budget has left.
//
// Pressure starts a goroutine, which visits all streams of the session every reclaimEvery. The first visit marks a
// stream, and the next one lowers its window if no data has arrived for it since. The goroutine ends when there is
// no pressure any more, or when another visit would lower no window: the last one has marked no stream, and nothing
// has changed since that matters. In the second case, pressure starts no goroutine until something changes. So an
// idle session needs no goroutine, however long another session wants more.
type reclaimer struct {
	s *Session

	// mu guards the fields below. No other lock is taken while it is held.
	mu        sync.Mutex
	running   bool         // the goroutine runs
	exhausted reclaimInput // for this input, a visit lowers no window
}

// reclaimEvery is the time between two visits. Under pressure, a stream for which no data arrives keeps its window for
// up to twice that time.
const reclaimEvery = 200 * time.Millisecond

// A reclaimInput is what the result of a visit depends on: it changes when a stream may have got a window that can be
// lowered.
type reclaimInput struct {
	received uint64 // bytes
	opened   uint64 // streams
	unread   int    // bytes: a stream with unread data keeps its window
}

// reclaimInput returns what a visit that began now would depend on.
func (s *Session) reclaimInput() reclaimInput {
	return reclaimInput{
		received: s.stats.bytesReceived.Load(),
		opened:   s.stats.streamsOpened.Load(),
		unread:   s.budget.Used(),
	}
}

// handlePressure is called when a stream of any session on the budget did not get a larger window. The caller holds
// locks.
func (r *reclaimer) handlePressure() {
	now := r.s.reclaimInput()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running || r.exhausted == now {
		return
	}
	r.running = true
	go r.run()
}

// run visits the streams until tryStop ends it.
func (r *reclaimer) run() {
	for {
		before := r.s.reclaimInput()
		again := r.visitStreams()
		if !sleep(reclaimEvery, r.s.done) || r.tryStop(before, again) {
			return
		}
	}
}

// visitStreams lowers the windows that can be lowered now, and reports whether another visit may lower more.
func (r *reclaimer) visitStreams() (again bool) {
	for _, st := range r.s.snapshot() {
		if st.core.Reclaim() {
			again = true
		}
	}
	return again
}

// tryStop decides whether run ends. before is the input of the last visit, and again is its result.
func (r *reclaimer) tryStop(before reclaimInput, again bool) bool {
	now := r.s.reclaimInput()
	r.mu.Lock()
	defer r.mu.Unlock()
	if again || now != before {
		r.running = r.s.budget.UnderPressure()
	} else {
		r.running = false
		r.exhausted = now
	}
	return !r.running
}
