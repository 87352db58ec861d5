package session

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/stream"
)

// An idleWatch closes idle streams (Config.StreamIdleTimeout, stream.Stream.SetIdleTimeout), and a session without
// streams (Config.IdleTimeout). A session that uses neither has none. The watch has one timer, and a goroutine only while
// that fires. At each look it visits all streams, and asks each when to look again:
//
//	watchOff --(a stream is opened, or gets a time-out)--> watchSet
//	watchSet --(the timer fires)--> watchLooking --(there is something to wait for)--> watchSet
//	watchLooking --(nothing to wait for)--> watchOff
//
// After the session's end, it stays in watchStopped.
type idleWatch struct {
	s       *Session
	timeout time.Duration // Config.IdleTimeout; 0: none

	// These belong to look, which runs once at a time.
	emptySince time.Duration // since when the session has had no streams
	begun      uint64        // how many streams had begun by the last look
	used       bool          // there were streams at the last look

	mu    sync.Mutex // guards the fields below; no other lock is taken under it
	state watchState
	due   time.Duration // in watchSet, when the timer fires; in watchLooking, when to look again at the latest; 0: never
	timer *time.Timer
}

type watchState uint8

const (
	watchOff watchState = iota
	watchSet
	watchLooking
	watchStopped
)

// newIdleWatch returns a watch for a session whose IdleTimeout is timeout.
func newIdleWatch(s *Session, timeout time.Duration) *idleWatch {
	if timeout > 0 {
		timeout = min(max(timeout, stream.MinIdleTimeout), 1<<62) // so that no sum of times overflows
	}
	return &idleWatch{s: s, timeout: timeout}
}

// start begins the time of IdleTimeout, if there is one. w may be nil.
func (w *idleWatch) start() {
	if w != nil && w.timeout > 0 {
		w.emptySince = w.s.now()
		w.within(w.timeout)
	}
}

// within makes the watch look within d. It takes only the watch's mu.
func (w *idleWatch) within(d time.Duration) {
	at := w.s.now() + d
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == watchStopped || w.state != watchOff && w.due != 0 && w.due <= at {
		return
	}
	w.due = at
	if w.state == watchLooking {
		return // set it afterwards
	}
	w.state = watchSet
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.look)
	} else {
		w.timer.Reset(d)
	}
}

// look is what the timer calls.
func (w *idleWatch) look() {
	if !w.begin() {
		return
	}
	s := w.s
	now, last := s.now(), max(s.clock.lastSent(), s.clock.lastReceived())
	again := w.checkSession(now)
	for _, st := range s.snapshot() {
		if d := st.core.CloseIdle(now, last); d > 0 && (again == 0 || d < again) {
			again = d
		}
	}
	w.end()
	if again > 0 {
		w.within(max(again, stream.MinIdleTimeout/4))
	}
}

// begin begins a look, unless one is under way or the watch is stopped.
func (w *idleWatch) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != watchSet {
		return false
	}
	w.state, w.due = watchLooking, 0
	return true
}

// end ends a look. If within was called meanwhile, it sets the timer.
func (w *idleWatch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.state != watchLooking:
	case w.due == 0:
		w.state = watchOff
	default:
		w.state = watchSet
		w.timer.Reset(max(0, w.due-w.s.now()))
	}
}

// stop ends the watch.
func (w *idleWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = watchStopped
	if w.timer != nil {
		w.timer.Stop()
	}
}

// checkSession begins the end of a session that was without streams for IdleTimeout. It returns after what time to
// check again, or 0 if not at all.
func (w *idleWatch) checkSession(now time.Duration) (again time.Duration) {
	if w.timeout == 0 {
		return 0
	}
	begun := w.s.stats.streamsOpened.Load() + w.s.stats.streamsAccepted.Load()
	empty := w.s.NumStreams() == 0
	switch {
	case !empty:
		w.emptySince = now
	case w.used || begun != w.begun: // the last stream has ended since, but not after the session was last active
		since := now
		if !w.s.out.isSending() { // otherwise it may be the last FIN, whose time is not noted yet
			since = min(now, max(w.s.clock.lastSent(), w.s.clock.lastReceived()))
		}
		w.emptySince = max(w.emptySince, since)
	}
	w.begun, w.used = begun, !empty
	left := w.emptySince + w.timeout - now
	if left > 0 {
		return min(left, (w.timeout+3)/4)
	}
	if !w.s.shutdownIfEmpty() {
		return (w.timeout + 3) / 4 // a stream has begun
	}
	return 0
}

// shutdownIfEmpty begins a Shutdown of an open session without streams, and reports false if there are streams.
func (s *Session) shutdownIfEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.phase != phaseOpen:
		return true
	case len(s.streams) > 0:
		return false
	}
	s.phase = phaseShutdown // nothing may begin any more
	s.wakeAll()
	go s.shutdown(context.Background(), ErrIdleTimeout)
	return true
}

// watchIdle returns the session's watch. It makes one if there is none.
func (s *Session) watchIdle() *idleWatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle == nil {
		s.idle = newIdleWatch(s, 0)
		if s.phase == phaseEnded {
			s.idle.stop()
		}
	}
	return s.idle
}

// noteStream makes sure that the watch looks at a new stream. The caller holds s.mu.
func (s *Session) noteStream() {
	if s.idle != nil && s.shared.IdleTimeout > 0 {
		s.idle.within(max(s.shared.IdleTimeout, stream.MinIdleTimeout) / 4)
	}
}

// WatchIdle is the Stream's request to look at it.
func (st *sessionStream) WatchIdle(d time.Duration) { st.s.watchIdle().within(d) }

var _ stream.IdleNotifier = (*sessionStream)(nil)

// closedErr returns what Accept returns once this side has closed the session. The caller holds s.mu.
func (s *Session) closedErr() error {
	if s.err == ErrIdleTimeout {
		return endError{s.err}
	}
	return net.ErrClosed
}

// stopIdleWatch stops the watch at the session's end.
func (s *Session) stopIdleWatch() {
	s.mu.Lock()
	w := s.idle
	s.mu.Unlock()
	if w != nil {
		w.stop()
	}
}
