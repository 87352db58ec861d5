package flow

import (
	"math"
	"sync/atomic"
)

// An Account is one session's part of a [Budget]. It counts the bytes that the session
// holds, and is the [Allocator] of its windows.
//
// An Account is safe for concurrent use. Only [Account.Wait] blocks.
type Account struct {
	budget    *Budget
	used      atomic.Int64 // bytes held; far below 0 after Close
	committed atomic.Int64 // windows committed to peers; far below 0 after Close
	maxWindow atomic.Int64
	waiters   atomic.Int32 // calls of Wait in budget.waiting

	// Guarded by budget.mu.
	closed     bool
	next, prev *Account // in budget.accounts
	pressure   func()   // see OnPressure; may be nil
	spare      *waiter  // for the next call of Wait; may be nil
}

// closed is the value of both counters after Close. Any later change leaves them below 0,
// and undoes itself.
const closed = math.MinInt64 / 2

// Charge records that the session holds n more bytes, for example because they have
// arrived. It never fails: a session checks [Account.Full] before it reads more.
func (a *Account) Charge(n int) {
	if a.used.Add(int64(n)) < 0 { // closed
		a.used.Add(-int64(n))
		return
	}
	if !a.budget.private {
		a.budget.used.Add(int64(n))
	}
}

// TryCharge does the same as Charge if the budget has room for n bytes, and reports
// whether it had. It is for bytes that the session need not hold, such as copies of data
// that waits to be sent.
func (a *Account) TryCharge(n int) bool {
	b := a.budget
	used := &b.used
	if b.private {
		used = &a.used
	}
	for {
		now := used.Load()
		if now+int64(n) > b.size {
			return false
		}
		if used.CompareAndSwap(now, now+int64(n)) {
			break
		}
	}
	switch {
	case b.private && used.Load() < closed/2: // closed
		used.Add(-int64(n))
	case !b.private && a.used.Add(int64(n)) < 0: // closed
		a.used.Add(-int64(n))
		used.Add(-int64(n))
	}
	return true
}

// Release records that the session no longer holds n of its bytes, and ends the calls of
// Wait that have room now. It panics if the session holds fewer bytes.
func (a *Account) Release(n int) {
	own := a.used.Add(-int64(n))
	if own < 0 {
		a.used.Add(int64(n))
		if own < closed/2 {
			return
		}
		panic("flow: Release of more bytes than were charged")
	}
	b := a.budget
	total := own
	if !b.private {
		total = b.used.Add(-int64(n))
	}
	if total <= b.wakeAt.Load() || a.waiters.Load() > 0 {
		b.wake()
	}
}

// Full reports whether the session should leave its transport unread for now. It costs a
// few atomic loads. A session that holds no bytes is never full.
func (a *Account) Full() bool {
	own := a.used.Load()
	if own <= 0 {
		return false
	}
	b := a.budget
	if b.private {
		return own >= b.size
	}
	return b.used.Load() > a.maxTotal(own)
}

// maxTotal returns the highest use of the whole budget at which an account that itself
// holds own bytes is not full.
func (a *Account) maxTotal(own int64) int64 {
	switch b := a.budget; {
	case own <= 0:
		return math.MaxInt64
	case b.accountCount.Load() <= 1 || own <= a.committed.Load():
		// It is alone, or it holds only bytes that were committed to its peers.
		return b.size - 1
	default:
		// own > hogFactor*(size-used), solved for used.
		return b.size - 1 - own/hogFactor
	}
}

// MaxOverrun returns how many bytes the peer of one stream may send beyond its window: an
// eighth of the budget, but at least 64 KiB and at most 256 MiB. It is meant for
// [ReceiveWindow.AddReceived].
//
// Deployed peers overrun a window when several goroutines write to one stream, because
// each of them uses the whole window. The session must charge these bytes as all others,
// so that the budget bounds them.
func (a *Account) MaxOverrun() int {
	return int(min(max(a.budget.size/reservePart, minOverrun), maxOverrun))
}

const (
	minOverrun = 64 << 10 // more than a frame
	// maxOverrun plus maxWindow is less than 2^31, as offsets requires.
	maxOverrun = 256 << 20
)

// Used returns how many bytes the session holds.
func (a *Account) Used() int { return int(max(0, a.used.Load())) }

// Committed returns how many bytes the windows of the session's streams have been committed: as much may arrive before the
// application reads any.
func (a *Account) Committed() int { return int(max(0, a.committed.Load())) }

// Budget returns the budget that a is a part of.
func (a *Account) Budget() *Budget { return a.budget }

// Close takes the account out of its budget, and gives back all that it holds. Later calls
// of its methods do not change the budget: Full returns false, Wait returns true, and
// Resize commits nothing. Another Close does nothing.
func (a *Account) Close() {
	b := a.budget
	b.mu.Lock()
	if a.closed {
		b.mu.Unlock()
		return
	}
	a.closed = true
	b.remove(a)
	b.mu.Unlock()

	held := a.used.Swap(closed)
	if !b.private {
		b.used.Add(-held)
	}
	b.committed.Add(-a.committed.Swap(closed))
	b.wake()
}
