package flow

// offsets are the positions in one stream that a receiver keeps. The package
// documentation draws them. They are counted modulo 2^32 and compared with after. No two
// of them are 2^31 bytes apart or more.
//
// The zero value is that of a new stream, whose peer may send InitialWindow bytes.
type offsets struct {
	received uint32
	read     uint32
	limit    biased // end of the window in the last update
	edge     biased // highest limit of all updates
	window   biased // size of the window: the next update sets limit to read + window
}

// unread returns how many bytes arrived and were not read.
func (o *offsets) unread() int { return int(o.received - o.read) }

// size returns the size of the window.
func (o *offsets) size() int { return int(o.window.value()) }

// overrun reports whether the peer has sent more than tolerated bytes beyond edge.
func (o *offsets) overrun(tolerated int) bool {
	return after(o.received, o.edge.value()+uint32(tolerated))
}

// exhausted reports whether the peer has used its whole window and the application has
// read all of it: the peer waits for an update.
func (o *offsets) exhausted() bool {
	return o.read == o.received && (o.read == o.limit.value() || o.read == o.edge.value())
}

// updateDue reports whether an update is due, if updates are at least step bytes apart.
//
// Steps are a grid over the stream. If each step began where the last update was sent,
// which is a little after it was due, three steps could leave less than a quarter of the
// window: a blocked sender would wait forever for the fourth.
func (o *offsets) updateDue(step uint32) bool {
	return o.gain() > 0 && o.read/step != (o.limit.value()-oddSize(o.size()))/step
}

// gain returns how many more bytes the peer could send after an update. Bytes that it has
// sent beyond the limit already do not count.
func (o *offsets) gain() int32 {
	gain := int32(o.read + o.window.value() - o.limit.value())
	if beyond := int32(o.received - o.limit.value()); beyond > 0 {
		gain -= beyond
	}
	return gain
}

// nextUpdate returns the window that an update sent now would have, and the limit that
// follows from it.
func (o *offsets) nextUpdate() (size, limit uint32) {
	size = oddSize(o.size())
	if size != o.window.value() && o.read+size+1 == o.limit.value() {
		size++ // rounding must not lower the limit
	}
	return size, o.read + size
}

// setLimit records that an update with this limit is sent.
func (o *offsets) setLimit(limit uint32) {
	o.limit = bias(limit)
	if after(limit, o.edge.value()) {
		o.edge = bias(limit)
	}
}

// after reports whether offset a lies beyond b, modulo 2^32.
func after(a, b uint32) bool { return int32(a-b) > 0 }

// A biased is a number that is stored minus InitialWindow, so that the zero value means
// InitialWindow.
type biased uint32

func bias(n uint32) biased     { return biased(n - InitialWindow) }
func (b biased) value() uint32 { return uint32(b) + InitialWindow }
func oddSize(n int) uint32     { return uint32(odd(n)) }

// odd makes the size of a window odd, so that frames of a usual size do not end at a
// limit by chance. See roundTrip.
func odd(n int) int { return (n - 1) | 1 }
