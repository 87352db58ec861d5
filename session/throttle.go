package session

import (
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// A throttle holds one direction of a session to a rate, by having it go in pieces. It
// is used by one goroutine at a time.
type throttle struct {
	limiter *flow.Limiter
	piece   int // bytes of the transport at once
	done    <-chan struct{}
}

const (
	// pieceTime bounds how long a piece, and so a control frame behind it, takes.
	pieceTime = 10 * time.Millisecond
	minPiece  = 1 << 10
	maxPiece  = 32 << 10
)

// newThrottle returns nil if there is no limit.
func newThrottle(r flow.Rate, done <-chan struct{}) *throttle {
	l := flow.NewLimiter(r)
	if l == nil {
		return nil
	}
	piece := min(max(r.BytesPerSecond*pieceTime.Seconds(), minPiece), maxPiece)
	return &throttle{limiter: l, piece: min(int(piece), l.Burst()), done: done}
}

// ready reports whether a piece may go. Without a limit, which is a nil t, it always may.
func (t *throttle) ready() bool { return t == nil || t.limiter.Delay(t.piece, time.Now()) == 0 }

// wait waits until a piece may go, or the session has ended.
func (t *throttle) wait() {
	for {
		d := t.limiter.Delay(t.piece, time.Now())
		if d == 0 || !sleep(d, t.done) {
			return
		}
	}
}

// consume says that n bytes have gone.
func (t *throttle) consume(n int) { t.limiter.Reserve(n, time.Now()) }
