//go:build !386 && !portable

package session

import (
	"io"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// Starve stops the goroutine that reads s, a session on a socket, until feed is called. look is what a
// sender does meanwhile; called reports whether there was something for that goroutine.
func Starve(s *Session) (look, called func() bool, feed func()) {
	t := s.transport.(*socket)
	t.mu.Lock()
	look = func() bool { return t.end == nil && !t.away && t.lookHolding() }
	called = func() bool { return t.calling }
	return look, called, t.mu.Unlock
}

// LookAfter sets after what time a sender looks for what has come, and returns what takes that back.
func LookAfter(d time.Duration) (restore func()) {
	before := lookAfter
	lookAfter = d
	return func() { lookAfter = before }
}

// Yield is what a sender does that lets others run.
func Yield(s *Session) { s.out.yield() }

// GiveWay is what a caller of Write does that has sent bulk data.
func GiveWay(s *Session) {
	s.out.busyUntil.Store(0) // whatever it took before
	s.out.giveWay()
}

// TryWrite returns what writes a frame with p to conn, a socket, as a session does that does not wait.
func TryWrite(conn io.ReadWriteCloser) func(p []byte) (int, error) {
	t := newSocket(conn, nil)
	b := wire.NewBatch(true)
	return func(p []byte) (int, error) {
		b.Release()
		b.Frame(wire.Header{}, p)
		return t.write(b)
	}
}
