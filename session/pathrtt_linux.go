//go:build !386 && !portable

package session

import (
	"syscall"
	"time"
	"unsafe"
)

// pathRTT asks the kernel, which measures since the connection began, for the shortest round trip of the last minutes.
func (t *socket) pathRTT() (rtt time.Duration) {
	if !t.tcp {
		return 0
	}
	_ = t.rc.Control(func(fd uintptr) { rtt = socketMinRTT(fd) }) // it fails once the socket is closed
	return rtt
}

// minRTTOffset is where the kernel's struct tcp_info has tcpi_min_rtt, since Linux 4.6.
const minRTTOffset = 148

// socketMinRTT returns 0 if the kernel does not tell.
func socketMinRTT(fd uintptr) time.Duration {
	var info [minRTTOffset/4 + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	micros := info[minRTTOffset/4]
	if errno != 0 || size < uint32(unsafe.Sizeof(info)) || micros == unknownRTT {
		return 0
	}
	return time.Duration(micros) * time.Microsecond
}

// unknownRTT is the kernel's value while it has measured nothing.
const unknownRTT = 1<<32 - 1
