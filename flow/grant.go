package flow

// A Granter decides how large a stream's receive window may be. *Share is one;
// MaxWindow is the simplest. ReceiveWindow calls it only from Open, Update,
// Reclaim and Finish, so a Granter may be called with the stream's lock held: it
// must not block, and must be safe for concurrent use if streams share it.
//
// A Granter that also has a method Pressed() bool, as *Share does, is asked by it
// whether windows that are larger than needed should shrink. One that has a method
// LocalLimit(now time.Duration) int, as *Share does, is asked by Update for the bound that
// Share.LimitLocal is about; 0 is none.
type Granter interface {
	// Grant changes what is promised to a stream's peer from have to the
	// result, which is at most want and may be less than have. A new stream
	// asks with (0, InitialWindow), a finished one gives back with (have, 0).
	Grant(have, want int) int
}

// MaxWindow is a Granter that gives every stream what it wants up to so many
// bytes, and keeps no account.
type MaxWindow int

// Grant returns the smaller of want and m.
func (m MaxWindow) Grant(have, want int) int { return min(want, int(m)) }
