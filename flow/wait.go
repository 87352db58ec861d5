package flow

import "math"

// A waiter is one blocked call of Wait. The call makes its channel, so that in a
// testing/synctest bubble the channel belongs to the bubble.
type waiter struct {
	account *Account
	ready   chan struct{} // holds one signal
}

// Wait blocks until the session is not Full, and then returns true. If done is closed
// first it returns false. A nil done is never closed.
func (a *Account) Wait(done <-chan struct{}) bool {
	for a.Full() {
		w := a.enqueue()
		// Check again, as only now every Release sees the waiter.
		if a.Full() {
			select {
			case <-w.ready:
			case <-done:
				a.dequeue(w)
				return !a.Full()
			}
		}
		a.dequeue(w)
	}
	return true
}

func (a *Account) enqueue() *waiter {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	w := a.spare
	if a.spare = nil; w == nil {
		w = &waiter{account: a, ready: make(chan struct{}, 1)}
	}
	b.waiting = append(b.waiting, w)
	a.waiters.Add(1)
	b.wakeAt.Store(max(b.wakeAt.Load(), a.maxTotal(a.used.Load())))
	return w
}

func (a *Account) dequeue(w *waiter) {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.waiting {
		if b.waiting[i] == w {
			b.removeWaiter(i)
			break
		}
	}
	if len(b.waiting) == 0 {
		b.wakeAt.Store(math.MinInt64)
	}
	select {
	case <-w.ready:
	default:
	}
	a.spare = w
}

// removeWaiter removes waiter i from the list. The caller holds mu.
func (b *Budget) removeWaiter(i int) {
	b.waiting[i].account.waiters.Add(-1)
	last := len(b.waiting) - 1
	b.waiting[i], b.waiting[last] = b.waiting[last], nil
	b.waiting = b.waiting[:last]
}

// wake ends the calls of Wait of all accounts that are no longer full.
//
// No wake-up is lost. Both enqueue and wake raise wakeAt to the waiter's maxTotal before
// the last check of Full. A Release that makes Full false after that check finds a wakeAt
// that is high enough, and calls wake. Whatever raises maxTotal itself always calls wake:
// a Release or Resize of the account's own, or the Close of another one.
func (b *Budget) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return
	}
	at := int64(math.MinInt64)
	for _, w := range b.waiting {
		at = max(at, w.account.maxTotal(w.account.used.Load()))
	}
	b.wakeAt.Store(at)
	for i := len(b.waiting) - 1; i >= 0; i-- {
		if w := b.waiting[i]; !w.account.Full() {
			b.removeWaiter(i)
			w.ready <- struct{}{} // does not block: a waiter is signalled once per enqueue
		}
	}
	if len(b.waiting) == 0 {
		b.wakeAt.Store(math.MinInt64)
	}
}
