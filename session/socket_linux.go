//go:build !386 && !portable

package session

import (
	"io"
	"math"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/smuxkit/smuxkit/wire"
)

// A socket is the transport over a TCP or Unix socket. It never blocks in a system call: a call does what it can do at
// once, and the caller decides whether to wait for more.
//
// The system calls are raw: the Go scheduler does not know of them. Otherwise it might take the processor away from
// the goroutine after 20 microseconds; docs/decisions.md says what that costs, and what it would cost to do
// without package unsafe and so without vectored calls. A raw call copies some 64 KiB at most, and waits for
// nothing but a page fault, which holds up a processor in Go code, too. Each call tells the kernel not to wait
// (MSG_DONTWAIT), because (*net.TCPConn).File and then Fd make the descriptor blocking for all who share the socket,
// and a raw call that waits would stop the program. On 386, package syscall has no such calls, so sockets are used
// there like any other conn.
//
// Only *net.TCPConn and *net.UnixConn are used in this way. Types that embed them are not, because they may have a
// Read or Write of their own.
type socket struct {
	conn net.Conn
	rc   syscall.RawConn
	tcp  bool

	// mu guards the session's reader and the fields below. The session's goroutine holds it, except while it
	// waits. While it waits for data, a goroutine that sends may read.
	mu         sync.Mutex
	r          *reader
	end        error // why reading has ended; nil until then
	why        wait  // what readAvailable has found that the reader has to wait for
	away       bool  // the session's goroutine waits for something other than data: nobody else may read
	calling    bool  // readInline has woken the session's goroutine
	renewing   bool  // renew has
	stuck      bool  // readInline has to leave the rest to the session's goroutine
	readFunc   func(fd uintptr) bool
	inlineFunc func(fd uintptr) // readInlineFD, bound by the first readInline
}

const (
	// maxVectors is how many parts a vectored write has at most.
	maxVectors = 64
	// tcpNotsentLowat is the socket option that limits how much a TCP socket takes before it can send it. Without
	// it a socket takes some MiB, and an urgent message waits behind them.
	tcpNotsentLowat = 25
	// maxNotsent is the value of that option: two batches. With less, one stream alone is slower.
	maxNotsent = 128 << 10
	// maxUnixWrite is how much a system call writes to a Unix socket at most. The kernel copies this to one block of
	// eight pages. For a batch it would allocate five blocks, which takes longer than a second system call
	// (docs/decisions.md, row unix-bulk of internal/bench).
	maxUnixWrite = 32 << 10
)

// newTransport returns the transport for conn: a socket if conn is one, unless portable is set.
func newTransport(conn io.ReadWriteCloser, r *reader, portable bool) transport {
	if !portable {
		if t := newSocket(conn, r); t != nil {
			return t
		}
	}
	return newPortable(conn, r)
}

// newSocket returns nil if conn is no socket.
func newSocket(conn io.ReadWriteCloser, r *reader) *socket {
	var c interface {
		net.Conn
		syscall.Conn
	}
	tcp := false
	switch conn := conn.(type) {
	case *net.TCPConn:
		c, tcp = conn, true
	case *net.UnixConn:
		if conn.LocalAddr().Network() != "unix" {
			return nil // datagrams
		}
		c = conn
	default:
		return nil
	}
	rc, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	if tcp {
		rc.Control(func(fd uintptr) {
			// The error does not matter: an old kernel may not know the option.
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, maxNotsent)
		})
	}
	t := &socket{conn: c, rc: rc, tcp: tcp, r: r}
	t.readFunc = t.readAvailable
	return t
}

// error returns err in a *net.OpError, as the socket's own Read and Write do. op is the operation on the socket,
// whichever call of the session will report it.
func (t *socket) error(op string, err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case syscall.Errno:
		err = os.NewSyscallError(op, e)
	case *net.OpError: // from the syscall.RawConn
		err = e.Err
	}
	return &net.OpError{Op: op, Net: t.conn.LocalAddr().Network(), Source: t.conn.LocalAddr(), Addr: t.conn.RemoteAddr(), Err: err}
}

// socketBelow returns the TCP socket below conn if conn has a method NetConn that returns it, as *tls.Conn has.
// Otherwise it returns nil.
func socketBelow(conn io.ReadWriteCloser) tcpBelow {
	c, ok := conn.(interface{ NetConn() net.Conn })
	if !ok {
		return nil
	}
	below, ok := c.NetConn().(*net.TCPConn)
	if !ok {
		return nil
	}
	rc, err := below.SyscallConn()
	if err != nil {
		return nil
	}
	return &socket{rc: rc, tcp: true}
}

func (t *socket) inline() bool { return true }

// maxWrite returns how many bytes a system call writes at most.
func (t *socket) maxWrite() int {
	if t.tcp {
		return math.MaxInt
	}
	return maxUnixWrite
}

// A vector is one write to a socket.
type vector struct {
	t     *socket
	iov   [maxVectors]syscall.Iovec
	used  int            // how many of iov are in use
	msg   syscall.Msghdr // refers to iov
	p     []byte         // what writeSome writes
	n     int            // how many bytes the socket has taken
	errno syscall.Errno
	try   func(fd uintptr) bool // tryOnce, bound once so that a write allocates nothing
	wait  func(fd uintptr) bool // tryAgain, likewise
}

var vectors = sync.Pool{New: func() any {
	v := new(vector)
	v.try, v.wait = v.tryOnce, v.tryAgain
	return v
}}

