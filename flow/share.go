package flow

import (
	"math"
	"sync/atomic"
)

// A Share is one session's part of a [Budget]. It is the [Granter] of the session's
// windows. All methods are safe for concurrent use; only Wait blocks.
type Share struct {
	budget    *Budget
	used      atomic.Int64 // unread bytes; far below 0 once the session has left
	promised  atomic.Int64 // windows promised; far below 0 once it has left
	waiters   atomic.Int32 // calls of Wait that are queued
	maxWindow atomic.Int64
	pressure  atomic.Pointer[func()]

	windowCap atomic.Int64 // see SetWindowCap: bytes,
	capUntil  atomic.Int64 // and until when, in nanoseconds

	spare *waiter // guarded by budget.mu
}

// gone is what the counters of a share that left are set to, so that every
// later change finds them below 0 and undoes itself.
const gone = math.MinInt64 / 2

// Take records that n bytes arrived and are kept unread.
func (s *Share) Take(n int) {
	if s.used.Add(int64(n)) < 0 { // left
		s.used.Add(-int64(n))
		return
	}
	if !s.budget.private {
		s.budget.used.Add(int64(n))
	}
}

// TryTake does what Take does if the bytes fit in the budget, and reports whether it
// did. It is for what waits to be sent, where the holder can do without.
func (s *Share) TryTake(n int) bool {
	b := s.budget
	used := &b.used
	if b.private {
		used = &s.used
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
	case b.private && used.Load() < gone/2: // left
		used.Add(-int64(n))
	case !b.private && s.used.Add(int64(n)) < 0: // left
		s.used.Add(-int64(n))
		used.Add(-int64(n))
	}
	return true
}

// Return records that n bytes were read or thrown away, and ends the calls of Wait that
// have room now. It panics if more is returned than was taken.
func (s *Share) Return(n int) {
	own := s.used.Add(-int64(n))
	if own < 0 {
		s.used.Add(int64(n))
		if own < gone/2 {
			return // left
		}
		panic("flow: Return of more bytes than were taken")
	}
	b := s.budget
	total := own
	if !b.private {
		total = b.used.Add(-int64(n))
	}
	if total <= b.wakeAt.Load() || s.waiters.Load() > 0 {
		b.wake()
	}
}

// Full reports whether the session should leave its transport unread for now. It
// costs a few atomic loads. A session that holds no unread byte is never full.
func (s *Share) Full() bool {
	own := s.used.Load()
	if own <= 0 {
		return false
	}
	b := s.budget
	if b.private {
		return own >= b.size
	}
	return b.used.Load() > s.ceiling(own)
}

// ceiling is the highest use of the whole budget at which a share that itself
// holds own bytes is not full.
func (s *Share) ceiling(own int64) int64 {
	switch b := s.budget; {
	case own <= 0:
		return math.MaxInt64
	case b.members.Load() <= 1 || own <= s.promised.Load():
		// Alone, or what it holds was promised to its peers and so allowed for.
		return b.size - 1
	default:
		// own > hogFactor*(size-used), solved for used.
		return b.size - 1 - own/hogFactor
	}
}

// MaxOverrun returns how far the peer of one stream may send beyond its window, in
// bytes: an eighth of the budget, shared or not, but at least 64 KiB and at most
// 256 MiB. It is meant for [ReceiveWindow.Received].
//
// Deployed peers overrun a window when several goroutines write to one stream: each of
// them uses all of it. These bytes must be taken from the budget like all others, so
// that it bounds them together with what was promised.
func (s *Share) MaxOverrun() int {
	return int(min(max(s.budget.size/reservePart, minOverrun), maxOverrun))
}

const (
	minOverrun = 64 << 10 // more than a frame
	// maxOverrun and a window of maxWindow are together less than 2^31, as ReceiveWindow needs it.
	maxOverrun = 256 << 20
)

// Used returns how many bytes the session holds unread.
func (s *Share) Used() int { return int(max(0, s.used.Load())) }

// Leave takes the session off the budget, and gives back all that it holds. Later
// calls of the share's methods have no effect on the budget: Full returns false, Wait
// returns true, and Grant promises nothing new. Leaving twice does nothing.
func (s *Share) Leave() {
	b := s.budget
	b.mu.Lock()
	if _, member := b.shares[s]; !member {
		b.mu.Unlock()
		return
	}
	delete(b.shares, s)
	b.members.Add(-1)
	b.mu.Unlock()

	held := s.used.Swap(gone)
	if !b.private {
		b.used.Add(-held)
	}
	b.promised.Add(-s.promised.Swap(gone))
	b.wake()
}
