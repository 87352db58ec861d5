package session

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// An Event tells of a stream that was aborted by Config.StallTimeout.
type Event struct {
	Session  *Session
	StreamID uint32
	// Unread is how many unread bytes of the stream were thrown away.
	Unread int
}

// A stallWatch ends stalls: pauses in which the session does not read its transport, as it holds all the
// unread data that it may, and which last since nobody reads the streams that hold it.
//
// Its clock runs while reading is paused. When it has run for the timeout, streams are aborted whose
// readers took nothing meanwhile. It starts anew then; and when half of what the session holds has been
// replaced since it started, as such a session is slow and not stalled. A reader that makes room for one
// frame now and then does not start it anew: it would let all others wait for ever.
//
// A nil stallWatch does nothing.
type stallWatch struct {
	s       *Session
	timeout time.Duration

	mu       sync.Mutex    // guards what follows; no lock is taken under it
	round    uint64        // of stream.Shared, since the clock started
	received uint64        // by the session, when the clock started
	ran      time.Duration // for how long the clock ran, without the present pause
	paused   bool
	aborting bool          // streams are being aborted, and what they held is being replaced
	since    time.Duration // if paused: from then on
	timer    *time.Timer   // ends the present pause's wait
}

// minStallTimeout keeps a session from visiting its streams all the time.
const minStallTimeout = time.Millisecond

func newStallWatch(s *Session) *stallWatch {
	if s.config.StallTimeout == 0 {
		return nil
	}
	return &stallWatch{s: s, timeout: max(s.config.StallTimeout, minStallTimeout)}
}

// pause says that the transport is not read from now on.
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
		w.timer = time.AfterFunc(left, w.expired)
	} else {
		w.timer.Reset(left)
	}
}

// resume says that the transport is read again.
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

// isReplaced reports whether half of what the session holds has been replaced since the clock started.
// The caller holds w.mu.
func (w *stallWatch) isReplaced() bool {
	return w.s.stats.bytesReceived.Load()-w.received >= uint64(w.s.budget.Used()/2)
}

// restart starts the clock anew. The caller holds w.mu.
func (w *stallWatch) restart() {
	w.round = w.s.shared.NextRound()
	w.received = w.s.stats.bytesReceived.Load()
	w.ran = 0
}

// expired is called by the timer.
func (w *stallWatch) expired() {
	w.mu.Lock()
	now := w.s.now()
	if !w.paused || w.ran+now-w.since < w.timeout {
		w.mu.Unlock()
		return // the pause has ended meanwhile
	}
	round := w.round
	w.restart()
	w.since = now
	w.timer.Reset(w.timeout)
	w.aborting = true
	w.mu.Unlock()
	w.s.abortStalled(round)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborting = false
	// The clock starts when all is replaced: streams that come after its start are spared.
	if w.paused && w.s.budget.Full() && w.isReplaced() {
		w.restart()
		w.since = w.s.now()
		w.timer.Reset(w.timeout)
	}
}

// abortStalled aborts streams from which nothing was taken since the round began: those that hold most,
// until half of what all of them hold is free.
func (s *Session) abortStalled(round uint64) {
	type stalled struct {
		st     *sessionStream
		unread int
	}
	var all []stalled
	total := 0
	for _, st := range s.snapshot() {
		if n := st.core.Stalled(round); n > 0 {
			all = append(all, stalled{st, n})
			total += n
		}
	}
	slices.SortFunc(all, func(a, b stalled) int { return cmp.Compare(b.unread, a.unread) })

	streams, freed := 0, 0
	for _, x := range all {
		if freed >= total-total/2 {
			break
		}
		n := x.st.core.FailStalled(round)
		if n == 0 {
			continue // it has been read after all
		}
		streams++
		freed += n
		if f := s.config.OnEvent; f != nil {
			f(Event{Session: s, StreamID: x.st.core.Stream().ID(), Unread: n})
		}
	}
	if streams > 0 {
		s.log("streams aborted: their readers took nothing while the receive buffer was full",
			"streams", streams, "unread", freed)
	}
}

// sleep waits for d, and reports false at once if over is closed before.
func sleep(d time.Duration, over <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-over:
		return false
	}
}
