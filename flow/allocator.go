package flow

import "time"

// An Allocator decides how large the receive windows of streams may be. [*Account] is one;
// [MaxWindow] is the simplest. An Allocator may also implement [PressureReporter],
// [WindowCapper] and [PathReporter].
//
// A [ReceiveWindow] calls its Allocator only from Open, Update, Reclaim and Finish. So the
// methods may run with the lock of a stream held: they must not block. They must be safe
// for concurrent use if several streams use the Allocator.
type Allocator interface {
	// Resize changes the window that is committed to the peer of one stream from
	// have bytes to the result, which is at most want. The result may be less
	// than have. A new stream asks with (0, InitialWindow), a finished one gives
	// its window back with (have, 0).
	Resize(have, want int) int
}

// A PressureReporter is an [Allocator] that may ask streams to give up the part of their
// windows that they do not need.
type PressureReporter interface {
	// UnderPressure reports whether windows that are larger than needed should
	// shrink. [ReceiveWindow.Update] calls it.
	UnderPressure() bool
}

// A WindowCapper is an [Allocator] that limits windows for a while.
//
// It is for short messages that share a path within one machine with bulk data. Such a
// path holds next to no data, so what a window allows waits in the transport, in front of
// the messages. Small windows cost some of the rate.
type WindowCapper interface {
	// WindowCap returns the largest window in bytes at the time now, or 0 for no
	// limit. [ReceiveWindow.Update] calls it and lowers a larger window, but not
	// below 16 KiB, and not below what the application reads in two round trips.
	// Streams with a round trip of a millisecond or more ignore the limit, and so do those that have not measured theirs.
	WindowCap(now time.Duration) int
}

// A PathReporter is an [Allocator] that knows the round-trip time of the transport, as the
// kernel does for a TCP socket. Without it, a window does not know the round trip before the
// peer has had to wait for an update.
type PathReporter interface {
	// PathRTT returns the round-trip time of the transport without queues, or 0 if it
	// is unknown. [ReceiveWindow.Update] calls it once for each stream, for the first
	// update that is due because of data that was read. A time below 10 ms changes
	// nothing.
	PathRTT() time.Duration
}

var _ PressureReporter = (*Account)(nil)

// MaxWindow is an [Allocator] that gives each stream the window that it asks for, up to
// this many bytes. The streams share no budget.
type MaxWindow int

// Resize returns the smaller of want and m.
func (m MaxWindow) Resize(have, want int) int { return min(want, int(m)) }
