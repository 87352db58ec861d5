//go:build !386 && !portable

package session

import (
	"errors"
	"io"
	"os"
	"time"
)

// readSteps bounds what is read without returning to the RawConn: whoever closes the socket waits for
// that, however much comes.
const readSteps = 16

// read waits for data without holding a buffer, and reads large payloads straight to where they are wanted.
// While it waits, a sender may read inline. It waits for nothing else: closing the socket ends the wait.
func (t *socket) read() (wait, error) {
	t.mu.Lock()
	t.away = false
	t.mu.Unlock()
	for {
		err := t.rc.Read(t.readFunc)
		t.mu.Lock()
		why, called := t.why, t.calling
		t.why, t.calling = waitNothing, false
		t.away = why != waitNothing
		if err != nil && t.end == nil && !called && t.r.s.out.failure() == nil {
			t.end = t.error("read", err)
		}
		end := t.end
		t.mu.Unlock()
		if end != nil {
			return waitNothing, end
		}
		if called || err != nil {
			// By a deadline, readInline or interrupt has woken this goroutine: see what has come once more.
			if err := t.conn.SetReadDeadline(time.Time{}); err != nil {
				return waitNothing, t.error("read", err)
			}
		}
		if why != waitNothing {
			return why, nil
		}
	}
}

// watch waits for the socket's end as read does, in a goroutine.
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
		_ = t.conn.SetReadDeadline(time.Time{}) // if it fails, so does the next read
	}
}

// interrupt wakes read by a deadline.
func (t *socket) interrupt() { t.conn.SetReadDeadline(time.Unix(1, 0)) }

// readable reads what has come. It reports false if there is no more and read has to wait for it.
func (t *socket) readable(fd uintptr) (done bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range readSteps {
		if t.end != nil {
			return true
		}
		var empty bool
		if t.why, empty = t.step(fd); t.why != waitNothing {
			t.r.beforeWait()
			return true
		}
		if empty {
			if t.end = t.r.s.out.failure(); t.end == nil {
				t.r.beforeWait()
				return false
			}
			// What the peer had sent has been read.
		}
	}
	return true
}

// step decodes what is staged and reads once, unless the reader has to wait. It reports whether there was nothing to
// read, and sets t.end if reading has ended.
func (t *socket) step(fd uintptr) (why wait, empty bool) {
	r := t.r
	if why, t.end = r.parse(); t.end != nil || why != waitNothing {
		return why, false
	}
	if !r.throttle.ready() {
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
