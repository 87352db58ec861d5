package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// After Close, transports are no longer accepted, peers are told to open no more streams, and Accept fails once those
// that they had opened are accepted. Streams, and the sessions, go on.
func TestListenerCloseOfManyDrainsThem(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, sim := listening(t, &session.Listener{})
		accepting := acceptFrom(l)
		var clients []*session.Session
		var open []net.Conn
		for range 10 {
			s := connect(t, sim)
			clients = append(clients, s)
			open = append(open, say(t, s, "hello"))
		}
		accepted := []net.Conn{(<-accepting).Value}
		for range 9 {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			accepted = append(accepted, c)
		}
		for _, s := range clients {
			say(t, s, "more")
		}
		testutil.WantErr(t, "Close", l.Close(), nil)
		for range 10 {
			wantSaid(t, l, "more")
		}
		for range 2 {
			_, err := l.Accept()
			testutil.WantErr(t, "Accept", err, net.ErrClosed)
		}
		testutil.WantErr(t, "the second Close", l.Close(), nil)
		if _, err := sim.dial(context.Background()); err == nil {
			t.Error("the net.Listener is open")
		}
		time.Sleep(time.Hour)
		for _, s := range clients {
			_, err := s.OpenStream(context.Background())
			testutil.WantErr(t, "OpenStream", err, session.ErrPeerShutdown)
			testutil.WantErr(t, "Err", s.Err(), nil)
		}
		for n := range open {
			go func() { _, _ = io.Copy(accepted[n], accepted[n]) }()
		}
		for _, st := range open {
			_, _ = io.ReadFull(st, make([]byte, 5))
			echoes(t, st)
		}
		testutil.WantErr(t, "CloseNow", l.CloseNow(), nil)
	})
}

// Close gives handshakes CloseTimeout. Those that end in time bring their streams; then Accept fails.
func TestListenerCloseLetsHandshakesEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, sim := listening(t, &session.Listener{
			HandshakeTimeout: time.Hour,
			Config:           &session.Config{CloseTimeout: time.Minute, KeepAlive: off},
		})
		l.Listener = &shaking{Listener: sim, shake: func(ctx context.Context, _ net.Conn, n int) error {
			if n == 0 {
				<-ctx.Done()
				return ctx.Err()
			}
			time.Sleep(30 * time.Second)
			return nil
		}}
		accepting := acceptFrom(l)
		say(t, connect(t, sim), "never")
		say(t, connect(t, sim), "hello")
		synctest.Wait()
		elapsed := testutil.Clock()
		_ = l.Close()
		if r := <-accepting; r.Err != nil || r.After != 30*time.Second {
			t.Errorf("Accept: %v after %v", r.Err, r.After)
		}
		_, err := l.Accept()
		testutil.WantErr(t, "Accept", err, net.ErrClosed)
		testutil.WantTime(t, "Accept failed", elapsed(), time.Minute)
	})
}

// Shutdown waits for the streams of all sessions, those whose handshake was under way included, and closes the sessions.
func TestListenerShutdownWaitsForStreams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, sim := listening(t, &session.Listener{OnSession: func(context.Context, *session.Session) error {
			time.Sleep(time.Second)
			return nil
		}})
		accepting := acceptFrom(l)
		early := say(t, connect(t, sim), "hello")
		one := (<-accepting).Value
		late := say(t, connect(t, sim), "hello")
		synctest.Wait()

		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		testutil.WantErr(t, "Shutdown", l.Shutdown(ctx), context.DeadlineExceeded)
		down := testutil.BackgroundErr(func() error { return l.Shutdown(context.Background()) })
		two := wantSaid(t, l, "hello")
		_, err := l.Accept()
		testutil.WantErr(t, "Accept", err, net.ErrClosed)
		time.Sleep(time.Hour)
		for n, c := range []net.Conn{one, two} {
			wantPending(t, "Shutdown", down)
			_ = c.Close()
			_ = []*stream.Stream{early, late}[n].Close()
			time.Sleep(time.Hour)
		}
		testutil.WantErr(t, "Shutdown", (<-down).Err, nil)
		if x := l.Stats(); x.Sessions != 0 {
			t.Errorf("Stats: %+v", x)
		}
	})
}

// CloseNow ends the calls, the handshakes, the sessions, and a Shutdown that waits.
func TestListenerCloseNowEndsEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		number := 0
		l, sim := listening(t, &session.Listener{HandshakeTimeout: time.Hour, OnSession: func(ctx context.Context, s *session.Session) error {
			if number++; number > 1 {
				return second(s.AcceptStream(context.Background()))
			}
			return nil
		}})
		accepting := acceptFrom(l)
		first := say(t, connect(t, sim), "hello")
		c := (<-accepting).Value
		hanging := connect(t, sim)
		synctest.Wait()
		accepting = acceptFrom(l)
		down := testutil.BackgroundErr(func() error { return l.Shutdown(context.Background()) })
		reading := testutil.BackgroundErr(func() error { return second(io.ReadAll(c)) })
		time.Sleep(time.Second)
		wantPending(t, "Accept", accepting)
		elapsed := testutil.Clock()
		testutil.WantErr(t, "CloseNow", l.CloseNow(), nil)
		testutil.WantErr(t, "Accept", (<-accepting).Err, net.ErrClosed)
		testutil.WantErr(t, "Shutdown", (<-down).Err, session.ErrNotFlushed)
		testutil.WantErr(t, "Read", (<-reading).Err, net.ErrClosed)
		<-hanging.Done()
		<-sessionOf(t, first).Done()
		testutil.WantTime(t, "all ended", elapsed(), 0)
		testutil.WantErr(t, "CloseNow again", l.CloseNow(), nil)
		_, err := l.Accept()
		testutil.WantErr(t, "Accept", err, net.ErrClosed)
	})
}

