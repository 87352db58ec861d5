package session

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// SetSendRate limits the rate at which the session writes to the transport, headers included, to r, in place of
// [Config].SendRate or of the rate that was set before. The zero Rate is no limit. Data that waits for the old rate now
// waits for the new one, or goes on at once if there is none. A write to the transport that has begun ends first; without
// a limit before, it has up to 65,400 bytes.
//
// Data that the old rate allows, and that was not sent, counts for the new one, up to its Burst. If more was sent than
// the old rate allows, the new one makes up for it. So setting a rate again and again allows no more data. After no limit, a whole
// Burst may be sent at once.
//
// SetSendRate does not block. It fails only if r is bad, as [Config.Validate] would, and then changes nothing. It may be
// called at any time, also after the session has ended.
func (s *Session) SetSendRate(r flow.Rate) error {
	return setRate(&s.out.throttle, "SendRate", r, s.done)
}

// SetReceiveRate limits the rate at which the session reads the transport to r, in place of [Config].ReceiveRate or of
// the rate that was set before. The zero Rate is no limit. If the session waits for the old rate, it now waits for the
// new one, or for none. A Read of the transport that has begun ends first; without a limit before, it may return up to
// 64 KiB more than the new rate allows, and the session then reads nothing until the rate has caught up.
//
// Everything else is as for [Session.SetSendRate].
func (s *Session) SetReceiveRate(r flow.Rate) error {
	return setRate(&s.in.throttle, "ReceiveRate", r, s.done)
}

func setRate(l *rateLimit, field string, r flow.Rate, done <-chan struct{}) error {
	if errs := checkRate(field, r); len(errs) > 0 {
		return fmt.Errorf("session: bad rate: %w", errs[0])
	}
	l.set(r, done)
	return nil
}

// checkRate returns what is wrong with r, the value of a field.
func checkRate(field string, r flow.Rate) (errs []error) {
	if !(r.BytesPerSecond >= 0) {
		errs = append(errs, fmt.Errorf("%s.BytesPerSecond is %v, must not be negative; 0 is no limit", field, r.BytesPerSecond))
	}
	if r.Burst < 0 || r.Burst > maxBurst {
		errs = append(errs, fmt.Errorf("%s.Burst is %d, must be from 0 to %d", field, r.Burst, maxBurst))
	}
	return errs
}

const maxBurst = 1 << 30

// A rateLimit is the limit of one direction of a session, which may be changed at any time. It holds the present
// throttle, or nil if there is no limit.
type rateLimit struct{ now atomic.Pointer[throttle] }

// current returns the present throttle, or nil.
func (l *rateLimit) current() *throttle { return l.now.Load() }

// set changes the limit to r, and wakes the goroutine that waits for the one before.
func (l *rateLimit) set(r flow.Rate, done <-chan struct{}) {
	for {
		if old := l.now.Load(); old == nil && l.now.CompareAndSwap(nil, newThrottle(r, nil, done)) || old != nil && l.replace(old, r) {
			return
		}
	}
}

// replace puts a throttle for r, or none, in the place of old, and reports whether old had that place.
func (l *rateLimit) replace(old *throttle, r flow.Rate) bool {
	old.mu.Lock()
	defer old.mu.Unlock()
	next := newThrottle(r, old, old.done)
	if !l.now.CompareAndSwap(old, next) {
		return false
	}
	old.next = next
	close(old.replaced)
	return true
}

// wait waits until a piece may go, or until the session has ended. It returns the throttle that allows the piece, or nil
// if there is no limit. If the limit changes meanwhile, wait waits for the new one.
func (l *rateLimit) wait() *throttle {
	for {
		t := l.current()
		if t == nil || t.wait() {
			return t
		}
	}
}

// A throttle limits the rate of one direction of a session. The data goes in pieces. One goroutine at a time uses a
// throttle.
type throttle struct {
	limiter  *flow.Limiter
	piece    int // the size of a piece, in bytes
	done     <-chan struct{}
	replaced chan struct{} // closed when another throttle, or none, has taken the place of this one

	// mu makes sure that each piece counts for this throttle before it is replaced, or for the next one. No other
	// throttle's mu is taken under it.
	mu   sync.Mutex
	next *throttle // what has taken its place
}

const (
	// pieceTime is how long a piece takes, unless minPiece or maxPiece or the burst decides. A control frame
	// waits for the piece before it.
	pieceTime = 10 * time.Millisecond
	minPiece  = 1 << 10
	maxPiece  = 32 << 10
)

// newThrottle returns a throttle for rate r, or nil if r is no limit. If it takes the place of old, which may be nil, it
// begins with what old would allow at once.
func newThrottle(r flow.Rate, old *throttle, done <-chan struct{}) *throttle {
	var l *flow.Limiter
	if old == nil {
		l = flow.NewLimiter(r)
	} else {
		l = old.limiter.Replace(r, time.Now())
	}
	if l == nil {
		return nil
	}
	piece := min(max(r.BytesPerSecond*pieceTime.Seconds(), minPiece), maxPiece)
	return &throttle{limiter: l, piece: min(int(piece), l.Burst()), done: done, replaced: make(chan struct{})}
}

// ready reports whether a piece may go now. With a nil t, which is no limit, it always may.
func (t *throttle) ready() bool { return t == nil || t.limiter.Delay(t.piece, time.Now()) == 0 }

// wait waits until a piece may go, or until the session has ended. It returns false if t was replaced before that.
func (t *throttle) wait() bool {
	for {
		d := t.limiter.Delay(t.piece, time.Now())
		if d == 0 {
			return true
		}
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-t.replaced:
			timer.Stop()
			return false
		case <-t.done:
			timer.Stop()
			return true
		}
	}
}

// consume charges n bytes, which have gone, to the rate. If t was replaced, it charges what has taken its place. A nil t
// is no limit.
func (t *throttle) consume(n int) {
	for t != nil {
		t = t.charge(n)
	}
}

// charge charges n bytes to t, and returns what has taken its place.
func (t *throttle) charge(n int) (next *throttle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limiter.Reserve(n, time.Now())
	return t.next
}
