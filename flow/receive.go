package flow

import "time"

// A ReceiveWindow counts what arrives and what is read on one stream, decides when the peer
// needs an update, and sizes the window to what the path and the reader need. The package
// documentation explains how. The zero value is the window of a new stream. It must not be
// copied after its first use.
//
// The parameter now is a time on a monotonic clock, with the same origin in all calls for a
// stream. The parameter n is at least 0 and less than 2^30.
//
// A ReceiveWindow is not safe for concurrent use. No method blocks. No method allocates,
// except that Update allocates once per stream.
type ReceiveWindow struct {
	offsets offsets
	phase   phase
	lowered bool   // the window was lowered, and an update must tell the peer
	idle    bool   // no bytes have arrived since the last Reclaim
	tuner   *tuner // nil until an update is due because of data that was read
}

// phase is what the Allocator knows of a window.
//
//	phaseNew --- Open, or the first Update --> phaseOpen --- Finish --> phaseFinished
type phase uint8

const (
	phaseNew      phase = iota // the Allocator does not know the stream
	phaseOpen                  // the Allocator has committed the window
	phaseFinished              // the window was given back, and no update is due
)

// A tuner is what a window knows of the path and of the reader. It is allocated by the
// first update that is due because of data that was read. So a stream that carries little
// data costs no more memory, also if its window is lowered.
type tuner struct {
	path roundTrip
	size sizer
}

func newTuner(o *offsets, alloc Allocator, now time.Duration) *tuner {
	t := &tuner{path: roundTrip{waitChanged: now}}
	t.size.spanRead, t.size.spanBegan = o.read, now
	if p, ok := alloc.(PathReporter); ok {
		t.path.transport = since(0, p.PathRTT())
	}
	if o.limit != o.edge {
		t.path.state = withdrawn // an earlier update lowered the limit
	}
	return t
}

// Open asks alloc for the first window of the stream. If alloc grants less than InitialWindow, due
// is true: an update should follow the SYN of the stream at once, whichever side sent it.
// Without Open the first Update asks alloc. A nil alloc grants InitialWindow and no more, here and
// in the other methods.
func (w *ReceiveWindow) Open(alloc Allocator) (due bool) {
	if w.phase != phaseNew {
		return false
	}
	w.phase = phaseOpen
	if got := resize(alloc, 0, InitialWindow); got < InitialWindow {
		w.setSize(alloc, got)
		w.lowered = true
	}
	return w.lowered
}

// AddReceived records that n bytes of payload arrived. The error is ErrWindow if the peer
// has sent more than overrun bytes beyond the highest limit of all updates. Such bytes
// count all the same, and the peer gets no room for more until they are read. See
// [Account.MaxOverrun]; with 0 no overrun is tolerated.
func (w *ReceiveWindow) AddReceived(n int, now time.Duration, overrun int) error {
	before := w.offsets.received
	w.offsets.received += uint32(n)
	w.idle = false
	if w.tuner != nil {
		w.tuner.onReceived(&w.offsets, before, now)
	}
	if w.offsets.overrun(overrun) {
		return ErrWindow
	}
	return nil
}

// AddRead records that the application read n of the bytes that arrived. It reports whether
// an update is due, as UpdateDue does. The caller then sends the result of Update when it
// can.
func (w *ReceiveWindow) AddRead(n int, now time.Duration) (due bool) {
	w.offsets.read += uint32(n)
	if w.tuner != nil {
		w.tuner.onRead(&w.offsets, n, now)
	}
	return w.UpdateDue()
}

// UpdateDue reports whether an update is due. It stays due until Update is called.
func (w *ReceiveWindow) UpdateDue() bool {
	switch {
	case w.phase == phaseFinished:
		return false
	case w.lowered || w.tuner != nil && w.tuner.size.wantsMore():
		return true
	}
	return w.offsets.updateDue(w.step())
}

// maxStep bounds the distance between two updates, so that a path may hold nearly all of a large window: 256 MiB over
// 1 Gbit/s and 100 ms, which the largest window just fills, had 0.94 of the rate with quarters (row link-256m of
// internal/bench), and 1.02 with this.
const maxStep = 512 << 10

// step returns the distance in bytes between two updates: a quarter of the window, so that
// a path that holds three quarters of it never runs dry, but at most maxStep. With a very
// short round trip it is half of the window.
func (w *ReceiveWindow) step() uint32 {
	size := w.offsets.window.value()
	if rtt := w.rtt(); rtt != 0 && rtt < shortRTT {
		return size / 2
	}
	return min(size/4, maxStep)
}

// Received returns how many bytes have arrived, modulo 2^32.
func (w *ReceiveWindow) Received() uint32 { return w.offsets.received }

// Unread returns how many bytes arrived and were not read.
func (w *ReceiveWindow) Unread() int { return w.offsets.unread() }

// Window returns the size of the stream's window in bytes. It is the window of the last
// update or, if it was lowered since, of the next one.
func (w *ReceiveWindow) Window() int { return w.offsets.size() }

// RTT returns the round-trip time that was measured so far, or 0 if none was. It includes
// the time that the peer takes to send.
func (w *ReceiveWindow) RTT() time.Duration { return w.rtt().duration() }

func (w *ReceiveWindow) rtt() micros {
	if w.tuner == nil {
		return 0
	}
	return w.tuner.path.minRTT
}

// UsesTime reports whether the window uses the parameter now of AddReceived and AddRead. It does
// not before the first update that is due because of data that was read. Until then callers may
// pass 0, and need not read a clock.
func (w *ReceiveWindow) UsesTime() bool { return w.tuner != nil }

