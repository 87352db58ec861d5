package flow

import "time"

// A Granter decides how large a stream's receive window may be. [*Share] is one;
// [MaxWindow] is the simplest. A Granter may also be a [PressureReporter] and a
// [WindowCapper], as *Share is.
//
// A [ReceiveWindow] calls it only from Open, Update, Reclaim and Finish, so it may be
// called with the stream's lock held: it must not block, and must be safe for
// concurrent use if streams share it.
type Granter interface {
	// Grant changes what is promised to a stream's peer from have to the
	// result, which is at most want and may be less than have. A new stream
	// asks with (0, InitialWindow), a finished one gives back with (have, 0).
	Grant(have, want int) int
}

// A PressureReporter is a [Granter] that may ask streams to give up what they do
// not need.
type PressureReporter interface {
	// Pressed reports whether windows that are larger than needed should shrink.
	// It is called by [ReceiveWindow.Update].
	Pressed() bool
}

// A WindowCapper is a [Granter] that bounds windows for a while, whatever they have
// been granted.
type WindowCapper interface {
	// WindowCap returns what the windows of streams with a round-trip time below
	// a millisecond should not exceed at the time now, in bytes; 0 is no bound.
	// It is called by [ReceiveWindow.Update]. See [Share.SetWindowCap].
	WindowCap(now time.Duration) int
}

var (
	_ PressureReporter = (*Share)(nil)
	_ WindowCapper     = (*Share)(nil)
)

// MaxWindow is a [Granter] that gives each stream what it asks for, up to this many
// bytes. It keeps no account.
type MaxWindow int

// Grant returns the smaller of want and m.
func (m MaxWindow) Grant(have, want int) int { return min(want, int(m)) }
