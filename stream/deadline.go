package stream

import (
	"net"
	"time"
)

// SetDeadline sets the deadlines of Read and Write, as SetReadDeadline and
// SetWriteDeadline do.
func (s *Stream) SetDeadline(t time.Time) error { return s.setDeadlines(t, true, true) }

// SetReadDeadline sets the time after which Read and WriteTo fail with an error
// that is os.ErrDeadlineExceeded and a net.Error with Timeout() true. It applies at
// once to calls that are blocked. A time in the past fails them immediately, also
// if there is something to read; the zero time means no deadline. Nothing is lost:
// with a later deadline, Read goes on where it was.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.setDeadlines(t, true, false) }

// SetWriteDeadline does the same for Write and ReadFrom. A Write that fails so
// may have written some of its bytes, and says how many: these will be sent, and no
// others.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, false, true) }

func (s *Stream) setDeadlines(t time.Time, read, write bool) error {
	s.mu.Lock()
	defer s.unlock()
	if s.closed != notClosed {
		return s.opError("set", net.ErrClosed)
	}
	if s.rare == nil && t.IsZero() {
		return nil
	}
	r := s.rarely()
	if read {
		s.setDeadline(&r.readLimit, &s.recv.readers, t)
	}
	if write {
		s.setDeadline(&r.writeLimit, &s.send.writers, t)
	}
	return nil
}

// A deadline is that of one direction.
type deadline struct {
	at      time.Time // zero: none
	timer   *time.Timer
	expired bool
}

// stop ends the timer of a stream that needs no deadlines any more.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// setDeadline sets d, the deadline of those who wait at *w, to t.
func (s *Stream) setDeadline(d *deadline, w **waiters, t time.Time) {
	d.at, d.expired = t, false
	if t.IsZero() {
		d.stop()
		return
	}
	switch left := time.Until(t); {
	case left <= 0:
		d.stop()
		d.expired = true
		(*w).wake()
	case d.timer == nil:
		d.timer = time.AfterFunc(left, func() { s.checkDeadline(d, w) })
	default:
		d.timer.Reset(left)
	}
}

// checkDeadline is called by the timer.
func (s *Stream) checkDeadline(d *deadline, w **waiters) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.at.IsZero() {
		return
	}
	// It is too early if the deadline was moved since the timer fired, or
	// is a wall clock's that was set back.
	if left := time.Until(d.at); left > 0 {
		d.timer.Reset(left)
		return
	}
	d.expired = true
	(*w).wake()
}
