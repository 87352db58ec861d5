package flow

// DefaultMaxWindow is the largest window that an [Account] commits to one stream, unless
// [Account.SetMaxWindow] was called.
const DefaultMaxWindow = 16 << 20

const (
	// reservePart: 1/reservePart of a budget is never committed. It is for bytes that
	// arrive without a commitment; the package documentation lists them.
	reservePart = 8
	// openLimit: streams that only opened get at most 1/openLimit of what may be
	// committed. The rest is for streams that show a need.
	openLimit = 4
	// openPart: each of them gets 1/openPart of what is left of that.
	openPart = 4
	// pressureEvery: OnPressure's functions are called at one of this many refusals.
	pressureEvery = 64
)

// SetMaxWindow sets the largest window that Resize commits to one stream from now on. The
// default is [DefaultMaxWindow]. Below [InitialWindow], each new stream has to tell its peer, as
// [ReceiveWindow.Open] reports. No window is smaller than [MinWindow].
func (a *Account) SetMaxWindow(n int) { a.maxWindow.Store(int64(n)) }

// Resize implements [Allocator]. The sum of all committed windows never exceeds seven
// eighths of the budget. The last eighth is for bytes that arrive without a commitment.
//
// A new stream, which asks with (0, InitialWindow), gets at most a quarter of what is left
// of the first quarter of the seven eighths. So the more streams a session has, the
// smaller is the first window of the next one. If that part is no more than [MinWindow],
// which each stream has anyway, it gets nothing. A stream that needs more grows: it gets up
// to half of all that is left. So streams that open and stay idle cannot keep other
// streams from growing.
func (a *Account) Resize(have, want int) int {
	opening := have == 0 && want == InitialWindow // also if maxWindow is smaller
	want = min(want, int(a.maxWindow.Load()))
	if want <= have {
		want = max(0, want)
		a.giveBack(int64(have - want))
		return want
	}
	b := a.budget
	for {
		total := b.committed.Load()
		more := b.available(total, opening)
		if more <= 0 {
			if !opening {
				b.signalPressure()
			}
			return have
		}
		granted := min(int64(want-have), more)
		short := granted < int64(want-have)
		if !b.committed.CompareAndSwap(total, total+granted) {
			continue
		}
		if a.committed.Add(granted) < 0 { // closed
			a.committed.Add(-granted)
			b.committed.Add(-granted)
			return have
		}
		if a.waiters.Load() > 0 {
			b.wake() // an account may hold what is committed: see maxTotal
		}
		if short && !opening && a.UnderPressure() {
			b.signalPressure()
		}
		return have + int(granted)
	}
}

// giveBack reduces what is committed by n bytes.
func (a *Account) giveBack(n int64) {
	if n <= 0 {
		return
	}
	if a.committed.Add(-n) < 0 { // closed
		a.committed.Add(n)
		return
	}
	b := a.budget
	b.committed.Add(-n)
	if b.refused.Load() != 0 && !a.UnderPressure() {
		b.refused.Store(0) // the next refusal calls OnPressure's functions
	}
}

// available returns how many more bytes may be committed to one stream now.
func (b *Budget) available(committed int64, opening bool) int64 {
	limit := b.size - b.size/reservePart
	if opening {
		if more := (limit/openLimit - committed) / openPart; more > minWindow {
			return more
		}
		return 0
	}
	left := limit - committed
	return left - left/2
}

// UnderPressure implements [PressureReporter]. It reports whether less than a quarter of
// what may be committed is left. Then streams that are in use shrink their windows at
// their next update to what they need. Windows of idle streams come back if the session
// calls [ReceiveWindow.Reclaim] for them.
func (a *Account) UnderPressure() bool {
	limit := a.budget.size - a.budget.size/reservePart
	return a.budget.committed.Load() > limit-limit/4
}

// OnPressure sets a function that is called when a stream of any session on the budget was
// refused a larger window because the budget is under pressure. The session should then
// call [ReceiveWindow.Reclaim] for its idle streams. New streams do not cause a call.
// While the pressure lasts, the function is called at one of 64 refusals.
//
// Resize calls the function, possibly with locks of a session held. The function must not
// block or take a lock that a caller of Resize may hold: it should only wake a goroutine.
func (a *Account) OnPressure(f func()) {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	a.pressure = f
}

// signalPressure calls the functions of OnPressure.
func (b *Budget) signalPressure() {
	if b.refused.Add(1)%pressureEvery != 1 {
		return
	}
	b.mu.Lock()
	var signals []func()
	for a := b.accounts; a != nil; a = a.next {
		if a.pressure != nil {
			signals = append(signals, a.pressure)
		}
	}
	b.mu.Unlock()
	for _, f := range signals {
		f()
	}
}
