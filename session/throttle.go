package session

import (
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// A throttle limits the rate of one direction of a session. The data goes in pieces. One goroutine at a time uses a
// throttle.
type throttle struct {
	limiter *flow.Limiter
	piece   int // the size of a piece, in bytes
	done    <-chan struct{}
}

const (
	// pieceTime is how long a piece takes, unless minPiece or maxPiece or the burst decides. A control frame
	// waits for the piece before it.
	pieceTime = 10 * time.Millisecond
	minPiece  = 1 << 10
	maxPiece  = 32 << 10
)

// newThrottle returns a throttle for rate r, or nil if r is no limit.
func newThrottle(r flow.Rate, done <-chan struct{}) *throttle {
	l := flow.NewLimiter(r)
	if l == nil {
		return nil
	}
	piece := min(max(r.BytesPerSecond*pieceTime.Seconds(), minPiece), maxPiece)
	return &throttle{limiter: l, piece: min(int(piece), l.Burst()), done: done}
}

// ready reports whether a piece may go now. With a nil t, which is no limit, it always may.
func (t *throttle) ready() bool { return t == nil || t.limiter.Delay(t.piece, time.Now()) == 0 }

// wait waits until a piece may go, or until the session has ended.
func (t *throttle) wait() {
	for {
		d := t.limiter.Delay(t.piece, time.Now())
		if d == 0 || !sleep(d, t.done) {
			return
		}
	}
}

// consume charges n bytes, which have gone, to the rate.
func (t *throttle) consume(n int) { t.limiter.Reserve(n, time.Now()) }