// tryOnce writes as much of iov as the socket takes. It returns true, so that the RawConn does not wait.
func (v *vector) tryOnce(fd uintptr) bool {
	v.msg.Iov = &v.iov[0]
	setLen(&v.msg.Iovlen, v.used)
	r, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&v.msg)), syscall.MSG_DONTWAIT)
	if errno == 0 {
		v.n = int(r)
	} else if errno != syscall.EAGAIN && errno != syscall.EINTR {
		v.errno = errno
	}
	return true
}

// tryAgain writes as much of p as the socket takes. It returns false if that is nothing, so that the RawConn waits.
func (v *vector) tryAgain(fd uintptr) bool {
	for {
		n := min(len(v.p), v.t.maxWrite())
		r, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&v.p[0])), uintptr(n), syscall.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			v.n = int(r)
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			v.errno = errno
			return true
		}
	}
}

// write writes as much of b as the socket takes at once.
func (t *socket) write(b *wire.Batch) (n int, err error) {
	v := vectors.Get().(*vector)
	v.t = t
	n, err = v.write(b)
	v.t = nil
	vectors.Put(v)
	return n, t.error("write", err)
}

func (v *vector) write(b *wire.Batch) (n int, err error) {
	for n < b.Len() {
		want := v.fill(b.Parts(), n)
		v.n, v.errno = 0, 0 // in case the RawConn fails before it calls try
		err = v.t.rc.Write(v.try)
		clear(v.iov[:v.used])
		n += v.n
		if err == nil && v.errno != 0 {
			err = v.errno
		}
		if err != nil || v.n < want {
			return n, err
		}
	}
	return n, nil
}

// fill makes iov refer to the bytes of parts from offset on, or to as many of them as a system call writes. It returns how
// many that are.
func (v *vector) fill(parts [][]byte, offset int) (n int) {
	v.used = 0
	most := v.t.maxWrite()
	for _, p := range parts {
		if offset >= len(p) {
			offset -= len(p)
			continue
		}
		p, offset = p[offset:], 0
		if p = p[:min(len(p), most-n)]; len(p) == 0 || v.used == maxVectors {
			break
		}
		v.iov[v.used].Base = &p[0]
		v.iov[v.used].SetLen(len(p))
		v.used++
		n += len(p)
	}
	return n
}

func (t *socket) writeSome(p []byte) (n int, err error) {
	v := vectors.Get().(*vector)
	v.t, v.p, v.n, v.errno = t, p, 0, 0
	err = t.rc.Write(v.wait)
	if err == nil && v.errno != 0 {
		err = v.errno
	}
	n = v.n
	v.t, v.p = nil, nil
	vectors.Put(v)
	return n, t.error("write", err)
}

// tryRead reads what has arrived into p and then q. wouldBlock says that nothing has. If n is 0, err nil and
// wouldBlock false, the transport has ended.
func (t *socket) tryRead(fd uintptr, p, q []byte) (n int, wouldBlock bool, err error) {
	var iov [2]syscall.Iovec
	used := 0
	for _, b := range [...][]byte{p, q} {
		if len(b) > 0 {
			iov[used].Base = &b[0]
			iov[used].SetLen(len(b))
			used++
		}
	}
	msg := syscall.Msghdr{Iov: &iov[0]}
	setLen(&msg.Iovlen, used)
	for {
		var r uintptr
		var errno syscall.Errno
		if used == 1 {
			r, _, errno = syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(iov[0].Base)), uintptr(iov[0].Len), syscall.MSG_DONTWAIT, 0, 0)
		} else {
			r, _, errno = syscall.RawSyscall(syscall.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&msg)), syscall.MSG_DONTWAIT)
		}
		switch errno {
		case 0:
			return int(r), false, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, true, nil
		default:
			return 0, false, t.error("read", errno)
		}
	}
}

// setLen sets *p to n. The type of *p depends on the platform.
func setLen[T uint32 | uint64](p *T, n int) { *p = T(n) }

// awaitDelivery waits until the peer's host has acknowledged all that was written to a TCP socket. If a socket is closed
// with unread data, the connection is reset, and data that the host does not have yet is lost.
func (t *socket) awaitDelivery(done <-chan struct{}, timeout <-chan time.Time) bool {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		if n, err := t.sendQueue(); n == 0 || err != nil {
			return true
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-done:
			again.Stop()
			return false
		case <-timeout:
			again.Stop()
			return false
		}
	}
}

// unacknowledged always knows: the peer of a Unix socket is on this host, which has taken what was written.
func (t *socket) unacknowledged() (n int, known bool) {
	n, err := t.sendQueue()
	if err != nil {
		return math.MaxInt, true // the socket is closed: what arrived cannot be told any more
	}
	return n, true
}

// sendQueue returns how many of the written bytes the peer's host has not acknowledged. It is 0 for a Unix socket.
func (t *socket) sendQueue() (int, error) {
	if !t.tcp {
		return 0, nil
	}
	return t.queue(syscall.TIOCOUTQ)
}

// hasUnread asks the kernel.
func (t *socket) hasUnread() bool {
	n, err := t.queue(syscall.TIOCINQ)
	return err == nil && n > 0
}

// queue returns how many bytes lie in one of the socket's two queues.
func (t *socket) queue(which uintptr) (int, error) {
	var n int32
	var errno syscall.Errno
	err := t.rc.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, which, uintptr(unsafe.Pointer(&n)))
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return int(n), err
}
