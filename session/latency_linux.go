//go:build !386 && !portable

package session

// In this file, a socket reads inline for latency.

// inlineSteps bounds what is read inline at once.
const inlineSteps = 4

// readInline reads what has arrived, if the session's goroutine waits for it: the scheduler may run that one late. It
// reports whether it has woken a Read.
func (t *socket) readInline() (woke bool) {
	if t.r.throttle.current() != nil || !t.mu.TryLock() {
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
