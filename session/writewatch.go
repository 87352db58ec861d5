package session

import (
	"sync"
	"time"
)

// A writeWatch notices if the transport takes no data while a write waits. After Config.WriteTimeout, if that is set,
// it ends the session. After Config.LingerTimeout, it throws away the data of closed streams, which no application
// waits for. The session then ends as soon as the transport takes data again: the peer would wait for ever for the
// rest of these streams, and no frame can say that it will not come.
//
// The timer runs only while a write waits.
type writeWatch struct {
	s            *Session
	writeTimeout time.Duration // Config.WriteTimeout; 0: none
	linger       time.Duration // Config.LingerTimeout

	// mu guards the fields below. No other lock is taken while it is held.
	mu      sync.Mutex
	since   time.Duration // when the write began, or when the transport last took a byte of it
	timer   *time.Timer
	waiting bool // a write waits for the transport
	armed   bool // timer runs
	stopped bool
	gaveUp  bool // data of closed streams was thrown away
}

// begin is called before a write that may wait for the transport.
func (w *writeWatch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting, w.since = true, w.s.now()
	if w.armed || w.stopped {
		return
	}
	w.armed = true
	wait := w.nextCheck(0)
	if w.timer == nil {
		w.timer = time.AfterFunc(wait, w.check)
	} else {
		w.timer.Reset(wait)
	}
}

// noteProgress notes that the transport has taken data. It returns an error if the session has to end because of that.
func (w *writeWatch) noteProgress() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = w.s.now()
	if w.gaveUp {
		return ErrLingerTimeout
	}
	return nil
}

// end is called after the write.
func (w *writeWatch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = false
}

// stalledFor returns how long a write has waited since the transport last took data, or 0 if no write waits.
func (w *writeWatch) stalledFor() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.waiting {
		return 0
	}
	return w.s.now() - w.since
}

// stop ends the watch, because the session has ended.
func (w *writeWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// nextCheck returns when to check next, from now on, if a write has waited for the given time.
func (w *writeWatch) nextCheck(waited time.Duration) time.Duration {
	next := w.linger
	if waited < next {
		next -= waited
	}
	if w.writeTimeout > 0 {
		next = min(next, w.writeTimeout-waited)
	}
	return max(next, time.Millisecond)
}

// check is what the timer calls.
func (w *writeWatch) check() {
	w.mu.Lock()
	if w.stopped || !w.waiting {
		w.armed = false
		w.mu.Unlock()
		return
	}
	waited := w.s.now() - w.since
	ends := w.writeTimeout > 0 && waited >= w.writeTimeout
	if !ends {
		w.timer.Reset(w.nextCheck(waited))
	}
	w.mu.Unlock()
	switch {
	case ends:
		w.s.end(ErrWriteTimeout)
	case waited >= w.linger:
		w.s.giveUpClosed()
	}
}

// noteGaveUp notes that data of closed streams was thrown away.
func (w *writeWatch) noteGaveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gaveUp = true
}

// giveUpClosed throws away the data of closed streams that was not sent.
func (s *Session) giveUpClosed() {
	n := 0
	for _, st := range s.snapshot() {
		if st.core.GiveUp() {
			n++
		}
	}
	if n > 0 {
		s.out.watch.noteGaveUp()
		s.out.noteLost()
		s.tracer.dataDropped(n)
	}
}
