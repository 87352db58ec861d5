//go:build !386 && !portable

package session

import (
	"errors"
	"io"
	"os"
	"time"
)

// maxReadSteps limits how often readAvailable reads before it returns to the RawConn. Close of the socket waits for
// that, however much data arrives.
const maxReadSteps = 16

// read reads and hands the data to the reader. While it waits for data, it holds no buffer, a sender may read inline,
// and closing the socket ends the wait.
func (t *socket) read() (wait, error) {
	t.mu.Lock()
	t.away = false
	t.mu.Unlock()
	for {
		err := t.rc.Read(t.readFunc)
		t.mu.Lock()
		why, renew := t.why, t.renewing
		called := t.calling || renew
		t.why, t.calling, t.renewing = waitNothing, false, false
		t.away = why != waitNothing
		if err != nil && t.end == nil && !called && t.r.s.out.failure() == nil {
			t.end = t.error("read", err) // it is not from the deadline of readInline, renew or interrupt
		}
		end := t.end
		t.mu.Unlock()
		if end != nil {
			return waitNothing, end
		}
		if called || err != nil {
			// readInline, renew or interrupt has set a deadline in order to wake this goroutine. Clear it and read again.
			if err := t.conn.SetReadDeadline(time.Time{}); err != nil {
				return waitNothing, t.fail(t.error("read", err))
			}
		}
		switch {
		case why != waitNothing:
			return why, nil
		case renew:
			return waitRenewal, nil
		}
	}
}

// renew wakes read, unless that is just running.
func (t *socket) renew() {
	if !t.mu.TryLock() {
		return
	}
	defer t.mu.Unlock()
	if t.end == nil && !t.away {
		t.renewing = true
		t.interrupt()
	}
}

// fail notes that reading has ended, so that nobody reads inline any more, and returns the reason, which is err if there is
// none yet.
func (t *socket) fail(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.end == nil {
		t.end = err
	}
	return t.end
}

// watch waits in a goroutine until the socket is closed.
func (t *socket) watch() (stop func()) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		err := t.rc.Read(func(uintptr) bool { return false })
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.r.s.end(t.error("read", err))
		}
	}()
	return func() {
		t.interrupt()
		<-over
		_ = t.conn.SetReadDeadline(time.Time{}) // if this fails, the next read fails as well
	}
}

// interrupt wakes read, by a deadline that has passed.
func (t *socket) interrupt() { t.conn.SetReadDeadline(time.Unix(1, 0)) }

// readAvailable reads what has arrived. It returns false if the RawConn has to wait for more.
func (t *socket) readAvailable(fd uintptr) (done bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var failed error
	for range maxReadSteps {
		if t.end != nil {
			return true
		}
		var empty bool
		if t.why, empty = t.step(fd); t.why != waitNothing {
			t.r.beforeWait()
			return true
		}
		if !empty {
			continue
		}
		if failed != nil {
			t.end = failed // all that the peer had sent before writing failed has been read
			return true
		}
		if failed = t.r.s.out.failure(); failed == nil {
			t.r.beforeWait()
			return false
		}
		// The peer may have sent more between the attempt to read and the failure: read once more.
	}
	return true
}

// step decodes what is staged and reads once, unless the reader has to wait for something else, which step returns.
// empty says that nothing had arrived. If reading has ended, step sets t.end.
func (t *socket) step(fd uintptr) (why wait, empty bool) {
	r := t.r
	if why, t.end = r.parse(); t.end != nil || why != waitNothing {
		return why, false
	}
	if !r.throttle.current().ready() {
		return waitRate, false
	}
	direct, staged := r.targets(true)
	n, wouldBlock, err := t.tryRead(fd, direct, staged)
	if n > 0 {
		r.s.addReceived(n)
	}
	r.noteRead(n)
	switch {
	case err != nil:
		t.end = err
	case n == 0 && !wouldBlock:
		t.end = io.EOF
	}
	return waitNothing, wouldBlock
}
