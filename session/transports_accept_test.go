package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// handshaker is a transport with a handshake.
type handshaker struct {
	net.Conn
	shake func(context.Context) error
}

func (h *handshaker) HandshakeContext(ctx context.Context) error { return h.shake(ctx) }

// shaking has each transport of l do a handshake.
type shaking struct {
	net.Listener
	shake func(ctx context.Context, conn net.Conn, n int) error
	n     int
}

func (l *shaking) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n := l.n
	l.n++
	return &handshaker{c, func(ctx context.Context) error { return l.shake(ctx, c, n) }}, nil
}

// A transport whose handshake or OnSession fails or hangs stops nobody. One that hangs is closed after
// HandshakeTimeout, also if its callback ignores its context.
func TestListenerTransportThatHangsStopsNobody(t *testing.T) {
	for _, where := range []string{"handshake", "OnSession"} {
		for _, how := range []string{"fails", "waits for its context", "waits for its transport"} {
			t.Run(where+" "+how, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					var mu sync.Mutex
					var errs []error
					hang := func(ctx context.Context, read func() error) error {
						switch how {
						case "fails":
							return errBroken
						case "waits for its context":
							<-ctx.Done()
							return ctx.Err()
						}
						return read()
					}
					l, sim := listening(t, &session.Listener{OnError: func(err error) {
						mu.Lock()
						defer mu.Unlock()
						errs = append(errs, err)
					}})
					const bad, good = 10, 10
					number := 0
					if where == "handshake" {
						l.Listener = &shaking{Listener: sim, shake: func(ctx context.Context, conn net.Conn, n int) error {
							if n >= bad {
								return nil
							}
							return hang(ctx, func() error { return second(conn.Read(make([]byte, 1))) })
						}}
					} else {
						l.OnSession = func(ctx context.Context, s *session.Session) error {
							mu.Lock()
							n := number
							number++
							mu.Unlock()
							if n >= bad {
								return nil
							}
							return hang(ctx, func() error { return second(s.AcceptStream(context.Background())) })
						}
					}
					accepting := acceptFrom(l)
					elapsed := testutil.Clock()
					var conns []io.ReadWriteCloser
					for range bad {
						c, err := sim.dial(context.Background())
						if err != nil {
							t.Fatal(err)
						}
						conns = append(conns, c)
						synctest.Wait()
					}
					for range good {
						say(t, connect(t, sim), "hello")
						if r := <-accepting; r.Err != nil {
							t.Error(r.Err)
						}
						accepting = acceptFrom(l)
					}
					testutil.WantTime(t, "the others were accepted", elapsed(), 0)
					for _, c := range conns {
						_, _ = io.Copy(io.Discard, c) // until it is closed
						_ = c.Close()
					}
					want, wantErr := 10*time.Second, context.DeadlineExceeded
					if how == "fails" {
						want, wantErr = 0, errBroken
					}
					testutil.WantTime(t, "the bad ones were closed", elapsed(), want)
					synctest.Wait()
					mu.Lock()
					defer mu.Unlock()
					if x := l.Stats(); x.Failed != bad || x.Accepted != bad+good || x.Sessions != good || x.Handshakes != 0 {
						t.Errorf("Stats: %+v", x)
					}
					if len(errs) != bad {
						t.Errorf("OnError was called %d times", len(errs))
					}
					for _, err := range errs {
						var op *net.OpError
						if !errors.Is(err, wantErr) || !errors.As(err, &op) || op.Op != "handshake" || op.Addr == nil {
							t.Errorf("OnError got %v", err)
						}
					}
				})
			})
		}
	}
}

// The streams of a session are not accepted before its OnSession has returned, which may use streams itself.
func TestListenerOnSessionComesFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		var authenticated *session.Session
		l, sim := listening(t, &session.Listener{OnSession: func(ctx context.Context, s *session.Session) error {
			wantSaid(t, s, "password")
			authenticated = s
			<-release
			return nil
		}})
		accepting := acceptFrom(l)
		s := connect(t, sim)
		say(t, s, "password")
		say(t, s, "hello")
		synctest.Wait()
		wantPending(t, "Accept", accepting)
		if x := l.Stats(); x.Handshakes != 1 || x.Sessions != 0 || len(slices.Collect(l.Sessions())) != 0 {
			t.Errorf("Stats: %+v", x)
		}
		close(release)
		r := <-accepting
		if r.Err != nil || sessionOf(t, r.Value) != authenticated {
			t.Errorf("Accept: %v, %v", r.Value, r.Err)
		}
	})
}

