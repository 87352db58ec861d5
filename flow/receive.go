package flow

import "time"

// A ReceiveWindow counts what arrived and what was read on one stream, tells when the
// peer should hear of it, and sizes the window as the path and the reader need it. The
// package documentation has the model. The zero value is the window of a new stream.
// It must not be copied after its first use.
//
// All calls for a stream must give the time since one and the same origin, from a
// monotonic clock. Each n is at least 0 and less than 2^30.
//
// A ReceiveWindow is not safe for concurrent use. No method blocks. Update allocates
// once, what it takes to measure the path; no other method allocates.
type ReceiveWindow struct {
	account account
	phase   phase
	lowered bool // the window was lowered, and an update must say so
	idle    bool // nothing has arrived since the last Reclaim
	tuner   *tuner
}

// phase is what the Granter knows of a window.
//
//	phaseNew --- Open, or the first Update --> phaseOpen --- Finish --> phaseFinished
type phase uint8

const (
	phaseNew      phase = iota
	phaseOpen           // the Granter has the window on account
	phaseFinished       // and has it back: no update is due any more
)

// A tuner is what a window learns of the path and the reader. It exists from the first
// update on that is due to data which was read: a stream that carries little, or nothing,
// costs no more memory if its window is lowered.
type tuner struct {
	path roundTrip
	size sizer
}

func newTuner(a *account, now time.Duration) *tuner {
	t := &tuner{path: roundTrip{turned: now}}
	if a.limit != a.edge {
		t.path.state = withdrawn // by an update that came before
	}
	return t
}

// Open registers the stream's first window with g. If g grants less than
// InitialWindow, due is true, and an update should follow the stream's SYN (or the
// peer's) at once. Without Open the first Update registers it. A nil g grants
// InitialWindow and no more, here and everywhere.
func (w *ReceiveWindow) Open(g Granter) (due bool) {
	if w.phase != phaseNew {
		return false
	}
	w.phase = phaseOpen
	if got := grant(g, 0, InitialWindow); got < InitialWindow {
		w.resize(g, got)
		w.lowered = true
	}
	return w.lowered
}

// Received counts n payload bytes that arrived. ErrWindow means that the peer has
// sent more than overrun bytes beyond the highest limit it was ever told. Such bytes
// are counted all the same, and the peer gets no room for more until they are read. See
// [Share.MaxOverrun]; with 0 the window is strict.
func (w *ReceiveWindow) Received(n int, now time.Duration, overrun int) error {
	before := w.account.received
	w.account.received += uint32(n)
	w.idle = false
	if w.tuner != nil {
		w.tuner.received(&w.account, before, now)
	}
	if w.account.overrun(overrun) {
		return ErrWindow
	}
	return nil
}

// Read counts n bytes that the application took out of those that arrived. If due is
// true an update should be sent: call Update when it can be. It stays true in later
// calls until then.
func (w *ReceiveWindow) Read(n int, now time.Duration) (due bool) {
	w.account.read += uint32(n)
	if w.tuner != nil {
		w.tuner.read(&w.account, n, now)
	}
	return w.Due()
}

// Due reports whether an update should be sent, as the last Read did.
func (w *ReceiveWindow) Due() bool {
	switch {
	case w.phase == phaseFinished:
		return false
	case w.lowered || w.tuner != nil && w.tuner.size.wantsMore():
		return true
	}
	return w.account.due(w.step())
}

// step is how far apart in the stream updates are due: a quarter of the window, so that
// a path that holds three quarters of it never runs dry; half of it where there is
// hardly any path.
func (w *ReceiveWindow) step() uint32 {
	size := w.account.window.value()
	if rtt := w.rtt(); rtt != 0 && rtt < shortRTT {
		return size / 2
	}
	return size / 4
}

// Unread returns how many bytes arrived and were not read.
func (w *ReceiveWindow) Unread() int { return w.account.unread() }

// Window returns the stream's present window: what the last update said, or the next
// will say if it was lowered since.
func (w *ReceiveWindow) Window() int { return w.account.size() }

// RTT returns the round-trip time that was measured so far; 0 if none was. It includes
// what the peer took to send.
func (w *ReceiveWindow) RTT() time.Duration { return w.rtt().duration() }

func (w *ReceiveWindow) rtt() micros {
	if w.tuner == nil {
		return 0
	}
	return w.tuner.path.least
}

