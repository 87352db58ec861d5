package session_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// Wrong arguments.

// A transport whose address is nil, or a nil pointer, has an unknown address.
func TestNilAddressIsUnknown(t *testing.T) {
	known := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	for _, tt := range []struct {
		name          string
		local, remote net.Addr
	}{
		{"both are nil", nil, nil},
		{"both are nil pointers", (*net.TCPAddr)(nil), (*net.TCPAddr)(nil)},
		{"the remote one is", known, (*net.TCPAddr)(nil)},
		{"the local one is", (*net.TCPAddr)(nil), known},
		{"nil pointers to a Unix socket's", (*net.UnixAddr)(nil), (*net.UnixAddr)(nil)},
	} {
		for name, end := range starts {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					conn, _ := testutil.SimPair(t, simnet.Link{})
					s := start(t, addressed{conn, tt.local, tt.remote}, nil, end)
					for _, a := range []struct{ told, got net.Addr }{
						{tt.local, s.LocalAddr()}, {tt.local, s.Addr()}, {tt.remote, s.RemoteAddr()},
					} {
						want := "smux"
						if a.told == known {
							want = known.String()
						}
						if got := a.got.String(); got != want {
							t.Errorf("the address is %q, want %q", got, want)
						}
					}
				})
			})
		}
	}
}

// A nil context panics with a message about it and changes nothing: no lock stays held, no stream is opened, and
// no Shutdown begins.
func TestNilContextPanicsAndChangesNothing(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		c, s := sessions(t, transport("sim"), session.Config{Version: version})
		for name, call := range map[string]func(s *session.Session, ctx context.Context){
			"OpenStream":   func(s *session.Session, ctx context.Context) { _, _ = s.OpenStream(ctx) },
			"AcceptStream": func(s *session.Session, ctx context.Context) { _, _ = s.AcceptStream(ctx) },
			"Shutdown":     func(s *session.Session, ctx context.Context) { _ = s.Shutdown(ctx) },
			"Ping":         func(s *session.Session, ctx context.Context) { _, _ = s.Ping(ctx) },
		} {
			for _, end := range []*session.Session{c, s} {
				got := panics(func() { call(end, nil) })
				if msg, ok := got.(string); !ok || !strings.Contains(msg, "nil context") {
					t.Errorf("%s panics with %v, want a message that says nil context", name, got)
				}
			}
		}
		if n, m := c.NumStreams(), s.NumStreams(); n+m > 0 {
			t.Errorf("%d and %d streams are open, want none", n, m)
		}
		out, in := openPair(t, c, s)
		ping(t, out, in)
		if id := out.ID(); id != 1 {
			t.Errorf("the first stream's id is %d, want 1", id)
		}
	})
}

// panics returns the value that f panics with, or nil.
func panics(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}
