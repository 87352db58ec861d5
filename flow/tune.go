package flow

import "time"

const (
	// leastWindow is what a stream's window never falls below, promised or not: a
	// stream with no window at all could never show that it needs one. A window of
	// this size is not promised.
	leastWindow = 16<<10 - 1
	// blindWindow is how far a window grows before the round trip is known well,
	// and what a window may always have: more than that does not fit in the cache
	// beside its sender's, and slows down a path without delay.
	blindWindow = 512 << 10
	// topWindow keeps the signed comparisons of both ends right.
	topWindow = 1 << 30
	// firstTrial is what a near path's window grows to first beyond blindWindow.
	firstTrial = blindWindow + blindWindow/2
	// pathRate bounds a window to what a path of 32 Gbit/s holds, in bytes a
	// microsecond: the faster path is the inside of this machine.
	pathRate = 4000
	// blindTime: a sender that takes longer than this for three quarters of the
	// first window is not held up by it on any path of less than 250 ms.
	blindTime = 200_000
	// nearTime is the round trip below which scheduling, not distance, is most of
	// what is measured.
	nearTime = 10_000
	// halfTime is the round trip below which half a window covers it amply, and
	// an update's cost counts.
	halfTime = 1_000
	// A round trip is known well after sampleTime of samples, or trialSamples.
	sampleTime   = 32_000
	trialSamples = staleSamples + 3*chunkSamples
	// staleSamples: so many samples after a growth still show the window before.
	staleSamples = 2
	// chunkSamples: the rate of so many samples together is not chance.
	chunkSamples = 8
	// retrySamples: after so many a failed trial may be repeated.
	retrySamples = 255
	// maxMicros, which is 17 minutes, stands for any longer time. Its double fits in 32 bits.
	maxMicros = 1 << 30
	// slowSamples in a row far above rtt mean that the path has changed.
	slowSamples = 32
)

// Update returns what a window update of this stream says now. Call it right
// before the update is encoded: it assumes that the update is sent, at the time
// now. It is the only call that changes the window's size, by asking g, except for
// Open and Reclaim. After Finish it says what the last update said.
func (w *ReceiveWindow) Update(g Granter, now time.Duration) (consumed, window uint32) {
	limit := w.limit + InitialWindow
	if w.flags&finished != 0 {
		return w.read, uint32(max(0, int32(limit-w.read)))
	}
	w.Open(g)
	if w.read == w.received && (w.read == limit || w.read == w.edge+InitialWindow) {
		// The peer has used all it was ever told of: it waits for this update.
		w.wantGrowth(grow4)
	}
	w.fit(g, now)

	size := uint32(odd(w.Window()))
	if w.read+size+1 == limit {
		size++ // rounding alone takes nothing back
	}
	next := w.read + size
	switch {
	case after(limit, next):
		// For a while the peer goes by the limit before, which shows nothing.
		w.flags = w.flags&^marked | withdrawn
		w.markTime = now
	case w.flags&withdrawn != 0:
		if micros(now-w.markTime) > 2*w.rtt {
			w.flags &^= withdrawn
		}
	case w.flags&marked == 0 && after(next, limit) && !after(w.received, limit):
		if w.pause != 0 && now <= w.markTime {
			break // for the update that ends the longest pause
		}
		w.pause = 0
		w.mark, w.markTime, w.credit = limit, now, limit-w.read
		w.flags = w.flags&^starved | marked
		if w.read == limit {
			w.flags |= starved
		}
	}
	w.limit = next - InitialWindow
	if after(w.limit, w.edge) {
		w.edge = w.limit
	}
	w.flags &^= fed | lowered
	return w.read, size
}

// Reclaim is how an owner takes windows back from streams that do not use them,
// when Share.Pressed says that promises are scarce. Of a stream that nothing has
// arrived on since the last call it lowers the window to the least and gives back
// its promise; due then says that an update must tell the peer. The stream grows
// again once it is used. Bytes that the peer sends before it sees that update
// stay legal.
//
// later says that bytes had arrived since the last call, so that the next one may
// lower the window. If neither is true, no call does anything until bytes arrive, or
// until those that lie there have been read.
func (w *ReceiveWindow) Reclaim(g Granter) (due, later bool) {
	if w.flags&finished != 0 || w.Window() == leastWindow {
		return false, false
	}
	if w.flags&visited == 0 {
		w.flags |= visited
		return false, w.flags&opened != 0
	}
	if w.flags&opened == 0 || w.received != w.read {
		return false, false
	}
	w.resize(g, grant(g, w.promise(), 0))
	w.flags = w.flags&^(grow2|grow4) | lowered
	return true, false
}

// step is how far apart in the stream updates are due: a quarter of the
// window, so that a path that holds three quarters of it never runs dry; half of
// it where there is hardly any path.
func (w *ReceiveWindow) step() uint32 {
	size := w.size + InitialWindow
	if w.rtt != 0 && w.rtt < halfTime {
		return size / 2
	}
	return size / 4
}

