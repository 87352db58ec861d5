package simnet

import (
	"math/bits"
	"time"
)

// Rates in bytes a second, to be multiplied: 10 * simnet.Mbit.
const (
	Kbit = 1000 / 8
	Mbit = 1000 * Kbit
	Gbit = 1000 * Mbit
)

const (
	defaultBuffer     = 256 << 10
	defaultReadBuffer = 256 << 10

	// A segment is the unit of delivery. Smaller segments are more like packets and cost more wakeups. With these
	// limits 256 MiB at 1 Gbit/s take well under a second, and the steps of a slow link are short against its
	// delay.
	maxSegment     = 8 << 10
	maxSegmentTime = 2 * time.Millisecond

	// unratedFlight is the number of bytes in flight on a link without a rate. Without this bound an endless
	// writer would run for ever, as virtual time does not pass while it runs.
	unratedFlight = 16 << 20
)

// Link describes one direction of a pair. The zero Link is a fast local connection: no delay, no rate limit,
// default buffers.
//
// A writer whose peer does not read can write Buffer + ReadBuffer + Rate × Delay bytes before it blocks. If the
// direction is stalled before the first byte, it can write exactly Buffer bytes.
type Link struct {
	// Rate is in bytes a second. Zero is no limit except 16 MiB in flight.
	Rate int64
	// Delay is the time that a byte travels after it was sent: half a round trip.
	Delay time.Duration
	// Buffer is the number of bytes that may be written and not sent, like a socket's send buffer. Zero is 256
	// KiB. Bytes in flight do not count.
	Buffer int
	// ReadBuffer is the number of bytes that may have arrived and are unread, like a socket's receive buffer. Zero
	// is 256 KiB. With less than a Segment the link does not reach its rate.
	ReadBuffer int
	// Segment is the most bytes that are delivered at once, when the last of them arrives. Zero is 8 KiB, or what
	// the rate sends in 2 ms if that is less. A link without a rate, or with nothing queued, delivers each Write
	// as one.
	Segment int
	// MaxRead is the most bytes that one Read returns. Zero is no limit.
	MaxRead int
	// MaxWrite is the most bytes that one Write takes. A longer Write returns io.ErrShortWrite. Zero is no limit.
	MaxWrite int
	// Log, if set, is called for each event of this direction, in order of time. The pair is locked: Log must not
	// block or use it.
	Log func(Event)
}

// withDefaults returns l with defaults for its zero fields. It panics if a field is negative, which is a mistake
// in the test.
func (l Link) withDefaults() Link {
	if l.Rate < 0 || l.Delay < 0 || l.Buffer < 0 || l.ReadBuffer < 0 || l.Segment < 0 || l.MaxRead < 0 || l.MaxWrite < 0 {
		panic("simnet: a field of Link is negative")
	}
	if l.Buffer == 0 {
		l.Buffer = defaultBuffer
	}
	if l.ReadBuffer == 0 {
		l.ReadBuffer = defaultReadBuffer
	}
	if l.Segment == 0 {
		l.Segment = maxSegment
		if l.Rate > 0 {
			l.Segment = max(1, int(min(maxSegment, l.Rate/int64(time.Second/maxSegmentTime))))
		}
	}
	return l
}

// window returns the number of bytes that may be in flight or unread.
func (l Link) window() int64 {
	if l.Rate == 0 {
		if l.Delay == 0 {
			return int64(l.ReadBuffer)
		}
		return int64(l.ReadBuffer) + unratedFlight
	}
	hi, lo := bits.Mul64(uint64(l.Rate), uint64(l.Delay))
	flight, _ := bits.Div64(hi, lo, uint64(time.Second))
	return int64(l.ReadBuffer) + int64(flight)
}

// sending returns the time that the link takes to send n bytes without a pause, rounded up to a nanosecond.
func (l Link) sending(n int64) time.Duration {
	hi, lo := bits.Mul64(uint64(n), uint64(time.Second))
	lo, carry := bits.Add64(lo, uint64(l.Rate)-1, 0)
	d, _ := bits.Div64(hi+carry, lo, uint64(l.Rate))
	return time.Duration(d)
}
