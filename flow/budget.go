package flow

import (
	"math"
	"sync"
	"sync/atomic"
)

// A Budget bounds the bytes that one or more sessions hold, such as unread data, and the
// windows that they commit to their peers. Each session has an [Account] of the budget.
//
// A session may receive while the budget is not used up. If other sessions have accounts,
// it must also stop when it holds more than four times what is free. So a session that
// nobody reads takes at most four fifths of the budget and leaves room for the others. A
// session that holds nothing may always take one frame. All sessions together hold at
// most the budget and one frame each.
//
// [Account.Resize] says how windows are committed.
//
// A Budget is safe for concurrent use. It starts no goroutine and no timer.
type Budget struct {
	size         int64
	private      bool         // made by NewAccount: has one account, which alone counts used bytes
	accountCount atomic.Int32 // open accounts
	used         atomic.Int64 // bytes that all accounts hold
	wakeAt       atomic.Int64 // Release wakes waiters when used is at most this

	committed atomic.Int64  // windows of all accounts
	refused   atomic.Uint32 // requests that were refused or cut since the budget is under pressure

	mu       sync.Mutex
	accounts []*Account // open ones; guarded by mu
	waiting  []*waiter  // guarded by mu
}

// hogFactor bounds a session that shares a budget: it stops receiving when it holds more
// than hogFactor times what is free. With 4, one unread session leaves a fifth of the
// budget to the others, two leave a ninth.
const hogFactor = 4

// NewBudget returns a Budget of this many bytes. A budget of less than one byte counts as
// one byte: each of its sessions holds at most one frame.
func NewBudget(bytes int) *Budget {
	b := &Budget{size: max(1, int64(bytes))}
	b.wakeAt.Store(math.MinInt64)
	return b
}

// NewAccount returns the only [Account] of a new [Budget], for a session that shares its
// budget with no other one. It costs less per frame than NewBudget(bytes).NewAccount().
func NewAccount(bytes int) *Account {
	b := NewBudget(bytes)
	b.private = true
	return b.NewAccount()
}

// NewAccount adds an account for one session to the budget. [Account.Close] removes it.
func (b *Budget) NewAccount() *Account {
	a := &Account{budget: b}
	a.maxWindow.Store(DefaultMaxWindow)
	b.mu.Lock()
	defer b.mu.Unlock()
	a.index = int32(len(b.accounts))
	b.accounts = append(b.accounts, a)
	b.accountCount.Add(1)
	return a
}

// remove takes an open account off the list; the last one gets its place. The caller holds b.mu.
func (b *Budget) remove(a *Account) {
	end := len(b.accounts) - 1
	last := b.accounts[end]
	b.accounts[a.index], last.index = last, a.index
	b.accounts[end] = nil
	b.accounts = b.accounts[:end]
	a.index = -1
	b.accountCount.Add(-1)
}

// Size returns the size of the budget in bytes.
func (b *Budget) Size() int { return int(b.size) }

// Used returns how many bytes all sessions hold.
func (b *Budget) Used() int {
	if !b.private {
		return int(b.used.Load())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.accounts {
		return a.Used()
	}
	return 0
}

// Committed returns the sum of the windows that are committed to peers.
func (b *Budget) Committed() int { return int(b.committed.Load()) }
