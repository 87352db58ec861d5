package session

import (
	"fmt"
	"io"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// A portable is the transport over any io.ReadWriteCloser. Its Read and Write may block, so only goroutines of the
// session call them.
type portable struct {
	conn     io.ReadWriteCloser
	r        *reader
	quiet    quietReads
	empty    emptyReads
	end      error     // the error of the last Read
	below    tcpBelow  // the TCP socket below conn, or nil
	delivery *delivery // nil if conn itself tells what Close has to know
}

// A tcpBelow is the TCP socket below a conn, as a *tls.Conn has one.
type tcpBelow interface {
	unacknowledged() (n int, known bool)
	pathRTT() time.Duration
	awaitDelivery(done <-chan struct{}, timeout <-chan time.Time) bool
	// gather makes the kernel send nothing but full segments, until it is called with false. Then the kernel sends the
	// rest at once.
	gather(on bool)
}

// minGathered is the largest batch that conn is expected to write at once: a TLS record holds as much.
const minGathered = 16 << 10

func newPortable(conn io.ReadWriteCloser, r *reader) *portable {
	t := &portable{conn: conn, r: r, quiet: newQuietReads(), below: socketBelow(conn)}
	if t.below == nil {
		t.delivery = newDelivery(r.s, conn)
	}
	return t
}

func (t *portable) read() (wait, error) {
	r := t.r
	for n := 0; ; {
		why, err := r.parse()
		switch {
		case err != nil:
			return waitNothing, err
		case why == waitNothing && t.end != nil:
			return waitNothing, t.end
		case why == waitNothing && !r.throttle.current().ready():
			why = waitRate
		}
		if why != waitNothing {
			r.wakeFilling()
			return why, nil
		}
		r.wakeFilling() // conn.Read may wait, and a Read that has got data must not wait with it
		r.s.latency.afterStaged(n)
		n, err = t.fill()
		if n < 0 {
			return waitNothing, err
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

// fill calls Read of conn once, and stages what it returns. A quiet session holds no staging buffer while it waits. If
// Read returns an impossible count, fill returns -1 and an error.
func (t *portable) fill() (n int, err error) {
	r := t.r
	if !t.quiet.are() || r.r < r.w {
		_, p := r.targets(false)
		n, err = t.readTo(p)
	} else {
		p := t.quiet.buf[:]
		if rate := r.throttle.current(); rate != nil {
			p = p[:min(len(p), rate.piece)]
		}
		r.beforeWait()
		if n, err = t.readTo(p); n > 0 {
			_, staged := r.memory(false) // not targets: the rate may have changed since
			copy(staged, p[:n])
		}
	}
	t.quiet.note(n)
	return n, err
}

func (t *portable) readTo(p []byte) (n int, err error) {
	n, err = t.conn.Read(p)
	if n < 0 || n > len(p) {
		return -1, fmt.Errorf("session: the transport's Read returned %d for %d bytes", n, len(p))
	}
	return n, err
}

func (t *portable) watch() (stop func()) { return func() {} }

func (t *portable) readInline() bool { return false }

func (t *portable) renew() {}

func (t *portable) interrupt() {}

func (t *portable) inline() bool { return false }

// write writes b. What conn writes for it piece by piece, as TLS does with its records, goes out in few segments: each
// segment costs both ends, and may wake the peer's reader.
func (t *portable) write(b *wire.Batch) (n int, err error) {
	if t.below != nil && b.Len() > minGathered {
		t.below.gather(true)
		defer t.below.gather(false)
	}
	return t.writeSome(b.Bytes())
}

func (t *portable) writeSome(p []byte) (n int, err error) {
	returned := false
	defer func() {
		if !returned { // Write has ended this goroutine
			go t.r.s.end(errGone)
		}
	}()
	n, err = t.conn.Write(p)
	returned = true
	if n < 0 || n > len(p) {
		return 0, fmt.Errorf("session: the transport's Write returned %d for %d bytes", n, len(p))
	}
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

func (t *portable) hasUnread() bool { return false }

func (t *portable) unacknowledged() (n int, known bool) {
	if t.below == nil {
		return 0, false
	}
	return t.below.unacknowledged()
}

func (t *portable) pathRTT() time.Duration {
	if t.below == nil {
		return 0
	}
	return t.below.pathRTT()
}

// awaitDelivery calls CloseWrite, if conn has it, and waits until the peer has closed the connection as well. The
// reader reads and drops data meanwhile: closing a socket with unread data resets the connection, and the peer loses
// what it has not read. It reports true after timeout, too: the transport has taken everything, and a peer need not
// close.
func (t *portable) awaitDelivery(done <-chan struct{}, timeout <-chan time.Time) bool {
	if t.below != nil {
		return t.below.awaitDelivery(done, timeout)
	}
	if t.delivery != nil {
		return t.delivery.await(done, timeout)
	}
	conn, ok := t.conn.(interface{ CloseWrite() error })
	if !ok {
		return true // a net.Pipe
	}
	// All data is with the transport. What may still be written is no data.
	if !t.r.s.endWriting(done, timeout) {
		return !t.r.s.ended()
	}
	closed := make(chan error, 1)
	go func() { closed <- conn.CloseWrite() }()
	for {
		select {
		case err := <-closed:
			if closed = nil; err != nil {
				return true // the peer does not learn of it, and so will not close: there is nothing to wait for
			}
		case <-done:
			return false
		case <-timeout:
			return true // the peer does not close, but the transport has taken everything
		}
	}
}

const (
	// maxEmptyReads are too many within emptyReadsTime.
	maxEmptyReads  = 100
	emptyReadsTime = 10 * time.Millisecond
)

// emptyReads counts Reads in a row that returned no data and no error.
type emptyReads struct {
	n     int
	since time.Duration // when the first of them returned
}

// tooMany counts one more, and reports whether there are too many in a short time: then the session would use up a
// processor. A transport that polls for data, and returns nothing now and then, may do so for ever.
func (e *emptyReads) tooMany(now time.Duration) bool {
	if e.n == 0 || now-e.since > emptyReadsTime {
		e.n, e.since = 0, now
	}
	e.n++
	return e.n >= maxEmptyReads
}
