//go:build !386 && !portable

package session_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// portable reports whether sockets are used like any other transport.
const portable = false

// A write to a socket that fails counts nothing of the write before it.
func TestSocketWriteThatFailsCountsNothing(t *testing.T) {
	eachTransport(t, sockets, func(t *testing.T, tr testutil.Transport, version int) {
		ca, _ := tr.Pair(t)
		write := session.TryWrite(ca)
		if n, err := write(make([]byte, 100)); n != wire.HeaderSize+100 || err != nil {
			t.Fatalf("%d bytes written, error %v", n, err)
		}
		ca.Close()
		n, err := write(make([]byte, 100))
		if n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%d bytes written, error %v", n, err)
		}
	})
}

// An error of a socket says what failed on the socket, besides the call that reports it.
func TestSocketErrorsSayWhatFailed(t *testing.T) {
	want := func(t *testing.T, err error, call, op, network string, cause error) {
		t.Helper()
		var outer, inner *net.OpError
		if !errors.As(err, &outer) || !errors.As(outer.Err, &inner) {
			t.Errorf("%s: %v, want two *net.OpErrors", call, err)
			return
		}
		if outer.Op != call || outer.Net != "smux" || inner.Op != op || inner.Net != network || !errors.Is(err, cause) {
			t.Errorf("%s: %v, want the cause to be %s on %s: %v", call, err, op, network, cause)
		}
	}
	eachTransport(t, sockets, func(t *testing.T, tr testutil.Transport, version int) {
		t.Run("closed by its owner", func(t *testing.T) {
			ca, cb := tr.Pair(t)
			c, p := scriptedOver(t, ca, cb, &session.Config{Version: version})
			st := openWide(t, c, p, version) // its SYN is sent: a write that waits could fail first
			ca.Close()
			<-c.Done()
			want(t, second(st.Write([]byte("x"))), "write", "read", tr.Name, net.ErrClosed)
		})
		if tr.Name != "tcp" {
			return
		}
		t.Run("reset", func(t *testing.T) {
			ca, cb := tr.Pair(t)
			c, p := scriptedOver(t, ca, cb, &session.Config{Version: version})
			st := openWide(t, c, p, version)
			cb.(*net.TCPConn).SetLinger(0)
			p.Close()
			<-c.Done()
			want(t, second(st.Write([]byte("x"))), "write", "read", tr.Name, syscall.ECONNRESET)
			want(t, second(st.Read(make([]byte, 1))), "read", "read", tr.Name, syscall.ECONNRESET)
		})
	})
	for _, tr := range []string{"tcp", "unix"} {
		ca, cb := transport(tr).Pair(t)
		write := session.TryWrite(ca)
		cb.Close()
		var err error
		for err == nil {
			_, err = write(make([]byte, 1000))
		}
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "write" || op.Net != tr || op.Addr == nil {
			t.Errorf("writing to a %s socket that the peer has closed: %v", tr, err)
		}
	}
}
