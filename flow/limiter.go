package flow

import (
	"context"
	"math"
	"time"

	"golang.org/x/time/rate"
)

// A Limiter limits bytes to a [Rate]. It is a token bucket. A nil *Limiter is no limit: its
// methods return at once. A Limiter is safe for concurrent use.
type Limiter struct {
	bucket *rate.Limiter
}

// NewLimiter returns a Limiter of rate r. It returns nil, which is no limit, if
// BytesPerSecond is not positive or is infinite. A Burst below 1 means the default.
func NewLimiter(r Rate) *Limiter {
	if !(r.BytesPerSecond > 0) || math.IsInf(r.BytesPerSecond, 1) {
		return nil
	}
	burst := r.Burst
	if burst < 1 {
		burst = int(max(1, min(r.BytesPerSecond/10, math.MaxInt32)))
	}
	return &Limiter{bucket: rate.NewLimiter(rate.Limit(r.BytesPerSecond), burst)}
}

// Replace returns a Limiter of rate r to use from now on instead of l, which it does not
// change. As many bytes may pass at once as with l, but at most the new Burst. If more
// bytes were taken from l than it allows by now, the new rate has to make up for all of
// them first. So a limit that is replaced again and again allows no more bytes. Bytes for
// which a call of [Limiter.Wait] still waits, or for which [Limiter.Reserve] has returned
// a wait, pass when l has said, and count for the new Limiter.
//
// A nil l, which is no limit, is replaced by a full bucket. Replace returns nil in the
// same cases as [NewLimiter].
func (l *Limiter) Replace(r Rate, now time.Time) *Limiter {
	next := NewLimiter(r)
	if l == nil || next == nil {
		return next
	}
	burst := next.bucket.Burst()
	missing := math.Ceil(float64(burst) - l.bucket.TokensAt(now))
	next.bucket.SetBurstAt(now, math.MaxInt) // the bucket stays as full as it is
	for missing > 0 {
		n := min(missing, maxTaken)
		next.bucket.ReserveN(now, int(n))
		missing -= n
	}
	next.bucket.SetBurstAt(now, burst)
	return next
}

// maxTaken is how much Replace takes from a bucket at once: the greatest power of two that is an int.
const maxTaken = math.MaxInt>>1 + 1

// Burst returns how many bytes may pass at once, or [math.MaxInt] if there is no limit. A
// sender whose writes are at most Burst bytes stays within the limit in every interval.
func (l *Limiter) Burst() int {
	if l == nil {
		return math.MaxInt
	}
	return l.bucket.Burst()
}

// Rate returns the limit with its actual Burst, or the zero Rate if there is no limit.
func (l *Limiter) Rate() Rate {
	if l == nil {
		return Rate{}
	}
	return Rate{BytesPerSecond: float64(l.bucket.Limit()), Burst: l.bucket.Burst()}
}

// Reserve takes n bytes from the bucket at the time now, and returns how long the caller
// must wait before they may pass; 0 means now. It does not block. The bytes are taken
// even if the caller sends nothing. More than Burst bytes are taken in pieces of that
// size, and the result is the wait for the last piece.
func (l *Limiter) Reserve(n int, now time.Time) time.Duration {
	if l == nil || n <= 0 {
		return 0
	}
	var wait time.Duration
	for burst := l.bucket.Burst(); n > 0; n -= burst {
		wait = l.bucket.ReserveN(now, min(n, burst)).DelayFrom(now)
	}
	return wait
}

// Wait takes n bytes from the bucket and blocks until they may pass. It takes more than
// Burst bytes in pieces of that size. If ctx is done first, Wait puts back the bytes of
// the piece that it waits for, and returns ctx.Err().
func (l *Limiter) Wait(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil || l == nil {
		return err
	}
	for burst := l.bucket.Burst(); n > 0; n -= burst {
		now := time.Now()
		r := l.bucket.ReserveN(now, min(n, burst))
		wait := r.DelayFrom(now)
		if wait == 0 {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			r.Cancel()
			return ctx.Err()
		}
	}
	return nil
}

// Delay returns how long to wait until n bytes may pass at once, if no bytes are taken
// meanwhile. More than Burst bytes count as Burst. Delay takes no bytes.
func (l *Limiter) Delay(n int, now time.Time) time.Duration {
	if l == nil {
		return 0
	}
	missing := float64(min(n, l.bucket.Burst())) - l.bucket.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	wait := math.Ceil(missing / float64(l.bucket.Limit()) * 1e9)
	if wait >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(wait)
}
