//go:build !386 && !portable

package session

import (
	"io"
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

// ReadInlineAfter sets the time after which a sender reads inline. restore sets the old time.
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
