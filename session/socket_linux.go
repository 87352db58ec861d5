//go:build !386 && !portable

package session

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/smuxkit/smuxkit/wire"
)

// A socket is the transport over a TCP or Unix socket. It never blocks in a system call: what cannot be
// done at once is left, and the caller decides whether to wait.
//
// The system calls are raw: the Go scheduler is not told of them. They copy at most some 64 KiB and wait for
// nothing but a page fault, which holds up a processor in Go code, too. A scheduler that is told may take the
// processor away after 20 microseconds: docs/performance.md has what that costs, and what it costs to do without
// package unsafe, which has no vectored call. Each call tells the kernel not to wait (MSG_DONTWAIT):
// (*net.TCPConn).File and then Fd make the descriptor blocking for all who share the socket, and a system
// call that waits would stop the program. (On 386 there are no such system calls, there sockets are used as any
// other transport.)
//
// It is used for *net.TCPConn and *net.UnixConn themselves and not for types that
// embed them: those may have a Read or Write of their own.
type socket struct {
	conn net.Conn
	rc   syscall.RawConn
	tcp  bool

	// mu guards the session's reader and what follows: the session's goroutine has it but while it waits
	// for data, and then a goroutine that sends may read.
	mu         sync.Mutex
	r          *reader
	end        error // why reading has ended; nil until then
	why        wait  // why readable has returned,
	away       bool  // and read, so that no other goroutine may read
	calling    bool  // readInline has called the session's goroutine
	stuck      bool  // readInline has to leave the rest to it
	readFunc   func(fd uintptr) bool
	inlineFunc func(fd uintptr) // readInlineFD, bound by the first readInline
}

const (
	// maxVectors bounds the parts of one vectored write.
	maxVectors = 64
	// tcpNotsentLowat is the socket option that bounds what a TCP socket takes ahead of
	// what it may send. Without it a socket takes some MiB, and a stream that has
	// something urgent to say stands behind them.
	tcpNotsentLowat = 25
	// notsentLimit is that bound: two batches. With less, one stream alone is slower.
	notsentLimit = 128 << 10
)

// newTransport returns the transport that uses conn.
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
			// An old kernel may not know it.
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, notsentLimit)
		})
	}
	t := &socket{conn: c, rc: rc, tcp: tcp, r: r}
	t.readFunc = t.readable
	return t
}

// error wraps err, with which op failed, as the socket's own Read and Write do: op is what was tried on
// the socket, whatever call of the session's reports it.
func (t *socket) error(op string, err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case syscall.Errno:
		err = os.NewSyscallError(op, e)
	case *net.OpError: // of the syscall.RawConn
		err = e.Err
	}
	return &net.OpError{Op: op, Net: t.conn.LocalAddr().Network(), Source: t.conn.LocalAddr(), Addr: t.conn.RemoteAddr(), Err: err}
}

// socketBelow returns the TCP socket that conn goes over, if conn is none itself and tells, as *tls.Conn
// does; or nil.
func socketBelow(conn io.ReadWriteCloser) settler {
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

// A vector is one write to a socket.
type vector struct {
	t     *socket
	iov   [maxVectors]syscall.Iovec
	used  int
	msg   syscall.Msghdr // says where iov is
	p     []byte         // what writeSome writes
	n     int
	errno syscall.Errno
	try   func(fd uintptr) bool // bound once, so that it costs no allocation
	wait  func(fd uintptr) bool
}

var vectors = sync.Pool{New: func() any {
	v := new(vector)
	v.try, v.wait = v.tryOnce, v.tryAgain
	return v
}}

// tryOnce writes what the socket takes of iov.
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

// tryAgain writes what the socket takes of p, and reports whether that is anything.
func (v *vector) tryAgain(fd uintptr) bool {
	for {
		r, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&v.p[0])), uintptr(len(v.p)), syscall.MSG_DONTWAIT, 0, 0)
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

// write writes what the socket takes of b at once.
func (t *socket) write(b *wire.Batch) (n int, err error) {
	v := vectors.Get().(*vector)
	v.t = t
	n, err = v.write(b.Parts())
	v.t = nil
	vectors.Put(v)
	return n, t.error("write", err)
}

func (v *vector) write(parts [][]byte) (n int, err error) {
	for len(parts) > 0 {
		want := 0
		v.used = 0
		for _, p := range parts[:min(len(parts), maxVectors)] {
			v.iov[v.used].Base = &p[0]
			v.iov[v.used].SetLen(len(p))
			v.used++
			want += len(p)
		}
		v.n, v.errno = 0, 0 // the RawConn may fail before it calls try
		err = v.t.rc.Write(v.try)
		clear(v.iov[:v.used])
		n += v.n
		if err == nil && v.errno != 0 {
			err = v.errno
		}
		if err != nil || v.n < want {
			return n, err
		}
		parts = parts[v.used:]
	}
	return n, nil
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

// tryRead fills p, and then q, with what is there. wouldBlock says that nothing is.
// No error, nothing read and wouldBlock false is the end of the transport.
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

// setLen sets a length whose type is not the same on all platforms.
func setLen[T uint32 | uint64](p *T, n int) { *p = T(n) }

// settle waits until the peer's host has acknowledged all that was written to a TCP socket. Closing a socket with
// unread data resets the connection, and that may overtake what the host does not have yet.
func (t *socket) settle(done <-chan struct{}, timeout <-chan time.Time) bool {
	for pause := 50 * time.Microsecond; t.unacknowledged() > 0; pause = min(2*pause, 5*time.Millisecond) {
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
	return true
}

// unacknowledged returns how many bytes that were written the peer's host has not
// acknowledged yet.
func (t *socket) unacknowledged() int {
	if !t.tcp {
		return 0
	}
	var n int32
	err := t.rc.Control(func(fd uintptr) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n))); errno != 0 {
			n = 0
		}
	})
	if err != nil {
		return 0
	}
	return int(n)
}