// A Listener that was never used can be closed, and closes its net.Listener.
func TestListenerCloseBeforeUse(t *testing.T) {
	for _, end := range []func(*session.Listener) error{
		(*session.Listener).Close,
		(*session.Listener).CloseNow,
		func(l *session.Listener) error { return l.Shutdown(context.Background()) },
	} {
		bubble(t, func(t *testing.T) {
			l, sim := listening(t, &session.Listener{})
			testutil.WantErr(t, "ending it", end(l), nil)
			_, err := l.Accept()
			testutil.WantErr(t, "Accept", err, net.ErrClosed)
			testutil.WantErr(t, "Close of the net.Listener", sim.Close(), net.ErrClosed)
			for _, l := range []*session.Listener{{}, {Listener: (*net.TCPListener)(nil)}} {
				testutil.WantErr(t, "ending nothing", end(l), nil)
				testutil.WantErr(t, "Accept", second(l.Accept()), net.ErrClosed)
			}
		})
	}
}

// Sessions that OnSession rejects count against MaxSessions until they have ended, also toward peers that do nothing.
// HandshakeTimeout and CloseNow end them.
func TestListenerRejectedSessionsCountUntilTheirEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var begun []*session.Session // guarded by mu
		l, sim := listening(t, &session.Listener{
			MaxSessions:      4,
			HandshakeTimeout: 2 * time.Second,
			Config:           &session.Config{KeepAlive: off, CloseTimeout: time.Hour},
			OnSession: func(ctx context.Context, s *session.Session) error {
				mu.Lock()
				begun = append(begun, s)
				mu.Unlock()
				return errors.New("rejected") // Close then waits for the peer, which does nothing
			},
		})
		accepting := acceptFrom(l)
		for range 20 {
			conn, err := sim.dial(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = conn.Write(testutil.NOP(wire.V2).Append(nil)) // the version
		}
		alive := func() (n int) {
			mu.Lock()
			defer mu.Unlock()
			for _, s := range begun {
				if s.Err() == nil {
					n++
				}
			}
			return n
		}
		for range 5 {
			synctest.Wait()
			if n := alive(); n != 4 {
				t.Errorf("%d rejected sessions are alive", n)
			}
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		if n := l.Stats().Failed; n != 20 || len(begun) != 20 {
			t.Errorf("%d sessions have begun, %d have failed", len(begun), n)
		}
		conn, err := sim.dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write(testutil.NOP(wire.V2).Append(nil))
		synctest.Wait()
		if n := alive(); n != 1 {
			t.Errorf("%d sessions are alive", n)
		}
		testutil.WantErr(t, "CloseNow", l.CloseNow(), nil)
		synctest.Wait()
		if n := alive(); n != 0 {
			t.Errorf("after CloseNow, %d sessions are alive", n)
		}
		testutil.WantErr(t, "Accept", (<-accepting).Err, net.ErrClosed)
	})
}

// A callback that does not return, also not when its context ends, holds up neither Accept after Close nor Shutdown. OnSession
// may call Shutdown of its Listener.
func TestListenerEndsDespiteACallbackThatHangs(t *testing.T) {
	for name, hang := range map[string]func(l *session.Listener, release chan struct{}){
		"OnSession": func(l *session.Listener, release chan struct{}) {
			l.OnSession = func(context.Context, *session.Session) error {
				<-release
				return nil
			}
		},
		"HandshakeContext": func(l *session.Listener, release chan struct{}) {
			l.Listener = &shaking{Listener: l.Listener, shake: func(context.Context, net.Conn, int) error {
				<-release
				return nil
			}}
		},
		"OnSession calls Shutdown": func(l *session.Listener, _ chan struct{}) {
			l.OnSession = func(context.Context, *session.Session) error { return l.Shutdown(context.Background()) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l, sim := listening(t, new(session.Listener))
				release := make(chan struct{})
				hang(l, release)
				accepting := acceptFrom(l)
				conn, err := sim.dial(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				elapsed := testutil.Clock()
				testutil.WantErr(t, "Close", l.Close(), nil)
				testutil.WantErr(t, "Shutdown", l.Shutdown(context.Background()), nil)
				testutil.WantErr(t, "Accept", (<-accepting).Err, net.ErrClosed)
				if took := elapsed(); took < session.DefaultCloseTimeout || took > session.DefaultCloseTimeout+time.Second {
					t.Errorf("they returned after %v", took)
				}
				_, _ = io.Copy(io.Discard, conn) // it is closed
				close(release)
				synctest.Wait()
				if x := l.Stats(); x.Failed != 1 || x.Handshakes != 0 || x.Sessions != 0 {
					t.Errorf("Stats: %+v", x)
				}
				_ = conn.Close()
			})
		})
	}
}
