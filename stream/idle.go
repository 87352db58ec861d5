package stream

import (
	"errors"
	"net"
	"time"
)

// ErrIdleTimeout is returned by Read and Write after the session has closed the stream, because it was idle for its
// time-out: see [Stream.SetIdleTimeout]. It is a net.Error with Timeout() true. It does not match os.ErrDeadlineExceeded: a
// caller that sets a new deadline and tries again would get it for ever.
var ErrIdleTimeout error = idleError{}

type idleError struct{}

func (idleError) Error() string   { return "stream: closed, because it was idle" }
func (idleError) Timeout() bool   { return true }
func (idleError) Temporary() bool { return false }

// MinIdleTimeout is the shortest idle time-out. A shorter one that is not 0 is taken for it.
const MinIdleTimeout = time.Millisecond

// maxIdleTimeout is what a longer one is taken for: 146 years, so that no sum of times overflows.
const maxIdleTimeout time.Duration = 1 << 62

// boundIdleTimeout returns the time-out that d, which is positive, is taken for.
func boundIdleTimeout(d time.Duration) time.Duration {
	return min(max(d, MinIdleTimeout), maxIdleTimeout)
}

// SetIdleTimeout sets the time after which the stream is closed if it is idle. It replaces [Shared].IdleTimeout, which
// package session takes from its Config.StreamIdleTimeout, for this stream. 0 means never. The time counts from the call
// on.
//
// A stream is idle if all of this holds for that long: no data was sent, arrived, or was read by the application; no
// window update of the peer arrived, which says that the peer reads; there is no unread data and no unsent data; and no
// Write waits. So a slow reader or writer is not idle. A Read that waits for data does not count.
//
// The session looks at the stream each quarter of the time, so it is closed up to a quarter later. Then it ends as by
// [Stream.Close], and the peer reads io.EOF. Calls on this side fail with [ErrIdleTimeout], also those that are blocked.
//
// SetIdleTimeout does not block. It fails with [net.ErrClosed] after Close, and with errors.ErrUnsupported if the stream's
// session is not of package session and does not close idle streams. A negative d is an error.
func (s *Stream) SetIdleTimeout(d time.Duration) error {
	w, ok := s.notifier.(IdleNotifier)
	switch {
	case d < 0:
		return s.opError("set", errors.New("stream: idle timeout: must not be negative"))
	case !ok:
		return s.opError("set", errors.ErrUnsupported)
	}
	if d > 0 {
		d = boundIdleTimeout(d)
	}
	if !s.setIdleTimeout(d, w.Now()) {
		return s.opError("set", net.ErrClosed)
	}
	if d > 0 {
		w.WatchIdle(lookAfter(d))
	}
	return nil
}

// setIdleTimeout sets the time-out, and reports false if the stream is closed.
func (s *Stream) setIdleTimeout(d, now time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != notClosed {
		return false
	}
	idle := s.ensureIdle()
	idle.timeout, idle.since = d, now
	s.active = false
	return true
}

// An idleTimeout is the time-out of a stream, and since when the stream has been idle. The time is that of the session's
// clock. It is exact to a quarter of the time-out: the stream notes that it was active, and CloseIdle notes when.
type idleTimeout struct {
	timeout time.Duration // 0: never
	since   time.Duration
}

// ensureIdle returns the stream's idleTimeout.
func (s *Stream) ensureIdle() *idleTimeout {
	x := s.ensureExtras()
	if x.idle == nil {
		x.idle = &idleTimeout{timeout: s.shared.IdleTimeout}
		if x.idle.timeout > 0 {
			x.idle.timeout = boundIdleTimeout(x.idle.timeout)
		}
	}
	return x.idle
}

// lookAfter returns how long CloseIdle can be put off for a stream that becomes idle now.
func lookAfter(timeout time.Duration) time.Duration { return (timeout + 3) / 4 }

// An IdleNotifier is a [Notifier] whose session calls [Core.CloseIdle].
type IdleNotifier interface {
	Notifier
	// WatchIdle makes the session call CloseIdle of the stream within d.
	WatchIdle(d time.Duration)
}

// CloseIdle closes the stream if it was idle for its time-out (see [Stream.SetIdleTimeout]). now is the time, and
// lastActive the time at which the session last sent or received anything, both as [Notifier].Now returns them. CloseIdle
// returns after what time it must be called again, or 0 if the stream is closed or has no time-out.
//
// A session calls CloseIdle for a new stream after a quarter of [Shared].IdleTimeout.
func (c *Core) CloseIdle(now, lastActive time.Duration) (again time.Duration) {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	if s.closed != notClosed || s.session != sessionUp || s.shared.IdleTimeout <= 0 && (s.extras == nil || s.extras.idle == nil) {
		return 0
	}
	idle := s.ensureIdle()
	switch {
	case idle.timeout == 0:
		return 0
	case s.isBusy():
		idle.since = now
	case s.active: // since the last call, but not after lastActive
		idle.since = max(idle.since, min(now, lastActive))
	}
	s.active = false
	left := idle.since + idle.timeout - now
	if left <= 0 {
		s.close(closedByIdle, now)
		return 0
	}
	return min(left, lookAfter(idle.timeout))
}

// isBusy reports whether the stream holds data, or a Write waits.
func (s *Stream) isBusy() bool {
	return s.recv.unread > 0 || s.recv.reserved != notReserved || s.send.waiting() > 0 || s.send.writing
}