// starve notes that the reader has read all that the peer could send without the
// update being timed. If that update cannot have taken effect yet, then both are
// waiting for it: the window is too small for the path.
func (w *ReceiveWindow) starve(now time.Duration) {
	if w.flags&starved != 0 {
		return
	}
	w.flags |= starved
	elapsed := micros(now - w.markTime)
	if w.rtt == 0 {
		if elapsed < blindTime {
			w.wantGrowth(grow4)
		}
		return
	}
	slack := w.rtt / 32
	if w.rtt < halfTime {
		slack = w.rtt / 4
	}
	switch {
	case elapsed < w.rtt/2:
		w.wantGrowth(grow4)
	case elapsed+slack < w.rtt:
		w.wantGrowth(grow2)
	}
}

// wantGrowth asks for a larger window at the next update, if it can be had.
// A reader that was away while bytes lay there was not held up, though it then
// takes all of them at once.
func (w *ReceiveWindow) wantGrowth(by flags) {
	if w.flags&late == 0 && w.grown(by) > int(w.size+InitialWindow) {
		w.flags |= by
	}
}

// grown is the window after growth by the larger factor in by, which may be none.
func (w *ReceiveWindow) grown(by flags) int {
	size := int(w.size + InitialWindow)
	want := 2 * size
	if by&grow4 != 0 {
		want = max(4*size, blindWindow)
	}
	if w.samples < 2 && w.rtt > blindTime {
		// So far even a slow reader may have waited for the first window.
		want = min(want, max(2*size, blindWindow))
	}
	if want > blindWindow && (!w.known() || w.rtt < nearTime) {
		want = blindWindow
		if size >= blindWindow-1 && w.samples >= trialSamples && w.flags&settled == 0 {
			want = 2 * size
			if size <= blindWindow {
				want = firstTrial
			}
		}
	}
	return max(size, odd(min(want, w.most())))
}

// known reports whether the round trip is known well.
func (w *ReceiveWindow) known() bool {
	return w.samples >= trialSamples || uint64(w.samples)*uint64(w.rtt) >= sampleTime
}

// most is the largest window that makes sense on the path, however fast it is.
func (w *ReceiveWindow) most() int {
	return int(min(topWindow, max(blindWindow, uint64(w.rtt)*pathRate)))
}

// Below nearTime a round trip may be work rather than distance: two processes that
// take turns on one core look just like a path that the window limits. But there a
// larger window brings nothing. So each growth, the first by half and later ones to
// the double, is a trial: the rate of every chunk of it must beat the best chunk
// before by a fifth. If one fails, the window goes back and is settled for a while.

// chunk counts a sample of a near path, and judges the rate of every chunkSamples.
func (w *ReceiveWindow) chunk(now time.Duration) {
	switch n := w.samples; {
	case n == staleSamples:
		w.chunkTime, w.chunkRead = now, w.read
	case n > staleSamples && (n-staleSamples)%chunkSamples == 0:
		rate := uint32(uint64(w.read-w.chunkRead) << 10 / uint64(max(1, micros(now-w.chunkTime))))
		w.chunkTime, w.chunkRead = now, w.read
		if w.flags&trial == 0 {
			w.best = max(w.best, rate)
		} else if rate < w.best+w.best/5 {
			w.flags |= failed
		} else if n == trialSamples {
			w.flags &^= trial
			w.best = rate
		}
	case n == retrySamples:
		w.flags &^= settled
		w.samples, w.best = 0, 0
	}
}

// resume is told that bytes come again after the reader had read all there was.
//
// Where the window limits, the updates of a round trip come close together, and
// just one of them ends the longest pause. But whichever is timed, its sample comes
// right before the one at the same place in the next round trip. So after a sample
// that did not show the longest pause, the first update after that pause is timed
// next.
func (w *ReceiveWindow) resume(now time.Duration) {
	switch gap := micros(now - w.turn); {
	case w.flags&marked == 0:
		if gap >= w.pause-w.pause/4 {
			w.pause = 0
		}
	case w.flags&starved == 0:
		w.pause = max(w.pause, gap)
	}
}

