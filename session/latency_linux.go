//go:build !386 && !portable

package session

import "sync"

// What latency has a socket do.

// A turnLock lets one goroutine at a time into a system call on a TCP socket. A nil turnLock lets in all.
//
// The kernel locks a TCP socket in each such call. The thread of another one would sleep until then, and the
// processor with it, and when it wakes the socket may be locked again: where one goroutine wrote without end,
// another that wanted to read slept for up to 0.4 ms. A goroutine can wait in a better way.
type turnLock struct{ mu sync.Mutex }

// turnSpins is for how long enter tries before it waits: some microseconds, which is what most of these
// system calls take.
const turnSpins = 4000

// newTurnLock returns nil if there are no turns.
func (l *latency) newTurnLock() *turnLock {
	if l == nil {
		return nil
	}
	return new(turnLock)
}

// enter is called before a system call that reads or writes, and leave after it.
func (t *turnLock) enter() {
	if t == nil {
		return
	}
	for range turnSpins {
		if t.mu.TryLock() {
			return
		}
	}
	t.mu.Lock()
}

func (t *turnLock) leave() {
	if t != nil {
		t.mu.Unlock()
	}
}

// inlineSteps bounds what is read inline at once.
const inlineSteps = 4

// readInline reads what has arrived if the session's goroutine waits for it: that may come late. It reports whether
// it has woken a Read.
func (t *socket) readInline() (woke bool) {
	if t.r.throttle != nil || !t.mu.TryLock() {
		return false
	}
	defer t.mu.Unlock()
	return t.end == nil && !t.away && t.readInlineLocked()
}

// readInlineLocked is readInline for a caller that holds t.mu.
func (t *socket) readInlineLocked() (woke bool) {
	if t.inlineFunc == nil {
		t.inlineFunc = t.readInlineFD
	}
	t.stuck = false
	_ = t.rc.Control(t.inlineFunc) // an error says that the session is ending
	if t.end != nil || t.stuck {
		// The rest is for the session's goroutine.
		t.calling = true
		t.interrupt()
	}
	woke = t.r.s.latency.hasWoken()
	t.r.beforeWait()
	return woke
}

// readInlineFD is the part of readInline that has the socket. What it leaves in there wakes the session's goroutine.
func (t *socket) readInlineFD(fd uintptr) {
	for range inlineSteps {
		why, empty := t.step(fd)
		if t.stuck = why != waitNothing; t.stuck || empty || t.end != nil {
			return
		}
	}
	var why wait
	why, t.end = t.r.parse()
	t.stuck = why != waitNothing
}
