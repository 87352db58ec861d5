//go:build linux && !386 && !portable

package session

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
)

// The round trip of a path is known for TCP, also below TLS, and for nothing else.
func TestPathRTTIsThatOfTheTCPSocket(t *testing.T) {
	tcp := func() net.Conn { c, _ := testutil.TCPPair(t); return c }
	unix, _ := testutil.UnixPair(t)
	pipe, _ := testutil.PipePair(t)
	closed := tcp()
	_ = closed.Close()
	for _, tt := range []struct {
		name     string
		conn     io.ReadWriteCloser
		portable bool
		want     bool
	}{
		{name: "TCP", conn: tcp(), want: true},
		{name: "TLS over TCP", conn: tls.Client(tcp(), &tls.Config{InsecureSkipVerify: true}), want: true},
		{name: "TCP, Portable", conn: tcp(), portable: true},
		{name: "a closed socket", conn: closed},
		{name: "a Unix socket", conn: unix},
		{name: "a pipe", conn: pipe},
	} {
		r := &reader{s: new(Session)}
		if got := newTransport(tt.conn, r, tt.portable).pathRTT(); got > 0 != tt.want {
			t.Errorf("%s: %v, known should be %v", tt.name, got, tt.want)
		}
	}
}

// Within this machine, no round trip is asked for: it is of no use to a window.
func TestPathRTTIsNotAskedForWithinTheMachine(t *testing.T) {
	tcp, _ := testutil.TCPPair(t)
	s := new(Session)
	s.transport = newTransport(tcp, &reader{s: s}, false)
	w := pathWindows{s: s}
	s.shared.LocalAddr, s.shared.RemoteAddr = tcp.LocalAddr(), tcp.RemoteAddr()
	if got := w.PathRTT(); got != 0 {
		t.Errorf("on loopback: %v, want 0", got)
	}
	s.shared.LocalAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}
	s.shared.RemoteAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2)}
	if got := w.PathRTT(); got == 0 {
		t.Error("between two machines: 0")
	}
}
