package session

import (
	"fmt"
	"io"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// A portable is the transport that needs no more than an io.ReadWriteCloser. Any Read or Write may block:
// only goroutines of the session's own call them.
type portable struct {
	conn  io.ReadWriteCloser
	r     *reader
	empty emptyReads
	end   error   // with which Read has ended
	below settler // the socket below conn, or nil
}

// A settler is the part of a transport that waits for the peer's host.
type settler interface {
	settle(done <-chan struct{}, timeout <-chan time.Time) bool
}

func newPortable(conn io.ReadWriteCloser, r *reader) *portable {
	return &portable{conn: conn, r: r, below: socketBelow(conn)}
}

func (t *portable) read() (wait, error) {
	r := t.r
	for {
		why, err := r.parse()
		switch {
		case err != nil:
			return waitNothing, err
		case why == waitNothing && t.end != nil:
			return waitNothing, t.end
		case why == waitNothing && !r.throttle.ready():
			why = waitRate
		}
		if why != waitNothing {
			r.wake()
			return why, nil
		}
		direct, p := r.targets(false)
		if direct != nil {
			p = direct
		}
		r.wake() // this may wait, and what a Read has got is not for later
		n, err := t.conn.Read(p)
		if n < 0 || n > len(p) {
			return waitNothing, fmt.Errorf("transport's Read returned %d for %d bytes", n, len(p))
		}
		if n > 0 {
			t.empty.n = 0
			r.s.addReceived(n)
		} else if err == nil && t.empty.tooMany(r.s.now()) {
			err = io.ErrNoProgress
		}
		t.end = err
		r.noteRead(n)
	}
}

func (t *portable) watch() (stop func()) { return func() {} }

func (t *portable) readInline() bool { return false }

func (t *portable) interrupt() {}

func (t *portable) inline() bool { return false }

func (t *portable) write(b *wire.Batch) (n int, err error) { return t.writeSome(b.Bytes()) }

func (t *portable) writeSome(p []byte) (n int, err error) {
	n, err = t.conn.Write(p)
	if n < 0 || n > len(p) {
		return 0, fmt.Errorf("transport's Write returned %d for %d bytes", n, len(p))
	}
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// settle closes the way out, if conn has a method for that, as sockets and TLS connections have, and waits for the
// peer to close its own. The reader reads and drops meanwhile. To close a socket with unread data is to reset the
// connection, and that destroys what the peer has not read.
func (t *portable) settle(done <-chan struct{}, timeout <-chan time.Time) bool {
	if t.below != nil {
		return t.below.settle(done, timeout)
	}
	conn, ok := t.conn.(interface{ CloseWrite() error })
	if !ok {
		return true
	}
	if !t.r.s.endWriting(done, timeout) {
		return !t.r.s.ended()
	}
	closed := make(chan error, 1)
	go func() { closed <- conn.CloseWrite() }()
	for {
		select {
		case err := <-closed:
			if closed = nil; err != nil {
				return true
			}
		case <-done:
			return false
		case <-timeout:
			return true // the transport took everything
		}
	}
}

const (
	// maxEmptyReads is how often in a row a transport may return nothing within emptyReadsTime.
	maxEmptyReads  = 100
	emptyReadsTime = 10 * time.Millisecond
)

// emptyReads counts Reads in a row that returned nothing and no error.
type emptyReads struct {
	n     int
	since time.Duration
}

// tooMany counts one, and reports whether the transport spins. One that returns nothing now and then, as
// some do that look for data by the clock, may do so for ever.
func (e *emptyReads) tooMany(now time.Duration) bool {
	if e.n == 0 || now-e.since > emptyReadsTime {
		e.n, e.since = 0, now
	}
	e.n++
	return e.n >= maxEmptyReads
}
