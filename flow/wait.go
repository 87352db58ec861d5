package flow

import "math"

// A waiter is one blocked call of Wait. The call makes its channel, so that in a
// testing/synctest bubble the channel belongs to the bubble.
type waiter struct {
	account *Account
	ready   chan struct{} // holds one signal
	next    *waiter       // in Budget.waiting
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
	w.next, b.waiting = b.waiting, w
	a.waiters.Add(1)
	b.wakeAt.Store(max(b.wakeAt.Load(), a.maxTotal(a.used.Load())))
	return w
}

func (a *Account) dequeue(w *waiter) {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	for at := &b.waiting; *at != nil; at = &(*at).next {
		if *at == w {
			b.removeWaiter(at)
			break
		}
	}
	if b.waiting == nil {
		b.wakeAt.Store(math.MinInt64)
	}
	select {
	case <-w.ready:
	default:
	}
	a.spare = w
}

// removeWaiter removes *at from the list. at is &b.waiting, or the next of another waiter. The caller holds mu.
func (b *Budget) removeWaiter(at **waiter) {
	w := *at
	*at, w.next = w.next, nil
	w.account.waiters.Add(-1)
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
	if b.waiting == nil {
		return
	}
	wakeAt := int64(math.MinInt64)
	for w := b.waiting; w != nil; w = w.next {
		wakeAt = max(wakeAt, w.account.maxTotal(w.account.used.Load()))
	}
	b.wakeAt.Store(wakeAt)
	for at := &b.waiting; *at != nil; {
		w := *at
		if w.account.Full() {
			at = &w.next
			continue
		}
		b.removeWaiter(at)
		w.ready <- struct{}{} // does not block: a waiter is signalled once per enqueue
	}
	if b.waiting == nil {
		b.wakeAt.Store(math.MinInt64)
	}
}
