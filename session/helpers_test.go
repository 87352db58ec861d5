package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// What the tests of this package share. All of it cleans up by itself.

// each runs test for both versions over every transport that is wanted, in a bubble where
// the transport allows it. It checks for leaked goroutines.
func each(t *testing.T, want func(testutil.Transport) bool, test func(t *testing.T, tr testutil.Transport, version int)) {
	t.Helper()
	for _, tr := range testutil.Transports() {
		if want != nil && !want(tr) {
			continue
		}
		for version := 1; version <= 2; version++ {
			t.Run(fmt.Sprintf("%s/v%d", tr.Name, version), func(t *testing.T) {
				if !tr.Bubble {
					testutil.LeakCheck(t)
					test(t, tr, version)
					return
				}
				bubble(t, func(t *testing.T) { test(t, tr, version) })
			})
		}
	}
}

// inBubble wants the transports whose time is virtual.
func inBubble(tr testutil.Transport) bool { return tr.Bubble }

// sockets wants TCP and Unix sockets.
func sockets(tr testutil.Transport) bool { return tr.Name == "tcp" || tr.Name == "unix" }

// versions runs test in a bubble for both versions.
func versions(t *testing.T, test func(t *testing.T, version int)) {
	t.Helper()
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			bubble(t, func(t *testing.T) { test(t, version) })
		})
	}
}

// bubble runs test in a bubble and checks for leaked goroutines.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		testutil.LeakCheck(t)
		test(t)
	})
}

// client starts a client session on conn, which is closed at the end, abruptly if
// the test has not closed the session.
func client(t testing.TB, conn io.ReadWriteCloser, cfg *session.Config) *session.Session {
	t.Helper()
	return started(t, conn, cfg, session.Client)
}

// server does the same for a server session.
func server(t testing.TB, conn io.ReadWriteCloser, cfg *session.Config) *session.Session {
	t.Helper()
	return started(t, conn, cfg, session.Server)
}

func started(t testing.TB, conn io.ReadWriteCloser, cfg *session.Config,
	start func(io.ReadWriteCloser, *session.Config) (*session.Session, error),
) *session.Session {
	t.Helper()
	s, err := start(conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = s.Close()
	})
	return s
}

// sessions starts the two ends of a session with the same Config over a new pair of transports.
func sessions(t testing.TB, tr testutil.Transport, cfg session.Config) (c, s *session.Session) {
	t.Helper()
	ca, cb := tr.Pair(t)
	return client(t, ca, &cfg), server(t, cb, &cfg)
}

// open opens a stream from c and accepts it at s.
func open(t testing.TB, c, s *session.Session) (opened, accepted *stream.Stream) {
	t.Helper()
	opened, err := c.OpenStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = s.AcceptStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return opened, accepted
}

// wantErr wants err to be want; nil too.
func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// clock returns a function that tells the time since now.
func clock() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

// wantTime wants something to have taken exactly this long, in a bubble.
func wantTime(t testing.TB, what string, got, want time.Duration) {
	t.Helper()
	if got != want {
		t.Errorf("%s after %v, want %v", what, got, want)
	}
}

// result is what a call that is made in the background returns.
type result[T any] struct {
	value T
	err   error
	at    time.Duration // since it was called
}

// background makes a call in a goroutine of its own.
func background[T any](call func() (T, error)) <-chan result[T] {
	done := make(chan result[T], 1)
	elapsed := clock()
	go func() {
		v, err := call()
		done <- result[T]{v, err, elapsed()}
	}()
	return done
}

// addressed is a transport with addresses of its own.
type addressed struct {
	net.Conn
	local, remote net.Addr
}

func (a addressed) LocalAddr() net.Addr  { return a.local }
func (a addressed) RemoteAddr() net.Addr { return a.remote }

func tcpAddr(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 7} }
