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
	accounts *Account // list of the open ones; guarded by mu
	waiting  *waiter  // list of the blocked calls of Wait; guarded by mu
}

// hogFactor bounds a session that shares a budget: it stops receiving when it holds more
// than hogFactor times what is free. With 4, one unread session leaves a fifth of the
// budget to the others, two leave a ninth.
const hogFactor = 4

// NewBudget returns a Budget of this many bytes. A budget of less than one byte counts as
// one byte: each of its sessions holds at most one frame.
func NewBudget(bytes int) *Budget {
	b := new(Budget)
	b.init(bytes)
	return b
}

func (b *Budget) init(bytes int) {
	b.size = max(1, int64(bytes))
	b.wakeAt.Store(math.MinInt64)
}

// NewAccount returns the only [Account] of a new [Budget], for a session that shares its
// budget with no other one. It costs less per frame than NewBudget(bytes).NewAccount().
func NewAccount(bytes int) *Account {
	var both struct { // in one piece of memory
		budget  Budget
		account Account
	}
	both.budget.init(bytes)
	both.budget.private = true
	both.budget.add(&both.account)
	return &both.account
}

// NewAccount adds an account for one session to the budget. [Account.Close] removes it.
func (b *Budget) NewAccount() *Account {
	a := new(Account)
	b.add(a)
	return a
}

// add opens an account.
func (b *Budget) add(a *Account) {
	a.budget = b
	a.maxWindow.Store(DefaultMaxWindow)
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.next = b.accounts; a.next != nil {
		a.next.prev = a
	}
	b.accounts = a
	b.accountCount.Add(1)
}

// remove takes an open account off the list. The caller holds b.mu.
func (b *Budget) remove(a *Account) {
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		b.accounts = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	}
	a.prev, a.next = nil, nil
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
	if b.accounts == nil {
		return 0
	}
	return b.accounts.Used()
}

// Committed returns the sum of the windows that are committed to peers.
func (b *Budget) Committed() int { return int(b.committed.Load()) }
