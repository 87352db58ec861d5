package session

import (
	"sync"
	"time"
)

// A writeWatch notices that the transport takes no data although some waits. Then what closed
// streams have yet to send is thrown away after Config.LingerTimeout, since nobody else would ever
// end it, and the session ends after Config.WriteTimeout, if that is set. A session that has thrown
// data away ends as soon as its transport takes data again: its peer would wait for ever for the rest of
// the streams, and no frame can say that it does not come.
//
// Its timer runs only while a write waits, and is set at most once in the shorter of the two times.
type writeWatch struct {
	s *Session

	mu      sync.Mutex    // guards what follows; no lock is taken under it
	waiting bool          // a write waits for the transport
	since   time.Duration // when it began to, or when the transport last took a byte
	armed   bool          // timer runs
	timer   *time.Timer
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

// tookSome notes that the transport has taken a part or all. The error says that the session must end.
func (w *writeWatch) tookSome() error {
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

// waited returns for how long the transport has taken nothing of a write.
func (w *writeWatch) waited() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.waiting {
		return 0
	}
	return w.s.now() - w.since
}

// stop ends the watch.
func (w *writeWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// nextCheck returns after what time a write that has waited for so long is to be looked at.
func (w *writeWatch) nextCheck(waited time.Duration) time.Duration {
	c := &w.s.config
	next := c.LingerTimeout
	if waited < next {
		next -= waited
	}
	if c.WriteTimeout > 0 {
		next = min(next, c.WriteTimeout-waited)
	}
	return max(next, time.Millisecond)
}

// check is called by the timer.
func (w *writeWatch) check() {
	w.mu.Lock()
	if w.stopped || !w.waiting {
		w.armed = false
		w.mu.Unlock()
		return
	}
	waited := w.s.now() - w.since
	c := &w.s.config
	ends := c.WriteTimeout > 0 && waited >= c.WriteTimeout
	if !ends {
		w.timer.Reset(w.nextCheck(waited))
	}
	w.mu.Unlock()
	switch {
	case ends:
		w.s.end(ErrWriteTimeout)
	case waited >= c.LingerTimeout:
		w.s.giveUpClosed()
	}
}

func (w *writeWatch) noteGaveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gaveUp = true
}

// giveUpClosed throws away what closed streams have yet to send.
func (s *Session) giveUpClosed() {
	n := 0
	for _, st := range s.snapshot() {
		if st.core.GiveUp() {
			n++
		}
	}
	if n > 0 {
		s.out.watch.noteGaveUp()
		s.out.lose()
		s.log("the transport takes no data: data of closed streams was thrown away", "streams", n)
	}
}
