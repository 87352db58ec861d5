//go:build !386

package session

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// A rawConn reads from and writes to a socket without ever blocking in a system
// call: what cannot be done at once is left, and the caller decides whether to wait.
//
// The system calls are raw: the Go scheduler is not told of them. They only copy at most
// some 64 KiB and never sleep, while a scheduler that was told takes the processor away
// after 20 microseconds, and that costs more than a third of the throughput
// (docs/performance.md). That they never sleep is said to the kernel in each of them: the
// descriptor may be made blocking by anyone who has another one of the same socket, as
// (*net.TCPConn).File and then Fd do, and a system call that sleeps would stop the program. (On
// 386 there are no such system calls, there sockets are used as any other transport.)
//
// It is used for *net.TCPConn and *net.UnixConn themselves and not for types that
// embed them: those may have a Read or Write of their own.
type rawConn struct {
	conn net.Conn
	rc   syscall.RawConn
	tcp  bool
	// turn belongs to whoever is in a system call on a TCP socket; see enter.
	turn sync.Mutex
}

// turnSpins is for how long enter tries before it waits: some microseconds, which is what most of these
// system calls take.
const turnSpins = 4000

// enter is called before a system call that reads or writes, and leave after it. The kernel locks a
// TCP socket in each. The thread of another one would sleep until then, and the processor with it, and
// when it wakes the socket may be locked again: where one goroutine wrote without end, another that
// wanted to read slept for up to 0.4 ms (docs/performance.md). A goroutine can wait in a better way.
func (c *rawConn) enter() {
	if !c.tcp {
		return // a Unix socket's directions have a lock each
	}
	for range turnSpins {
		if c.turn.TryLock() {
			return
		}
	}
	c.turn.Lock()
}

func (c *rawConn) leave() {
	if c.tcp {
		c.turn.Unlock()
	}
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

// newRawConn returns nil if conn is no socket.
func newRawConn(conn io.ReadWriteCloser) *rawConn {
	var socket interface {
		net.Conn
		syscall.Conn
	}
	tcp := false
	switch c := conn.(type) {
	case *net.TCPConn:
		socket, tcp = c, true
	case *net.UnixConn:
		if c.LocalAddr().Network() != "unix" {
			return nil // datagrams
		}
		socket = c
	default:
		return nil
	}
	rc, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	if tcp {
		rc.Control(func(fd uintptr) {
			// An old kernel may not know it.
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, notsentLimit)
		})
	}
	return &rawConn{conn: socket, rc: rc, tcp: tcp}
}

// error wraps err, with which op failed, as the socket's own Read and Write do: op is what was tried on
// the socket, whatever call of the session's reports it.
func (c *rawConn) error(op string, err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case syscall.Errno:
		err = os.NewSyscallError(op, e)
	case *net.OpError: // of the syscall.RawConn
		err = e.Err
	}
	return &net.OpError{Op: op, Net: c.conn.LocalAddr().Network(), Source: c.conn.LocalAddr(), Addr: c.conn.RemoteAddr(), Err: err}
}

// socketBelow returns the TCP socket that conn goes over, if conn is none itself and tells, as
// *tls.Conn does; or nil. It is to be asked, and not to be read or written.
func socketBelow(conn io.ReadWriteCloser) *rawConn {
	c, ok := conn.(interface{ NetConn() net.Conn })
	if !ok {
		return nil
	}
	socket, ok := c.NetConn().(*net.TCPConn)
	if !ok {
		return nil
	}
	rc, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	return &rawConn{rc: rc, tcp: true}
}

// rawWrite is one write at a time: the holder of the writer role's.
type rawWrite struct {
	c     *rawConn
	iov   [maxVectors]syscall.Iovec
	used  int
	msg   syscall.Msghdr // says where iov is
	p     []byte         // written instead of iov, if used is 0
	n     int
	errno syscall.Errno
	try   func(fd uintptr) bool // bound once, so that it costs no allocation
	wait  func(fd uintptr) bool
}

func newRawWrite() *rawWrite {
	w := new(rawWrite)
	w.try = func(fd uintptr) bool {
		w.msg.Iov = &w.iov[0]
		setLen(&w.msg.Iovlen, w.used)
		w.c.enter()
		r, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&w.msg)), syscall.MSG_DONTWAIT)
		w.c.leave()
		if errno == 0 {
			w.n = int(r)
		} else if errno != syscall.EAGAIN && errno != syscall.EINTR {
			w.errno = errno
		}
		return true
	}
	w.wait = func(fd uintptr) bool {
		for len(w.p) > 0 {
			w.c.enter()
			r, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&w.p[0])), uintptr(len(w.p)), syscall.MSG_DONTWAIT, 0, 0)
			w.c.leave()
			switch errno {
			case 0:
				w.p = w.p[r:]
				w.n += int(r)
			case syscall.EINTR:
			case syscall.EAGAIN:
				return false
			default:
				w.errno = errno
				return true
			}
		}
		return true
	}
	return w
}

// tryWrite writes what the socket takes of parts at once, and returns how many
// bytes that was. Fewer than all, without an error, means that it is full.
func (c *rawConn) tryWrite(w *rawWrite, parts [][]byte) (n int, err error) {
	w.c = c
	defer func() { w.c = nil }() // w is kept longer than c
	for len(parts) > 0 {
		want := 0
		w.used = 0
		for _, p := range parts[:min(len(parts), maxVectors)] {
			w.iov[w.used].Base = &p[0]
			w.iov[w.used].SetLen(len(p))
			w.used++
			want += len(p)
		}
		w.n, w.errno = 0, 0 // c.rc.Write may fail before it calls w.try
		err = c.rc.Write(w.try)
		clear(w.iov[:w.used])
		n += w.n
		if err == nil && w.errno != 0 {
			err = w.errno
		}
		if err != nil || w.n < want {
			return n, c.error("write", err)
		}
		parts = parts[w.used:]
	}
	return n, nil
}

// writeAll writes all of p, waiting where it must, and returns how much it wrote.
func (c *rawConn) writeAll(w *rawWrite, p []byte) (n int, err error) {
	w.c, w.p, w.n, w.errno = c, p, 0, 0
	err = c.rc.Write(w.wait)
	w.c, w.p = nil, nil
	if err == nil && w.errno != 0 {
		err = w.errno
	}
	return w.n, c.error("write", err)
}

// tryRead fills p, and then q, with what is there. wouldBlock says that nothing is.
// No error, nothing read and wouldBlock false is the end of the transport.
func (c *rawConn) tryRead(fd uintptr, p, q []byte) (n int, wouldBlock bool, err error) {
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
		c.enter()
		if used == 1 {
			r, _, errno = syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(iov[0].Base)), uintptr(iov[0].Len), syscall.MSG_DONTWAIT, 0, 0)
		} else {
			r, _, errno = syscall.RawSyscall(syscall.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&msg)), syscall.MSG_DONTWAIT)
		}
		c.leave()
		switch errno {
		case 0:
			return int(r), false, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, true, nil
		default:
			return 0, false, c.error("read", errno)
		}
	}
}

// setLen sets a length whose type is not the same on all platforms.
func setLen[T uint32 | uint64](p *T, n int) { *p = T(n) }

// unacknowledged returns how many bytes that were written the peer's host has not
// acknowledged yet.
func (c *rawConn) unacknowledged() int {
	if !c.tcp {
		return 0
	}
	var n int32
	err := c.rc.Control(func(fd uintptr) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n))); errno != 0 {
			n = 0
		}
	})
	if err != nil {
		return 0
	}
	return int(n)
}
