//go:build !386 && !portable

package session

import "syscall"

// gather sets or clears TCP_CORK. An error does not matter: it says that the socket is closed.
func (t *socket) gather(on bool) {
	f := uncork
	if on {
		f = cork
	}
	_ = t.rc.Control(f)
}

func cork(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1) }

func uncork(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 0) }
