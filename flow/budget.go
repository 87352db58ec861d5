package flow

import (
	"math"
	"sync"
	"sync/atomic"
)

// A Budget bounds the bytes that sessions hold unread, and the windows that they
// promise to their peers. Any number of sessions may share one: each joins it and
// gets a [Share].
//
// A session goes on receiving while the budget is not used up. If other sessions have
// joined, it stops as well when it holds more than four times what is free. So a
// session that nobody reads takes at most four fifths of the budget, and leaves room
// for those that are read. A session that holds nothing may always take one frame. All
// sessions together hold at most the budget, and one frame each.
//
// What they promise is described at [Share.Grant].
//
// A Budget is safe for concurrent use. It starts no goroutine and no timer.
type Budget struct {
	size    int64
	private bool         // made by NewShare: has one share, and used is not kept
	members atomic.Int32 // shares that joined and have not left
	used    atomic.Int64 // unread bytes of all shares
	wakeAt  atomic.Int64 // a waiter may go on when used falls to this

	promised atomic.Int64  // windows promised by all shares
	refused  atomic.Uint32 // grants that were cut since promises are scarce

	mu      sync.Mutex
	shares  map[*Share]struct{} // guarded by mu
	waiting []*waiter           // guarded by mu
}

// hogFactor bounds a session that shares a budget: it stops taking when it holds
// more than hogFactor times what is free. At 4 one unread session leaves a fifth
// of the budget to the others, two leave a ninth.
const hogFactor = 4

// NewBudget returns a Budget of this many bytes. A budget below one byte is one byte:
// each of its sessions holds at most one frame.
func NewBudget(bytes int) *Budget {
	b := &Budget{size: max(1, int64(bytes)), shares: make(map[*Share]struct{})}
	b.wakeAt.Store(math.MinInt64)
	return b
}

// NewShare returns the only [Share] of a new [Budget]. It costs less per frame than
// NewBudget(bytes).Join().
func NewShare(bytes int) *Share {
	b := NewBudget(bytes)
	b.private = true
	return b.Join()
}

// Join adds a session to the budget. [Share.Leave] takes it off again.
func (b *Budget) Join() *Share {
	s := &Share{budget: b}
	s.maxWindow.Store(DefaultMaxWindow)
	b.mu.Lock()
	b.shares[s] = struct{}{}
	b.members.Add(1)
	b.mu.Unlock()
	return s
}

// Size returns the size of the budget in bytes.
func (b *Budget) Size() int { return int(b.size) }

// Used returns how many bytes all sessions hold unread.
func (b *Budget) Used() int {
	if !b.private {
		return int(b.used.Load())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.shares {
		return s.Used()
	}
	return 0
}

// Promised returns the sum of the windows that are promised to peers.
func (b *Budget) Promised() int { return int(b.promised.Load()) }

// Budget returns the budget that s is a share of.
func (s *Share) Budget() *Budget { return s.budget }
