package stream

import "github.com/smuxkit/smuxkit/internal/buffer"

// In this file is how much of a stream's data Write copies, and which Writes are sent from the caller's buffer instead.

const (
	// DefaultMaxSendBuffer is the default of [Shared].MaxSendBuffer: two batches, so that one can be filled while the
	// other is written.
	DefaultMaxSendBuffer = 4 * frameTarget
	// MinMaxSendBuffer and MaxMaxSendBuffer are the limits of [Shared].MaxSendBuffer.
	MinMaxSendBuffer = 1 << 10
	MaxMaxSendBuffer = 1 << 29

	// minBorrow is the length from which a Write is sent from its caller's buffer instead of being copied, with the
	// default MaxSendBuffer. A shorter one costs less if it is copied and sent together with others.
	minBorrow = 32 << 10
	// minBorrowFirst is minBorrow for the first Write after a Read, which is sent alone.
	minBorrowFirst = 4 << 10
)

// The buffers of the pending data take at most twice its bytes, and one smallest buffer. sendHalf.charged counts them.
const _ int32 = 2*MaxMaxSendBuffer + buffer.Min

// maxPending returns how much copied data of a stream may wait to be sent.
func (c *Shared) maxPending() int {
	if c.MaxSendBuffer <= 0 {
		return DefaultMaxSendBuffer
	}
	return min(max(c.MaxSendBuffer, MinMaxSendBuffer), MaxMaxSendBuffer)
}

// minBorrow returns the length from which a Write is sent from its caller's buffer: about a quarter of MaxSendBuffer, or
// a 32nd if the Write is the first one after a Read.
func (c *Shared) minBorrow(first bool) int {
	n := minBorrow
	if first {
		n = minBorrowFirst
	}
	if size := c.MaxSendBuffer; size <= 0 || size == DefaultMaxSendBuffer {
		return n
	}
	return int(int64(n) * int64(c.maxPending()) / DefaultMaxSendBuffer)
}