// Update returns the fields of a window update. The update counts as sent at the time now,
// so call Update right before the update is encoded. Only Open, Update and Reclaim ask alloc
// for another window. After Finish, Update returns the limit of the last update.
func (w *ReceiveWindow) Update(alloc Allocator, now time.Duration) (consumed, window uint32) {
	o := &w.offsets
	if w.phase == phaseFinished {
		return o.read, uint32(max(0, int32(o.limit.value()-o.read)))
	}
	w.Open(alloc)
	if w.tuner == nil && (!w.lowered || o.exhausted()) {
		w.tuner = newTuner(o, alloc, now)
	}
	if w.tuner != nil {
		w.tune(alloc, now)
	}
	size, limit := o.nextUpdate()
	if w.tuner != nil {
		w.tuner.path.onUpdate(o, limit, now)
	}
	o.setLimit(limit)
	w.lowered = false
	return o.read, size
}

// tune asks alloc for the window that the sizer wants.
func (w *ReceiveWindow) tune(alloc Allocator, now time.Duration) {
	o, z, rtt := &w.offsets, &w.tuner.size, w.tuner.path.minRTT
	size := o.size()
	if o.exhausted() {
		z.requestGrowth(growFourfold, rtt, size)
	}
	if rtt == 0 {
		rtt = w.tuner.path.farRTT()
	}
	if want := z.nextSize(size, rtt, alloc, now); want != size {
		got := resize(alloc, w.committed(), want)
		z.onResized(size, want, got, rtt)
		w.setSize(alloc, got)
	}
	z.readerDrained = false
}

// A ReclaimResult is the result of [ReceiveWindow.Reclaim].
type ReclaimResult uint8

const (
	// NothingToReclaim: no call does anything until bytes arrive, or until the unread
	// bytes have been read.
	NothingToReclaim ReclaimResult = iota
	// ReclaimLater: bytes had arrived since the last call. The next call may lower the
	// window.
	ReclaimLater
	// Reclaimed: the window was lowered. An update is due.
	Reclaimed
)

// Reclaim takes back the window of an idle stream. A session calls it for its streams when
// [Account.UnderPressure] returns true. If no bytes have arrived since the last call, and
// none are unread, Reclaim lowers the window to the minimum and gives back what alloc had
// committed. The window grows again when the stream is used. Bytes that the peer sends
// before it receives the update are not an overrun.
func (w *ReceiveWindow) Reclaim(alloc Allocator) ReclaimResult {
	if w.phase == phaseFinished || w.Window() == minWindow {
		return NothingToReclaim
	}
	if !w.idle {
		w.idle = true
		if w.phase == phaseOpen {
			return ReclaimLater
		}
		return NothingToReclaim
	}
	if w.phase != phaseOpen || w.Unread() != 0 {
		return NothingToReclaim
	}
	w.setSize(alloc, resize(alloc, w.committed(), 0))
	if w.tuner != nil {
		w.tuner.size.growth = noGrowth
	}
	w.lowered = true
	return Reclaimed
}

// Finish ends the stream's updates and gives its window back to alloc. Call it when the peer's
// FIN has arrived, or when the application will read no more.
func (w *ReceiveWindow) Finish(alloc Allocator) {
	if have := w.committed(); have > 0 {
		resize(alloc, have, 0)
	}
	w.phase = phaseFinished
}

// setSize makes got bytes, which the Allocator has committed, the size of the window.
func (w *ReceiveWindow) setSize(alloc Allocator, got int) {
	if got != InitialWindow && got&1 == 0 && got > 0 {
		got = resize(alloc, got, got-1)
	}
	if got <= minWindow {
		if got > 0 {
			resize(alloc, got, 0)
		}
		got = minWindow
	}
	w.offsets.window = bias(uint32(got))
}

// committed returns how many bytes the Allocator has committed for this stream.
func (w *ReceiveWindow) committed() int {
	if w.phase != phaseOpen || w.Window() == minWindow {
		return 0
	}
	return w.Window()
}

func resize(alloc Allocator, have, want int) int {
	if alloc == nil {
		return min(want, InitialWindow)
	}
	return max(0, min(want, alloc.Resize(have, want)))
}

// onReceived is called when bytes from position before on have arrived.
func (t *tuner) onReceived(o *offsets, before uint32, now time.Duration) {
	resumed := before == o.read && o.received != before
	if resumed {
		t.path.onResumed(now)
	}
	if t.path.timing() && after(o.received, t.path.mark) {
		read := o.read - (t.path.mark - t.path.headroom) // since the update was sent
		s := t.path.takeSample(o, before, now)
		if s.exact {
			t.size.countSample(o.read, t.path.minRTT, now)
			t.path.addExact(s)
		}
		t.size.measureNeed(o.read, read, s.took, t.path.minRTT, o.size(), now)
	}
	if resumed {
		t.path.waitChanged = now
		t.size.unreadSinceArrival = true
	}
}

// onRead is called when the application has read n bytes.
func (t *tuner) onRead(o *offsets, n int, now time.Duration) {
	rtt := t.path.minRTT
	if n > 0 {
		t.size.onRead(since(t.path.waitChanged, now), rtt)
	}
	if o.read != o.received {
		return
	}
	t.size.readerDrained = true
	if far := t.path.farRTT(); far != 0 {
		t.size.measureRound(o.read, far, o.size(), now)
	}
	if n > 0 {
		t.path.waitChanged = now
	}
	if elapsed, blocked := t.path.onDrained(o.read, now); blocked {
		t.size.onBlocked(elapsed, rtt, o.size())
	}
}
