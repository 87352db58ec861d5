package session

import (
	"fmt"
	"io"
	"net"
	"time"
)

// writeFull writes all of p, as a Write must.
func writeFull(w io.Writer, p []byte) (n int, err error) {
	n, err = w.Write(p)
	if n < 0 || n > len(p) {
		return 0, fmt.Errorf("transport's Write returned %d for %d bytes", n, len(p))
	}
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// onOneHost reports whether both ends of a transport are on this machine, as far as their addresses tell.
func onOneHost(local, remote net.Addr) bool {
	switch r := remote.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		l, ok := local.(*net.TCPAddr)
		return r.IP.IsLoopback() || ok && len(r.IP) > 0 && r.IP.Equal(l.IP)
	}
	return false
}

// clearReadDeadline takes back what wakeReader has done.
func (s *Session) clearReadDeadline() error {
	return s.conn.(net.Conn).SetReadDeadline(time.Time{})
}
