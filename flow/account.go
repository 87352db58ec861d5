package flow

// An account counts the bytes of one stream, and what its peer was told of them. The
// package documentation draws its offsets. They are counted modulo 2^32, and compared
// by after: no two of them are 2^31 bytes apart.
//
// The zero value is the account of a new stream, whose peer may send InitialWindow
// bytes.
type account struct {
	received uint32
	read     uint32
	limit    biased // the end of the window that the last update told
	edge     biased // the highest limit that was ever told
	window   biased // the size of the window: what the next update adds to read
}

// unread returns how many bytes arrived and were not read.
func (a *account) unread() int { return int(a.received - a.read) }

// size returns the size of the window.
func (a *account) size() int { return int(a.window.value()) }

// overrun reports whether the peer has sent more than tolerated bytes beyond all
// that it was ever granted.
func (a *account) overrun(tolerated int) bool {
	return after(a.received, a.edge.value()+uint32(tolerated))
}

// exhausted reports whether the peer has used all that it was granted, and the
// application has read it: the peer waits for an update.
func (a *account) exhausted() bool {
	return a.read == a.received && (a.read == a.limit.value() || a.read == a.edge.value())
}

// due reports whether the peer should be told, when updates are at least step bytes
// apart.
//
// Steps are a grid over the stream. If each began where the last update was sent,
// which is a little beyond where it was due, three of them would leave less than a
// quarter of the window, and a sender that stands still would wait for that in vain.
func (a *account) due(step uint32) bool {
	return a.gain() > 0 && a.read/step != (a.limit.value()-oddSize(a.size()))/step
}

// gain is how many bytes the peer could send more after an update. It has none of
// those that it has sent beyond the limit already.
func (a *account) gain() int32 {
	gain := int32(a.read + a.window.value() - a.limit.value())
	if beyond := int32(a.received - a.limit.value()); beyond > 0 {
		gain -= beyond
	}
	return gain
}

// next returns what an update says now: the size of the window, and the limit that
// follows from it.
func (a *account) next() (size, limit uint32) {
	size = oddSize(a.size())
	if a.read+size+1 == a.limit.value() {
		size++ // rounding alone takes nothing back
	}
	return size, a.read + size
}

// tell notes that the peer is told this limit.
func (a *account) tell(limit uint32) {
	a.limit = bias(limit)
	if after(limit, a.edge.value()) {
		a.edge = bias(limit)
	}
}

// after reports whether position a lies beyond b, modulo 2^32.
func after(a, b uint32) bool { return int32(a-b) > 0 }

// A biased is a number that is stored less InitialWindow: the zero value stands for
// InitialWindow.
type biased uint32

func bias(n uint32) biased     { return biased(n - InitialWindow) }
func (b biased) value() uint32 { return uint32(b) + InitialWindow }
func oddSize(n int) uint32     { return uint32(odd(n)) }

// odd makes the size of a window odd, so that no limit falls where frames of a usual
// size end by themselves. See roundTrip.
func odd(n int) int { return (n - 1) | 1 }
