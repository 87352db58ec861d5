package stream

import (
	"net"
	"time"
)

// SetDeadline sets both deadlines, as [Stream.SetReadDeadline] and [Stream.SetWriteDeadline] do. All three fail with
// [net.ErrClosed] after Close.
func (s *Stream) SetDeadline(t time.Time) error { return s.setDeadlines(t, true, true) }

// SetReadDeadline sets the time at which Read and WriteTo fail, also if they are blocked already. Their error matches
// os.ErrDeadlineExceeded, and is a net.Error with Timeout() true. If the time is in the past, they fail at once, even if
// there is data. The zero time means no deadline. No data is lost: Read goes on after a later deadline was set.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.setDeadlines(t, true, false) }

// SetWriteDeadline sets the time at which Write and ReadFrom fail, as [Stream.SetReadDeadline] does for Read. A Write
// that fails in this way may have written some of its bytes. It returns how many: these will be sent, and no others.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, false, true) }

func (s *Stream) setDeadlines(t time.Time, read, write bool) error {
	s.mu.Lock()
	defer s.unlock()
	if s.closed != notClosed {
		return s.opError("set", net.ErrClosed)
	}
	if s.extras == nil && t.IsZero() {
		return nil
	}
	r := s.ensureExtras()
	if read {
		s.setDeadline(&r.readDeadline, &s.recv.readers, t)
	}
	if write {
		s.setDeadline(&r.writeDeadline, &s.send.writers, t)
	}
	return nil
}

// A deadline is the deadline of one direction.
type deadline struct {
	at      time.Time // zero: none
	timer   *time.Timer
	expired bool
}

// stop stops the timer.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// setDeadline sets d to t. The calls that d ends wait at *w.
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

// checkDeadline is what the timer calls.
func (s *Stream) checkDeadline(d *deadline, w **waiters) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.at.IsZero() {
		return
	}
	// It is too early if the deadline was changed after the timer had fired, or if the wall clock was set back.
	if left := time.Until(d.at); left > 0 {
		d.timer.Reset(left)
		return
	}
	d.expired = true
	(*w).wake()
}
