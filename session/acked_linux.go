//go:build !386 && !portable

package session

import (
	"net"
	"syscall"
	"time"
	"unsafe"
)

// askKernel asks the kernel how long ago the host at the other end of the socket last acknowledged something. The socket
// is conn, or is below it.
func (s *Session) askKernel() (ago time.Duration, known bool) {
	conn := any(s.conn)
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		if !s.transport.inline() {
			return 0, false // Config.Portable
		}
	}
	rc := rawConn(conn)
	if rc == nil {
		return 0, false
	}
	err := rc.Control(func(fd uintptr) { ago, known = sinceSocketAcked(int(fd)) })
	return ago, known && err == nil
}

// maxWrappers limits how many wrappers rawConn unwraps, in case one returns itself.
const maxWrappers = 16

// rawConn returns the descriptor below conn, or nil if no method leads to it.
func rawConn(conn any) syscall.RawConn {
	for range maxWrappers {
		if c, ok := conn.(syscall.Conn); ok {
			if rc, err := c.SyscallConn(); err == nil {
				return rc
			}
			return nil
		}
		c, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		conn = c.NetConn()
	}
	return nil
}

// sinceSocketAcked is askKernel for a descriptor. The peer of a Unix socket is on this machine, whose kernel is alive.
func sinceSocketAcked(fd int) (ago time.Duration, known bool) {
	switch domain, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_DOMAIN); {
	case err != nil:
		return 0, false
	case domain == syscall.AF_UNIX:
		return 0, true
	}
	info, ok := socketInfo(fd)
	return info.sinceAcked(), ok
}

// socketInfo returns the TCP_INFO of a descriptor, or false if it is no TCP socket.
func socketInfo(fd int) (info tcpInfo, ok bool) {
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return info, errno == 0 && size >= uint32(unsafe.Sizeof(info))
}

// tcpInfo is the beginning of the kernel's struct tcp_info, which every version of Linux has.
type tcpInfo struct {
	state, caState, retransmits uint8
	probes                      uint8     // keep-alive or window probes without an answer
	backoff                     uint8     // how often the timer of retransmissions or window probes was doubled
	_                           [3]uint8  // options
	_                           [4]uint32 // rto to rcv_mss
	unacked                     uint32    // segments on their way
	_                           [7]uint32 // sacked to last_data_recv
	lastAckRecv                 uint32    // milliseconds since the last segment with ACK arrived
}

// sinceAcked returns how long ago the host at the other end acknowledged something. While its window is closed, the
// kernel sends nothing but window probes, at intervals of up to two minutes: then their answers count, and between two
// of them, the host counts as if it had just answered.
func (i *tcpInfo) sinceAcked() time.Duration {
	if closed := i.unacked == 0 && i.backoff > 0; closed && i.probes == 0 {
		return 0
	}
	return time.Duration(i.lastAckRecv) * time.Millisecond
}
