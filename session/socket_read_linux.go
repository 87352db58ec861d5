//go:build !386 && !portable

package session

import (
	"io"
	"net"
	"time"
)

// lookSteps bounds what is read in one look.
const lookSteps = 4

// read waits for data without holding a buffer, and reads large payloads straight to where they are wanted.
// While it waits, others may look.
func (t *socket) read() error {
	for {
		err := t.rc.Read(t.readFunc)
		if end := t.ended(nil); end != nil {
			return end
		}
		if !t.called() && t.r.s.out.failure() == nil {
			return t.ended(t.error("read", err))
		}
		// look or interrupt has woken this goroutine: look at what has come once more.
		if err := t.conn.SetReadDeadline(time.Time{}); err != nil {
			return t.ended(t.error("read", err))
		}
	}
}

// interrupt wakes read by a deadline.
func (t *socket) interrupt() { t.conn.SetReadDeadline(time.Unix(1, 0)) }

// readable reads what has come. It reports whether reading has ended.
func (t *socket) readable(fd uintptr) (done bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.end == nil {
		if t.step(fd) {
			if t.end = t.r.s.out.failure(); t.end == nil {
				t.r.rest()
				return false
			}
			// What the peer had sent has been read.
		}
	}
	return true
}

// ended makes err, if not nil, the reason why reading has ended, unless it has, and returns it.
func (t *socket) ended(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.end == nil {
		t.end = err
	}
	return t.end
}

// called reports whether look has woken the goroutine that reads.
func (t *socket) called() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	called := t.calling
	t.calling = false
	return called
}

// step decodes what is staged and reads once. It reports whether there was nothing to read, and
// sets t.end if reading has ended.
func (t *socket) step(fd uintptr) (empty bool) {
	r := t.r
	if t.end = r.parse(); t.end != nil || r.full {
		return false
	}
	if r.s.ended() {
		// Closing the socket waits for this function to return, and a peer that
		// keeps sending would never let it.
		t.end = net.ErrClosed
		return false
	}
	direct, staged := r.targets(true)
	n, wouldBlock, err := t.tryRead(fd, direct, staged)
	if n > 0 {
		r.s.received(n)
	}
	r.filled(n)
	switch {
	case err != nil:
		t.end = err
	case n == 0 && !wouldBlock:
		t.end = io.EOF
	}
	return wouldBlock
}

// look is for a goroutine that sends much: the one that reads may come late, as the Go scheduler does not ask
// which sockets are readable before a processor has nothing else to run.
func (t *socket) look() (woke bool) {
	if t.r.pace != nil || !t.mu.TryLock() {
		return false
	}
	defer t.mu.Unlock()
	return t.end == nil && t.lookHolding()
}

// lookHolding is look for who holds t.mu.
func (t *socket) lookHolding() (woke bool) {
	if t.lookFunc == nil {
		t.lookFunc = t.lookAt
	}
	r := t.r
	r.looking = true
	_ = t.rc.Control(t.lookFunc) // an error says that the session is ending
	r.looking = false
	if t.end != nil || r.full {
		// The rest is for the goroutine that reads.
		r.full, t.calling = false, true
		t.interrupt()
	}
	woke = r.woken != nil
	r.rest()
	return woke
}

// lookAt is look's part that has the socket. What it leaves in there wakes the goroutine that reads.
func (t *socket) lookAt(fd uintptr) {
	for range lookSteps {
		if t.step(fd) || t.end != nil || t.r.full {
			return
		}
	}
	t.end = t.r.parse()
}
