//go:build !386 && !portable

package session

import (
	"io"
	"syscall"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// Starve stops the reader goroutine of s, a session on a socket, until feed is called. readInline does what a
// sender does meanwhile. called reports whether the reader goroutine is to run.
func Starve(s *Session) (readInline, called func() bool, feed func()) {
	t := s.transport.(*socket)
	t.mu.Lock()
	readInline = func() bool { return t.end == nil && !t.away && t.readInlineLocked() }
	called = func() bool { return t.calling }
	return readInline, called, t.mu.Unlock
}

// ReadInlineAfter sets the time after which a sender reads inline, for sessions that begin later. restore sets the old
// time.
func ReadInlineAfter(d time.Duration) (restore func()) {
	before := inlineAfter
	inlineAfter = d
	return func() { inlineAfter = before }
}

// TryWrite returns a function that writes a frame with p to conn, a socket, as a session does that does not wait.
func TryWrite(conn io.ReadWriteCloser) func(p []byte) (int, error) {
	t := newSocket(conn, nil)
	b := wire.NewBatch(true)
	return func(p []byte) (int, error) {
		b.Release()
		b.Frame(wire.Header{}, p)
		return t.write(b)
	}
}

// SinceAcked returns how long ago the other end of the transport of s last acknowledged something, if that is known.
func SinceAcked(s *Session) (ago time.Duration, known bool) { return s.sinceAcked() }

// SinceSocketAcked returns what SinceAcked returns for a TCP socket with these figures in its TCP_INFO.
func SinceSocketAcked(unacked uint32, probes, backoff uint8, lastAckRecv time.Duration) time.Duration {
	i := tcpInfo{unacked: unacked, probes: probes, backoff: backoff, lastAckRecv: uint32(lastAckRecv / time.Millisecond)}
	return i.sinceAcked()
}

// WindowClosed reports whether the kernel waits for the window of the peer of conn, a TCP socket, and has sent a window
// probe.
func WindowClosed(conn syscall.Conn) bool {
	rc, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	closed := false
	_ = rc.Control(func(fd uintptr) {
		if i, ok := socketInfo(int(fd)); ok {
			closed = i.unacked == 0 && i.backoff > 0
		}
	})
	return closed
}

// HasUnread reports whether bytes lie in the socket of s.
func HasUnread(s *Session) bool { return s.transport.hasUnread() }

// RenewReader has a new goroutine read for s, if the one that does waits for data.
func RenewReader(s *Session) { s.transport.renew() }
