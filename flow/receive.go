package flow

import "time"

// A ReceiveWindow counts what arrived and what was read on one stream, tells when
// the peer should hear of it, and sizes the window as path and reader need it
// (see the package documentation for the model). The zero value is the window of
// a new stream.
//
// All of a stream's calls must give the time since one and the same origin, from
// a monotonic clock; every n is at least 0 and less than 2^30.
//
// A ReceiveWindow is not safe for concurrent use. No method blocks or allocates.
type ReceiveWindow struct {
	// Times of the caller's clock.
	markTime  time.Duration // when the update that is timed was sent; see also withdrawn and pause
	turn      time.Duration // when the reader last had read all there was, or bytes came after that
	chunkTime time.Duration // when the chunk began

	// Positions in the stream, modulo 2^32. Those of a new stream's window are
	// kept less InitialWindow, so that the zero value is right.
	received uint32
	read     uint32
	limit    uint32 // limit of the last update, less InitialWindow
	edge     uint32 // highest limit ever told, less InitialWindow
	size     uint32 // window of the last update, less InitialWindow

	// The update that is being timed; valid while marked.
	mark   uint32 // limit before that update: what lies beyond is owed to it
	credit uint32 // what the peer could send at that time without it

	// What the timed updates taught, in microseconds (see micros) and bytes.
	pause uint32 // longest pause that the update does not explain; see resume
	rtt   uint32 // least time from an update to what it allowed; 0: not known
	need  uint32 // what the application read in a round trip, at its recent best

	// The chunk of samples that is being taken on a near path.
	chunkRead uint32 // read when it began
	best      uint32 // best rate of a chunk, in 1/1024 bytes a microsecond

	flags   flags
	samples uint8 // samples since the window grew, up to retrySamples
	slowRun uint8 // samples in a row that were far above rtt
}

type flags uint16

const (
	opened    flags = 1 << iota // the first window is registered with the Granter
	finished                    // no update is due any more
	lowered                     // size was lowered, and an update must say so
	grow2                       // the window should be twice as large
	grow4                       // the window should be four times as large
	capped                      // the Granter gave less than was wanted
	trial                       // the window grew, and has to prove its worth
	failed                      // it has not
	settled                     // a trial of a larger window has failed
	withdrawn                   // the limit was lowered lately, at markTime
	marked                      // an update is being timed
	starved                     // the reader has read all up to mark
	fed                         // the reader has read all there was since the last update
	visited                     // nothing has arrived since the last visit of Reclaim
	lying                       // the reader has not read since bytes came at turn
	late                        // the last time it was like that, it lasted long
)

// Open registers the stream's first window with g. If g grants less than
// InitialWindow, due is true, and an update should follow the stream's SYN (or
// the peer's) at once. Without Open the first Update registers it. A nil g
// grants InitialWindow and no more, here and everywhere.
func (w *ReceiveWindow) Open(g Granter) (due bool) {
	if w.flags&(opened|finished) != 0 {
		return false
	}
	w.flags |= opened
	if got := grant(g, 0, InitialWindow); got < InitialWindow {
		w.resize(g, got)
		w.flags |= lowered
		return true
	}
	return false
}

// Received counts n payload bytes that arrived. ErrWindow means that the peer has
// sent more than overrun bytes beyond the highest limit it was ever told. Such bytes
// are counted all the same, and the peer gets no room for more until they are read. See
// Share.MaxOverrun; with 0 the window is strict.
func (w *ReceiveWindow) Received(n int, now time.Duration, overrun int) error {
	before := w.received
	w.received += uint32(n)
	w.flags &^= visited
	waited := before == w.read && n > 0
	if waited {
		w.resume(now)
	}
	if w.flags&marked != 0 && after(w.received, w.mark) {
		w.sample(before, now)
	}
	if waited {
		w.turn = now
		w.flags |= lying
	}
	if after(w.received, w.edge+InitialWindow+uint32(overrun)) {
		return ErrWindow
	}
	return nil
}

// Read counts n bytes that the application took out of those that arrived. If due
// is true an update should be sent: call Update when it can be. It stays true in
// later calls until then.
func (w *ReceiveWindow) Read(n int, now time.Duration) (due bool) {
	w.read += uint32(n)
	if w.flags&lying != 0 && n > 0 {
		w.flags &^= lying | late
		if w.rtt != 0 && micros(now-w.turn) > max(nearTime, w.rtt)/8 {
			w.flags |= late
		}
	}
	if w.read == w.received {
		w.flags |= fed
		if n > 0 {
			w.turn = now
		}
		if w.flags&marked != 0 && w.read == w.mark {
			w.starve(now)
		}
	}
	return w.Due()
}

// Due reports whether an update should be sent, as the last Read did.
func (w *ReceiveWindow) Due() bool {
	if w.flags&(finished|lowered) != 0 {
		return w.flags&finished == 0
	}
	if w.flags&(grow2|grow4) != 0 && w.flags&capped == 0 {
		return true
	}
	// What the peer would gain by an update; it has none of what it overran after
	// its window was lowered.
	gain := int32(w.read + w.size - w.limit)
	if over := int32(w.received - w.limit - InitialWindow); over > 0 {
		gain -= over
	}
	// Steps are a grid over the stream: if each began where the last update was
	// sent, which is a little beyond what was due, three of them would leave less
	// than a quarter, and a sender that stands still would wait for that in vain.
	size := uint32(odd(w.Window()))
	step := w.step()
	return gain > 0 && w.read/step != (w.limit+InitialWindow-size)/step
}

// Unread returns how many bytes arrived and were not read.
func (w *ReceiveWindow) Unread() int { return int(w.received - w.read) }

// Window returns the stream's present window: what the last update said, or the
// next will say if it was lowered since.
func (w *ReceiveWindow) Window() int { return int(w.size + InitialWindow) }

// RTT returns the round-trip time that was measured so far; 0 if none was. It
// includes what the peer took to send.
func (w *ReceiveWindow) RTT() time.Duration { return time.Duration(w.rtt) * time.Microsecond }

// Finish ends the stream's updates and gives its promise back to g: its FIN has
// come, or nobody will read it any more.
func (w *ReceiveWindow) Finish(g Granter) {
	if have := w.promise(); have > 0 {
		grant(g, have, 0)
	}
	w.flags |= finished
}
