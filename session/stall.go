package session

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// A stallWatch implements Config.StallTimeout. The session stalls if its receive buffer is full, so that it pauses
// reading, and nobody reads the streams that hold the data.
//
// The watch has a clock, which runs while reading is paused. When it has run for the timeout, the watch aborts streams
// whose readers have taken nothing meanwhile, and restarts the clock. It also restarts the clock once half of the
// data that the session holds has been replaced since the last start: such a session is slow, and not stalled. A
// reader that makes room for one frame now and then does not restart the clock, because then it could let all other
// streams wait for ever.
//
// A nil stallWatch does nothing.
type stallWatch struct {
	s       *Session
	timeout time.Duration

	// mu guards the fields below. No other lock is taken while it is held.
	mu       sync.Mutex
	round    uint64        // the round of stream.Shared that began when the clock started; 0: not started
	received uint64        // bytes that the session had received when the clock started
	ran      time.Duration // how long the clock ran in earlier pauses
	paused   bool
	aborting bool          // streams are being aborted
	since    time.Duration // when the present pause began, or the clock restarted in it
	timer    *time.Timer   // fires when the clock has run for the timeout
}

// minStallTimeout bounds how often a session visits all its streams.
const minStallTimeout = time.Millisecond

// newStallWatch returns nil if Config.StallTimeout is not set.
func newStallWatch(s *Session, config *Config) *stallWatch {
	if config.StallTimeout == 0 {
		return nil
	}
	return &stallWatch{s: s, timeout: max(config.StallTimeout, minStallTimeout)}
}

// pause notes that reading pauses.
func (w *stallWatch) pause() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.round == 0 || !w.aborting && w.isReplaced() {
		w.restart()
	}
	w.paused, w.since = true, w.s.now()
	if left := w.timeout - w.ran; w.timer == nil {
		w.timer = time.AfterFunc(left, w.check)
	} else {
		w.timer.Reset(left)
	}
}

// resume notes that reading resumes.
func (w *stallWatch) resume() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.paused = false
	w.ran += w.s.now() - w.since
}

// isReplaced reports whether half of the data that the session holds has been replaced since the clock started.
// The caller holds w.mu.
func (w *stallWatch) isReplaced() bool {
	return w.s.stats.bytesReceived.Load()-w.received >= uint64(w.s.budget.Used()/2)
}

// restart restarts the clock. The caller holds w.mu.
func (w *stallWatch) restart() {
	w.round = w.s.shared.NextRound()
	w.received = w.s.stats.bytesReceived.Load()
	w.ran = 0
}

// check is what the timer calls.
func (w *stallWatch) check() {
	w.mu.Lock()
	now := w.s.now()
	if !w.paused || w.ran+now-w.since < w.timeout {
		w.mu.Unlock()
		return // the pause ended while the timer fired
	}
	round := w.round
	w.restart()
	w.since = now
	w.timer.Reset(w.timeout)
	w.aborting = true
	w.mu.Unlock()
	w.abortStalled(round)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborting = false
	// Data that arrived while streams were aborted has replaced what they held. Its readers get the full time.
	if w.paused && w.s.budget.Full() && w.isReplaced() {
		w.restart()
		w.since = w.s.now()
		w.timer.Reset(w.timeout)
	}
}

// abortStalled aborts streams whose readers have taken nothing since the round began. It begins with those that hold
// most, and ends when half of what all of them hold is free.
func (w *stallWatch) abortStalled(round uint64) {
	type stalled struct {
		st     *sessionStream
		unread int
	}
	var all []stalled
	total := 0
	for _, st := range w.s.snapshot() {
		if n := st.core.Stalled(round); n > 0 {
			all = append(all, stalled{st, n})
			total += n
		}
	}
	slices.SortFunc(all, func(a, b stalled) int { return cmp.Compare(b.unread, a.unread) })

	freed := 0
	for _, x := range all {
		if freed >= total-total/2 {
			break
		}
		n := x.st.core.FailStalled(round)
		if n == 0 {
			continue // its reader has taken data meanwhile
		}
		freed += n
		w.s.tracer.streamStalled(x.st, n)
	}
}
