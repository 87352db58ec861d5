package flow

import "time"

// DefaultMaxWindow is the largest window that a [Share] grants a stream, unless
// [Share.SetMaxWindow] was called.
const DefaultMaxWindow = 16 << 20

const (
	// reservePart: one of this many parts of a budget is never promised. It is for
	// what comes without a promise; the package documentation has a list.
	reservePart = 8
	// openLimit: streams that only opened are promised one of this many parts of what
	// may be promised, so that most of it is left to those that work.
	openLimit = 4
	// openPart: each of them gets one of this many parts of what is left of that, so
	// that it is never used up.
	openPart = 4
	// pressureEvery: one of this many refused grants in a row calls OnPressure's
	// functions.
	pressureEvery = 64
)

// SetMaxWindow sets the largest window that Grant gives a stream, from now on. The
// default is [DefaultMaxWindow].
func (s *Share) SetMaxWindow(n int) { s.maxWindow.Store(int64(n)) }

// Grant implements [Granter]. The sum of all promises on a budget never exceeds seven
// eighths of it; the last eighth stays free for what comes without a promise.
//
// A new stream asks with (0, InitialWindow). It gets at most a quarter of what is left
// of the first quarter of the seven eighths, so that the streams of a busy session start
// with less and less. A stream that needs more gets it by growing: it is granted up to
// half of all that is left. So streams that open and stay idle cannot keep streams that
// work from growing.
func (s *Share) Grant(have, want int) int {
	b := s.budget
	want = min(want, int(s.maxWindow.Load()))
	if want <= have {
		want = max(0, want)
		if back := int64(have - want); back > 0 {
			if s.promised.Add(-back) < 0 { // left
				s.promised.Add(back)
				return want
			}
			b.promised.Add(-back)
			if b.refused.Load() != 0 && !s.Pressed() {
				b.refused.Store(0) // the next time it is scarce is another one
			}
		}
		return want
	}
	opening := have == 0 && want == InitialWindow
	for {
		total := b.promised.Load()
		more := b.grantable(total, opening)
		if more <= 0 {
			if !opening {
				b.signalPressure()
			}
			return have
		}
		granted := min(int64(want-have), more)
		short := granted < int64(want-have)
		if !b.promised.CompareAndSwap(total, total+granted) {
			continue
		}
		if s.promised.Add(granted) < 0 { // left
			s.promised.Add(-granted)
			b.promised.Add(-granted)
			return have
		}
		if s.waiters.Load() > 0 {
			b.wake() // what was too much without the promise may now be allowed
		}
		if short && !opening && s.Pressed() {
			b.signalPressure()
		}
		return have + int(granted)
	}
}

// grantable is how much one stream may be promised in addition now.
func (b *Budget) grantable(promised int64, opening bool) int64 {
	limit := b.size - b.size/reservePart
	if opening {
		return (limit/openLimit - promised) / openPart
	}
	left := limit - promised
	return left - left/2
}

// Pressed implements [PressureReporter]. It reports whether promises are scarce: less
// than a quarter of what may be promised is left. Streams that work then shrink their
// windows to what they need at their next update. Windows of idle streams come back if
// their session offers them to [ReceiveWindow.Reclaim].
func (s *Share) Pressed() bool {
	limit := s.budget.size - s.budget.size/reservePart
	return s.budget.promised.Load() > limit-limit/4
}

// SetWindowCap bounds the windows of the share's streams until the time until, of the
// clock that [ReceiveWindow.Update] is told. A limit of 0 is no bound. At its next
// update a window that is larger is lowered to limit, but not below what its
// application reads in two round trips, nor below 16 KiB. Windows of streams with a
// round-trip time of a millisecond or more stay as they are.
//
// It is for bulk data beside short messages where the path holds next to nothing: what
// a window allows beyond what the path holds waits in the transport, in front of the
// messages. Small windows cost some of the rate.
func (s *Share) SetWindowCap(limit int, until time.Duration) {
	s.windowCap.Store(int64(max(limit, 0)))
	s.capUntil.Store(int64(until)) // last, so that the limit of before is not in force for longer
}

// WindowCap implements [WindowCapper]. It returns the limit of the last SetWindowCap if
// that is in force at the time now, and 0 otherwise.
func (s *Share) WindowCap(now time.Duration) int {
	if int64(now) >= s.capUntil.Load() {
		return 0
	}
	return int(s.windowCap.Load())
}

// OnPressure sets a function that is called when a stream of any session on the budget
// was refused growth because promises are scarce: it is time to offer idle streams to
// [ReceiveWindow.Reclaim]. Streams that only open do not cause it. While that lasts, it
// is called at one of 64 refusals.
//
// It is called from Grant, possibly with locks of the session held. It must neither
// block nor take a lock that a caller of Grant may hold: it should only wake a
// goroutine.
func (s *Share) OnPressure(f func()) { s.pressure.Store(&f) }

// signalPressure tells the sessions that promises are scarce.
func (b *Budget) signalPressure() {
	if b.refused.Add(1)%pressureEvery != 1 {
		return
	}
	b.mu.Lock()
	var signals []func()
	for s := range b.shares {
		if f := s.pressure.Load(); f != nil && *f != nil {
			signals = append(signals, *f)
		}
	}
	b.mu.Unlock()
	for _, f := range signals {
		f()
	}
}