// Update returns what a window update of this stream says now. Call it right before
// the update is encoded: it assumes that the update is sent, at the time now. It is
// the only call that changes the window's size, by asking g, except for Open and
// Reclaim. After Finish it says what the last update said.
func (w *ReceiveWindow) Update(g Granter, now time.Duration) (consumed, window uint32) {
	a := &w.account
	if w.phase == phaseFinished {
		return a.read, uint32(max(0, int32(a.limit.value()-a.read)))
	}
	w.Open(g)
	if w.tuner == nil && (!w.lowered || a.exhausted()) {
		w.tuner = newTuner(a, now)
	}
	if w.tuner != nil {
		w.tune(g, now)
	}
	size, limit := a.next()
	if w.tuner != nil {
		w.tuner.path.update(a, limit, now)
	}
	a.tell(limit)
	w.lowered = false
	return a.read, size
}

// tune gives the window the size that it should have, if it can be had.
func (w *ReceiveWindow) tune(g Granter, now time.Duration) {
	a, z, rtt := &w.account, &w.tuner.size, w.tuner.path.least
	size := a.size()
	if a.exhausted() {
		z.grow(growFourfold, rtt, size)
	}
	if want := z.next(size, rtt, g, now); want != size {
		got := grant(g, w.promise(), want)
		z.granted(size, want, got, rtt)
		w.resize(g, got)
	}
	z.readerDrained = false
}

// Reclaim is how an owner takes windows back from streams that do not use them, when
// [Share.Pressed] says that promises are scarce. Of a stream that nothing has arrived
// on since the last call it lowers the window to the least and gives back its promise;
// due then says that an update must tell the peer. The stream grows again once it is
// used. Bytes that the peer sends before it sees that update stay legal.
//
// later says that bytes had arrived since the last call, so that the next one may
// lower the window. If neither is true, no call does anything until bytes arrive, or
// until those that lie there have been read.
func (w *ReceiveWindow) Reclaim(g Granter) (due, later bool) {
	if w.phase == phaseFinished || w.Window() == minWindow {
		return false, false
	}
	if !w.idle {
		w.idle = true
		return false, w.phase == phaseOpen
	}
	if w.phase != phaseOpen || w.Unread() != 0 {
		return false, false
	}
	w.resize(g, grant(g, w.promise(), 0))
	if w.tuner != nil {
		w.tuner.size.growth = noGrowth
	}
	w.lowered = true
	return true, false
}

// Finish ends the stream's updates and gives its promise back to g: its FIN has come,
// or nobody will read it any more.
func (w *ReceiveWindow) Finish(g Granter) {
	if have := w.promise(); have > 0 {
		grant(g, have, 0)
	}
	w.phase = phaseFinished
}

// resize makes got, which the Granter has promised, the window.
func (w *ReceiveWindow) resize(g Granter, got int) {
	if got != InitialWindow && got&1 == 0 && got > 0 {
		got = grant(g, got, got-1)
	}
	if got <= minWindow {
		if got > 0 {
			grant(g, got, 0)
		}
		got = minWindow
	}
	w.account.window = bias(uint32(got))
}

// promise is what the Granter has on account for this stream.
func (w *ReceiveWindow) promise() int {
	if w.phase != phaseOpen || w.Window() == minWindow {
		return 0
	}
	return w.Window()
}

func grant(g Granter, have, want int) int {
	if g == nil {
		return min(want, InitialWindow)
	}
	return max(0, min(want, g.Grant(have, want)))
}

// received is called when bytes have arrived from position before on.
func (t *tuner) received(a *account, before uint32, now time.Duration) {
	resumed := before == a.read && a.received != before
	if resumed {
		t.path.resume(now)
	}
	if t.path.timing() && after(a.received, t.path.mark) {
		read := a.read - (t.path.mark - t.path.credit) // since the update was sent
		s := t.path.cross(a, before, now)
		if s.exact {
			t.size.count(a.read, t.path.least, now)
			t.path.learn(s)
		}
		t.size.measure(a.read, read, s.took, t.path.least, now)
	}
	if resumed {
		t.path.turned = now
		t.size.unreadSinceArrival = true
	}
}

// read is called when the application has read n bytes.
func (t *tuner) read(a *account, n int, now time.Duration) {
	rtt := t.path.least
	if n > 0 {
		t.size.attend(since(t.path.turned, now), rtt)
	}
	if a.read != a.received {
		return
	}
	t.size.readerDrained = true
	if n > 0 {
		t.path.turned = now
	}
	if elapsed, waiting := t.path.drain(a.read, now); waiting {
		t.size.starve(elapsed, rtt, a.size())
	}
}
