package session_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// Config.LocalAddr and Config.RemoteAddr are what the session, its streams and their errors report, each of them also
// without the other. They replace the addresses of the transport, whether it knows any or not. The peer's end is not
// affected.
func TestConfigAddressesReplaceTheTransports(t *testing.T) {
	local, remote := tcpAddr("192.0.2.1"), &net.UnixAddr{Name: "far", Net: "unix"}
	for _, set := range []struct{ local, remote net.Addr }{{nil, nil}, {local, nil}, {nil, remote}, {local, remote}} {
		t.Run(fmt.Sprintf("%v, %v", set.local, set.remote), func(t *testing.T) {
			eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
				ca, cb := tr.Pair(t)
				wantLocal, wantRemote := "smux", "smux"
				if conn, ok := ca.(net.Conn); ok {
					wantLocal, wantRemote = conn.LocalAddr().String(), conn.RemoteAddr().String()
				}
				if set.local != nil {
					wantLocal = set.local.String()
				}
				if set.remote != nil {
					wantRemote = set.remote.String()
				}
				c := client(t, ca, &session.Config{Version: version, LocalAddr: set.local, RemoteAddr: set.remote})
				s := server(t, cb, &session.Config{Version: version})
				st, far := openPair(t, c, s)
				_ = st.Close()
				_, err := st.Write([]byte("x"))
				var op *net.OpError
				if !errors.As(err, &op) {
					t.Fatalf("Write after Close: %v, want a *net.OpError", err)
				}
				for what, got := range map[string]net.Addr{
					"session's": c.LocalAddr(), "listener's": c.Addr(), "stream's": st.LocalAddr(), "error's": op.Source,
				} {
					if got.String() != wantLocal {
						t.Errorf("the %s local address is %v, want %v", what, got, wantLocal)
					}
				}
				for what, got := range map[string]net.Addr{
					"session's": c.RemoteAddr(), "stream's": st.RemoteAddr(),
				} {
					if got.String() != wantRemote {
						t.Errorf("the %s remote address is %v, want %v", what, got, wantRemote)
					}
				}
				if got, want := op.Addr.String(), fmt.Sprintf("%s stream %d", wantRemote, st.ID()); got != want {
					t.Errorf("the error's remote address is %v, want %v", got, want)
				}
				if set.local != nil && far.RemoteAddr().String() == wantLocal {
					t.Errorf("the peer's stream reports %v", far.RemoteAddr())
				}
			})
		})
	}
}

// The errors of a session's own calls name the addresses of Config.
func TestConfigAddressesAreInSessionErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ours, _ := testutil.SimPair(t, simnet.Link{})
		s := client(t, simnet.Bare(ours), &session.Config{LocalAddr: tcpAddr("192.0.2.1"), RemoteAddr: tcpAddr("192.0.2.2")})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := s.AcceptStream(ctx)
		const want = "accept smux 192.0.2.1:7->192.0.2.2:7: context canceled"
		if err == nil || err.Error() != want {
			t.Errorf("AcceptStream: %v, want %v", err, want)
		}
	})
}