// sample ends the timing of an update: the first byte that it allowed has come.
func (w *ReceiveWindow) sample(before uint32, now time.Duration) {
	took := max(1, micros(now-w.markTime))
	idle := uint32(0)
	if w.flags&starved != 0 {
		idle = min(took, micros(now-w.turn))
		if w.credit > 0 { // part of that time the frame was on its way like those before
			busy := uint64(w.received-before) * uint64(took-idle) / uint64(w.credit)
			idle -= uint32(min(uint64(idle), busy))
		}
	}
	w.flags &^= marked | starved
	// A frame that ends right at the limit was cut there: the peer stood still, and
	// went on when the update came. The first limit alone is a round number, where
	// frames end by chance: there the pause has to show as well.
	if before == w.mark && (w.mark != InitialWindow || idle > took/2) {
		w.learn(took, idle, now)
	}
	if before == w.mark && took >= halfTime && w.pause > idle+took/16 {
		w.markTime = now + 2*time.Duration(took)*time.Microsecond // wait for a pause as long until then
	} else {
		w.pause = 0
	}
	if w.rtt != 0 {
		read := w.read - (w.mark - w.credit) // since the update was sent
		need := uint32(uint64(read) * uint64(w.rtt) / uint64(took))
		if w.flags&fed != 0 { // else the reader is what limits
			need = max(need, w.need/2)
		}
		w.need = max(1, need)
	}
}

// learn takes an exact sample of the round trip, of which the reader was idle for
// the given part.
func (w *ReceiveWindow) learn(took, idle uint32, now time.Duration) {
	if w.samples < retrySamples {
		w.samples++
	}
	if w.rtt < nearTime {
		w.chunk(now)
	}
	switch {
	case w.rtt == 0 || took < w.rtt:
		w.rtt = took
		w.slowRun = 0
	case took > w.rtt+w.rtt/8 && took >= nearTime && idle > took/32:
		// Not a queue that our own window fills, but a longer way.
		if w.slowRun++; w.slowRun == slowSamples {
			w.rtt = min(took, 2*w.rtt)
			w.slowRun = 0
		}
	default:
		w.slowRun = 0
	}
}

// fit changes the window's size to what is needed and can be had.
func (w *ReceiveWindow) fit(g Granter, now time.Duration) {
	size := int(w.size + InitialWindow)
	want := size
	switch {
	case w.flags&failed != 0:
		want = min(size, blindWindow-1)
		if size > firstTrial {
			want = odd(size / 2)
		}
		w.flags = w.flags&^(trial|failed) | settled
		w.samples = 0
	case w.flags&(grow2|grow4) != 0:
		want = w.grown(w.flags)
	case size > leastWindow && w.need != 0:
		want = w.shrunk(g)
	}
	want = min(want, w.cap(g, now))
	w.flags &^= grow2 | grow4
	if want == size {
		return
	}
	got := grant(g, w.promise(), want)
	w.flags &^= capped
	if got < want {
		w.flags |= capped
	}
	if got > size && size >= blindWindow-1 && w.rtt < nearTime { // see chunk
		w.flags |= trial
		w.samples = 0
	}
	w.resize(g, got)
}

// cap is the largest window that a WindowCapper allows.
func (w *ReceiveWindow) cap(g Granter, now time.Duration) int {
	if w.rtt != 0 && w.rtt < halfTime {
		if c, ok := g.(WindowCapper); ok {
			if limit := c.WindowCap(now); limit > 0 {
				return odd(min(topWindow, max(limit, leastWindow, 2*int(w.need))))
			}
		}
	}
	return topWindow
}

// shrunk is the window that is left of one that is far larger than what the
// reader takes in a round trip. That is done where the reader lags behind, or
// where promises are scarce; else a stream that pauses would start anew.
func (w *ReceiveWindow) shrunk(g Granter) int {
	size := int(w.size + InitialWindow)
	if most := w.most(); size > most && w.known() {
		return odd(most)
	}
	if size/4 <= int(w.need) {
		return size
	}
	if w.flags&fed == 0 && size > InitialWindow {
		return odd(max(InitialWindow, size/2))
	}
	if p, ok := g.(PressureReporter); ok && p.Pressed() {
		return min(size, odd(max(4*leastWindow, 2*int(w.need))))
	}
	return size
}

// resize makes got, which the Granter has promised, the window.
func (w *ReceiveWindow) resize(g Granter, got int) {
	if got != InitialWindow && got&1 == 0 && got > 0 {
		got = grant(g, got, got-1)
	}
	if got <= leastWindow {
		if got > 0 {
			grant(g, got, 0)
		}
		got = leastWindow
	}
	w.size = uint32(got) - InitialWindow
}

// promise is what the Granter has on account for this stream.
func (w *ReceiveWindow) promise() int {
	if w.flags&opened == 0 || w.flags&finished != 0 || w.Window() == leastWindow {
		return 0
	}
	return int(w.size + InitialWindow)
}

func grant(g Granter, have, want int) int {
	if g == nil {
		return min(want, InitialWindow)
	}
	return max(0, min(want, g.Grant(have, want)))
}

// odd makes a window size odd, so that no limit falls where frames of a usual
// size end by themselves.
func odd(n int) int { return (n - 1) | 1 }

// after reports whether position a lies beyond b, modulo 2^32.
func after(a, b uint32) bool { return int32(a-b) > 0 }

// micros is d in microseconds, at least 0 and at most maxMicros.
func micros(d time.Duration) uint32 {
	return uint32(min(max(0, d/time.Microsecond), maxMicros))
}
