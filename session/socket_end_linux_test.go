//go:build !386 && !portable

package session

import (
	"net"
	"testing"
)

// If read was woken by a sender, and the socket has been closed since, reading has ended: nobody reads inline any more, and
// the session may throw the reader's buffer away.
func TestSocketClosedWhileASenderCallsEndsReading(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := newSocket(conn, new(reader))
	s.calling = true // as readInline leaves it
	conn.Close()
	if _, err := s.read(); err == nil {
		t.Fatal("read returns no error")
	}
	if s.end == nil {
		t.Error("reading has not ended for those who read inline")
	}
}
