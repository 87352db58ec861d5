package session

import (
	"sync"
	"time"
)

// A reclaimer takes the windows of streams back that do not use them, while windows are scarce
// on the session's budget.
//
// It is idle until the budget rings. Then a goroutine visits all streams, again and again, as long
// as that is of use: the first visit marks a stream, the next one takes its window if
// nothing has arrived on it since. The goroutine ends when windows are not scarce any more; and
// when a visit has marked no stream, and nothing has happened after it that could let the next one
// do more. As long as nothing does, the budget rings in vain: so an idle session costs no
// goroutine, however long another one wants more than there is.
type reclaimer struct {
	s *Session

	mu      sync.Mutex // guards what follows; no lock is taken under it
	running bool
	done    activity // up to here there is nothing to take back
}

// reclaimEvery is how long a stream may be quiet, while windows are scarce, before its own
// is taken back.
const reclaimEvery = 200 * time.Millisecond

// activity changes with whatever can give a stream a window worth taking back.
type activity struct {
	received uint64 // bytes
	opened   uint64 // streams
	unread   int    // bytes: a stream that holds some keeps its window
}

func (s *Session) activity() activity {
	return activity{
		received: s.stats.bytesReceived.Load(),
		opened:   s.stats.streamsOpened.Load(),
		unread:   s.budget.Used(),
	}
}

// ring is called when a stream of any session on the budget was refused a larger window, by a
// caller with locks held.
func (r *reclaimer) ring() {
	now := r.s.activity()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running || r.done == now {
		return
	}
	r.running = true
	go r.run()
}

func (r *reclaimer) run() {
	for {
		before := r.s.activity()
		again := r.visit()
		if !sleep(reclaimEvery, r.s.done) || r.stop(before, again) {
			return
		}
	}
}

// visit takes back what can be, and reports whether another visit could take more.
func (r *reclaimer) visit() (again bool) {
	for _, st := range r.s.snapshot() {
		if st.core.Reclaim() {
			again = true
		}
	}
	return again
}

// stop reports whether no further visit is of use.
func (r *reclaimer) stop(before activity, again bool) bool {
	now := r.s.activity()
	r.mu.Lock()
	defer r.mu.Unlock()
	if again || now != before {
		r.running = r.s.budget.Pressed()
	} else {
		r.running = false
		r.done = now
	}
	return !r.running
}
