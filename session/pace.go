package session

import (
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// A pacer holds one direction of a session to a rate, by having it go in pieces. It
// is used by one goroutine at a time.
type pacer struct {
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

// newPacer returns nil if there is no limit.
func newPacer(r flow.Rate, done <-chan struct{}) *pacer {
	l := flow.NewLimiter(r)
	if l == nil {
		return nil
	}
	piece := min(max(r.BytesPerSecond*pieceTime.Seconds(), minPiece), maxPiece)
	return &pacer{limiter: l, piece: min(int(piece), l.Burst()), done: done}
}

// ready reports whether a piece may go. Without a limit, which is a nil p, it always may.
func (p *pacer) ready() bool { return p == nil || p.limiter.Delay(p.piece, time.Now()) == 0 }

// wait waits until a piece may go, or the session has ended.
func (p *pacer) wait() {
	for {
		d := p.limiter.Delay(p.piece, time.Now())
		if d == 0 || !sleep(d, p.done) {
			return
		}
	}
}

// went says that n bytes have gone.
func (p *pacer) went(n int) { p.limiter.Reserve(n, time.Now()) }
