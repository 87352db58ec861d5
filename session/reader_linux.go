//go:build !386

package session

import (
	"io"
	"net"
)

// lookSteps bounds what is read in one look.
const lookSteps = 4

// runRaw reads from a socket until its end. It waits for data without holding a
// buffer, and reads large payloads straight to where they are wanted. While it waits,
// others may look.
func (r *reader) runRaw() error {
	readable := func(fd uintptr) (done bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for r.end == nil {
			if r.step(fd) {
				if r.end = r.s.out.failure(); r.end == nil {
					r.rest()
					return false
				}
				// What the peer had sent has been read.
			}
		}
		return true
	}
	for {
		err := r.s.raw.rc.Read(readable)
		if end := r.ended(nil); end != nil {
			return end
		}
		if !r.called() && r.s.out.failure() == nil {
			return r.ended(r.s.raw.error("read", err))
		}
		// This side was woken by a read deadline: look at what has come once more.
		if err := r.s.clearReadDeadline(); err != nil {
			return r.ended(err)
		}
	}
}

// ended makes err, if not nil, the reason why reading has ended, unless it has, and returns it.
func (r *reader) ended(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end == nil {
		r.end = err
	}
	return r.end
}

// called reports whether look has woken the goroutine that reads.
func (r *reader) called() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	called := r.calling
	r.calling = false
	return called
}

// step decodes what is staged and reads once. It reports whether there was nothing to read, and
// sets r.end if reading has ended.
func (r *reader) step(fd uintptr) (empty bool) {
	if r.end = r.parse(); r.end != nil || r.full {
		return false
	}
	if r.s.ended() {
		// Closing the socket waits for this function to return, and a peer that
		// keeps sending would never let it.
		r.end = net.ErrClosed
		return false
	}
	direct, staged := r.targets(true)
	n, wouldBlock, err := r.s.raw.tryRead(fd, direct, staged)
	if n > 0 {
		r.s.received(n)
	}
	switch r.end = r.filled(n); {
	case r.end != nil:
	case err != nil:
		r.end = err
	case n == 0 && !wouldBlock:
		r.end = io.EOF
	}
	return wouldBlock
}

// look reads what has come, if nobody does so already. It is for a goroutine that sends much: the one
// that reads may come late, as the Go scheduler does not ask which sockets are readable before a
// processor has nothing else to run. look does not wait for anything. It reports whether it has
// woken a Read.
func (r *reader) look() (woke bool) {
	if r.pace != nil || !r.mu.TryLock() {
		return false
	}
	defer r.mu.Unlock()
	return r.end == nil && r.lookHolding()
}

// lookHolding is look for who holds r.mu.
func (r *reader) lookHolding() (woke bool) {
	if r.lookFunc == nil {
		r.lookFunc = r.lookAt
	}
	r.looking = true
	_ = r.s.raw.rc.Control(r.lookFunc) // an error says that the session is ending
	r.looking = false
	if r.end != nil || r.full {
		// The rest is for the goroutine that reads.
		r.full, r.calling = false, true
		r.s.wakeReader()
	}
	woke = r.woken != nil
	r.rest()
	return woke
}

// lookAt is look's part that has the socket. What it leaves in there wakes the goroutine that reads.
func (r *reader) lookAt(fd uintptr) {
	for range lookSteps {
		if r.step(fd) || r.end != nil || r.full {
			return
		}
	}
	r.end = r.parse()
}