// At MaxSessions, no transport is accepted until a session has ended and all its streams have been accepted.
func TestListenerMaxSessionsStopsAccepting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const limit = 3
		l, sim := listening(t, &session.Listener{MaxSessions: limit, Config: &session.Config{KeepAlive: off}})
		accepting := acceptFrom(l)
		var clients []*session.Session
		for n := range 10 * limit {
			s := connect(t, sim)
			clients = append(clients, s)
			say(t, s, fmt.Sprintf("%02d", n))
		}
		testutil.WantErr(t, "Accept", (<-accepting).Err, nil)
		for range limit - 1 {
			_, err := l.Accept()
			testutil.WantErr(t, "Accept", err, nil)
		}
		for n := limit; n < 10*limit; n++ {
			accepting = acceptFrom(l)
			time.Sleep(time.Hour)
			wantPending(t, "Accept", accepting)
			if x := l.Stats(); x.Accepted != uint64(n) || x.Sessions != limit {
				t.Fatalf("Stats: %+v, want %d accepted", x, n)
			}
			say(t, clients[n-1], "last")
			c := (<-accepting).Value
			say(t, clients[n-1], "very last") // which nobody has accepted when the session ends
			_ = clients[n-1].Close()
			<-sessionOf(t, c).Done()
			synctest.Wait()
			if x := l.Stats(); x.Accepted != uint64(n) || x.Sessions != limit-1 || x.Waiting != 1 {
				t.Fatalf("Stats: %+v, want one stream that waits", x)
			}
			wantSaid(t, l, "very last")
			wantSaid(t, l, fmt.Sprintf("%02d", n))
		}
	})
}

// failing is a net.Listener that fails.
type failing struct {
	net.Listener
	errs chan error
}

func (f *failing) Accept() (net.Conn, error) {
	select {
	case err := <-f.errs:
		return nil, err
	default:
		return f.Listener.Accept()
	}
}

// temporary is an error after which Accept may succeed.
type temporary struct{ error }

func (temporary) Temporary() bool { return true }
func (temporary) Timeout() bool   { return false }
func (t temporary) Unwrap() error { return t.error }

// A net.Listener that fails for good, or returns nothing, is closed, and Accept fails with the reason.
func TestListenerClosesANetListenerThatFails(t *testing.T) {
	for _, want := range []error{errBroken, nil} {
		bubble(t, func(t *testing.T) {
			l, sim := listening(t, &session.Listener{})
			f := &failing{sim, make(chan error, 1)}
			f.errs <- want // nil: no connection and no error
			l.Listener = f
			_, err := l.Accept()
			if want != nil {
				testutil.WantErr(t, "Accept", err, want)
			} else if err == nil {
				t.Error("Accept succeeds")
			}
			synctest.Wait() // it has been closed
			testutil.WantErr(t, "Close of the net.Listener", sim.Close(), net.ErrClosed)
			testutil.WantErr(t, "Close", l.Close(), nil)
		})
	}
}

// After a temporary error of the net.Listener, it goes on, with pauses of at most a second. After any other error, it
// drains as after Close, and Accept fails with that error.
func TestListenerOutlivesTemporaryErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var errs int
		l, sim := listening(t, &session.Listener{OnError: func(err error) {
			testutil.WantErr(t, "OnError", err, errBroken)
			errs++
		}})
		f := &failing{sim, make(chan error, 100)}
		l.Listener = f
		const temporaryErrors = 20
		for range temporaryErrors {
			f.errs <- temporary{errBroken}
		}
		accepting := acceptFrom(l)
		s := connect(t, sim)
		say(t, s, "hello")
		r := <-accepting
		if r.Err != nil || r.After < 5*time.Second || r.After > temporaryErrors*time.Second {
			t.Errorf("Accept: %v after %v", r.Err, r.After)
		}
		if errs != temporaryErrors {
			t.Errorf("OnError was called %d times", errs)
		}
		synctest.Wait()
		say(t, s, "more")
		_ = sim.Close() // which Accept reports
		wantSaid(t, l, "more")
		_, err := l.Accept()
		testutil.WantErr(t, "Accept", err, net.ErrClosed)
		var n net.Error
		if !errors.As(err, &n) || n.Timeout() {
			t.Errorf("the error is %#v", err)
		}
		_, err = s.OpenStream(context.Background())
		testutil.WantErr(t, "OpenStream", err, session.ErrPeerShutdown)
	})
}
