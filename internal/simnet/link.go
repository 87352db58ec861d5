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

	// A segment is the unit of delivery. Smaller ones resemble packets more and
	// cost more wakeups; these limits keep 256 MiB at 1 Gbit/s well under a second
	// and a slow link's steps short beside any delay worth simulating.
	maxSegment     = 8 << 10
	maxSegmentTime = 2 * time.Millisecond

	// unratedFlight is what a link without a rate keeps in flight. Without a
	// bound, a writer that never stops would never be stopped: virtual time does
	// not pass while it runs.
	unratedFlight = 16 << 20
)

// Link says what one direction of a pair is like. The zero Link is a fast local
// connection: no delay, no limit of its rate, default buffers.
//
// A writer whose peer does not read gets rid of
// Buffer + ReadBuffer + Rate × Delay bytes before it blocks. One whose
// direction is stalled before the first byte gets rid of exactly Buffer bytes.
type Link struct {
	// Rate is in bytes a second. Zero is no limit, but for 16 MiB in flight.
	Rate int64
	// Delay is how long a byte travels after it was sent: half a round trip.
	Delay time.Duration
	// Buffer is how many bytes the writer may have written that are not sent yet,
	// like a socket's send buffer. Zero is 256 KiB. What is in flight does not count.
	Buffer int
	// ReadBuffer is how many bytes may have arrived that nobody read yet, like a
	// socket's receive buffer. Zero is 256 KiB. With less than a Segment the rate is
	// not reached.
	ReadBuffer int
	// Segment is the most bytes that are delivered as one, at the moment the last
	// of them arrives. Zero is 8 KiB, or what the rate sends in 2 ms if that is less.
	// A link without a rate or with nothing queued delivers each Write by itself,
	// and does not split it.
	Segment int
	// MaxRead is the most bytes that one Read returns. Zero is no limit.
	MaxRead int
	// MaxWrite is the most bytes that one Write takes; it reports the rest with
	// io.ErrShortWrite. Zero is no limit.
	MaxWrite int
	// Log, if set, is called for each event of this direction, in order of time. It
	// is called with the pair locked: it must not block or use the pair.
	Log func(Event)
}

// withDefaults returns l with its zero fields filled in. It panics if one is
// negative, which is a mistake in the test.
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

// window returns how many bytes may be in flight or unread together.
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

// sending returns how long the link takes to send n bytes without a pause,
// rounded up to a nanosecond.
func (l Link) sending(n int64) time.Duration {
	hi, lo := bits.Mul64(uint64(n), uint64(time.Second))
	lo, carry := bits.Add64(lo, uint64(l.Rate)-1, 0)
	d, _ := bits.Div64(hi+carry, lo, uint64(l.Rate))
	return time.Duration(d)
}
