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

	"golang.org/x/net/nettest"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// listening returns a Listener over a simListener, by default without keep-alive. It ends when the test does.
func listening(t testing.TB, l *session.Listener) (*session.Listener, *simListener) {
	t.Helper()
	sim := newSimListener(simnet.Link{})
	l.Listener = sim
	if l.Config == nil {
		l.Config = &session.Config{KeepAlive: off}
	}
	t.Cleanup(func() { _ = l.CloseNow() })
	return l, sim
}

// connect dials and starts a client session.
func connect(t testing.TB, l *simListener) *session.Session {
	t.Helper()
	conn, err := l.dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return client(t, conn, &session.Config{KeepAlive: off})
}

// acceptFrom accepts a stream in the background.
func acceptFrom(l net.Listener) <-chan testutil.Result[net.Conn] {
	return testutil.Background(l.Accept)
}

// say opens a stream and sends a message over it.
func say(t testing.TB, s *session.Session, message string) *stream.Stream {
	t.Helper()
	st := open(t, s)
	if _, err := io.WriteString(st, message); err != nil {
		t.Fatal(err)
	}
	return st
}

// wantSaid accepts a stream and wants this message on it.
func wantSaid(t testing.TB, l net.Listener, want string) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); string(got) != want || err != nil {
		t.Errorf("the accepted stream says %q, %v, want %q", got, err, want)
	}
	return c
}

// A Listener with nothing but its net.Listener accepts the streams of many transports. It starts at the first Accept.
func TestListenerAcceptsFromManyTransports(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, sim := listening(t, &session.Listener{})
		if l.Addr() != sim.Addr() && l.Addr().String() != sim.Addr().String() {
			t.Errorf("Addr = %v", l.Addr())
		}
		const clients = 20
		var said []*stream.Stream
		for n := range clients {
			said = append(said, say(t, connect(t, sim), fmt.Sprintf("%02d", n)))
		}
		synctest.Wait()
		if x := l.Stats(); x != (session.ListenerStats{}) {
			t.Errorf("before Accept, Stats are %+v", x)
		}
		seen := map[*session.Session]bool{}
		for range clients {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			seen[sessionOf(t, c)] = true
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
		for n, st := range said {
			_ = st.CloseWrite()
			if got, err := io.ReadAll(st); string(got) != fmt.Sprintf("%02d", n) || err != nil {
				t.Errorf("client %d read %q, %v", n, got, err)
			}
		}
		if n := len(slices.Collect(l.Sessions())); n != clients || len(seen) != clients {
			t.Errorf("there are %d sessions, and streams came from %d", n, len(seen))
		}
	})
}

// Streams that a session passes on through a Dialer and a Listener pass nettest.
func TestDialerAndListenerPassNettest(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, nil, err
		}
		l := &session.Listener{Listener: tcp}
		d := &session.Dialer{Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", tcp.Addr().String())
		}}
		if c1, err = d.DialContext(context.Background(), "tcp", "anywhere:80"); err != nil {
			return nil, nil, nil, err
		}
		if c2, err = l.Accept(); err != nil {
			return nil, nil, nil, err
		}
		return c1, c2, func() {
			_, _ = c1.Close(), c2.Close()
			_ = d.Close()
			_ = l.CloseNow()
		}, nil
	})
}

// Sessions take turns, however many streams each has opened, and each peer's streams come in their order.
func TestListenerSessionsTakeTurns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, sim := listening(t, &session.Listener{})
		accepting := acceptFrom(l)
		flood, one, other := connect(t, sim), connect(t, sim), connect(t, sim)
		say(t, flood, "first")
		if r := <-accepting; r.Err != nil {
			t.Fatal(r.Err)
		}
		const many, few = 2000, 10
		for range many {
			say(t, flood, "flood")
		}
		synctest.Wait()
		for n := range few {
			say(t, one, fmt.Sprintf("one %02d", n))
			synctest.Wait() // it has arrived
			say(t, other, fmt.Sprintf("two %02d", n))
		}
		synctest.Wait()
		if n := l.Stats().Waiting; n != many+2*few {
			t.Errorf("%d streams wait", n)
		}
		for n := range few {
			wantSaid(t, l, "flood")
			wantSaid(t, l, fmt.Sprintf("one %02d", n))
			wantSaid(t, l, fmt.Sprintf("two %02d", n))
		}
		for range many - few {
			wantSaid(t, l, "flood")
		}
		wantPending(t, "Accept", acceptFrom(l))
	})
}

// Many calls of Accept at the same time get each stream once.
func TestListenerAcceptsConcurrently(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, sim := listening(t, &session.Listener{})
		const clients, each = 5, 200
		var accepting sync.WaitGroup
		var mu sync.Mutex
		seen := map[string]int{}
		for range 7 {
			accepting.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						testutil.WantErr(t, "Accept", err, net.ErrClosed)
						return
					}
					got, _ := io.ReadAll(c)
					mu.Lock()
					seen[string(got)]++
					mu.Unlock()
					_ = c.Close()
				}
			})
		}
		var opening sync.WaitGroup
		for i := range clients {
			s := connect(t, sim)
			opening.Go(func() {
				for n := range each {
					_ = say(t, s, fmt.Sprint(i, ":", n)).Close()
				}
			})
		}
		opening.Wait()
		synctest.Wait() // until all transports are accepted
		testutil.WantErr(t, "Shutdown", l.Shutdown(context.Background()), nil)
		accepting.Wait()
		if len(seen) != clients*each {
			t.Errorf("%d streams were accepted", len(seen))
		}
		for what, n := range seen {
			if n != 1 {
				t.Errorf("%q was accepted %d times", what, n)
			}
		}
	})
}

// AcceptStream ends with its context, and takes nothing from another call.
func TestListenerAcceptStreamEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, sim := listening(t, &session.Listener{})
		other := acceptFrom(l)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		elapsed := testutil.Clock()
		_, err := l.AcceptStream(ctx)
		testutil.WantErr(t, "AcceptStream", err, context.DeadlineExceeded)
		testutil.WantTime(t, "it returned", elapsed(), time.Minute)
		say(t, connect(t, sim), "hello")
		if r := <-other; r.Err != nil {
			t.Error(r.Err)
		}
		_, err = l.AcceptStream(ctx)
		testutil.WantErr(t, "AcceptStream", err, context.DeadlineExceeded)
	})
}

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

// A transport whose handshake or OnSession fails or hangs stops nobody. One that hangs is closed after HandshakeTimeout, also
// if its callback ignores its context.
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

// After Close, transports are no longer accepted, peers are told to open no more streams, and Accept fails once those that they
// had opened are accepted. Streams, and the sessions, go on.
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
			testutil.WantErr(t, "ending nothing", end(&session.Listener{}), nil)
		})
	}
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

// After a temporary error of the net.Listener, it goes on, with pauses of at most a second. After any other error, it drains
// as after Close, and Accept fails with that error.
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

// An error names each field that is bad.
func TestListenerValidateNamesEachField(t *testing.T) {
	l := &session.Listener{MaxSessions: -1, HandshakeTimeout: -2, Config: &session.Config{Version: 3}}
	const want = `session: bad Listener: Listener is nil, must be set
MaxSessions is -1, must not be negative
HandshakeTimeout is -2ns, must not be negative
session: bad Config: Version is 3, must be from 0 to 2`
	for _, err := range []error{l.Validate(), second(l.Accept()), second(l.AcceptStream(context.Background()))} {
		if err == nil || err.Error() != want {
			t.Errorf("the error is\n%v\nwant\n%s", err, want)
		}
	}
	if l.Addr() == nil {
		t.Error("Addr returns nil")
	}
	testutil.WantErr(t, "Close", l.Close(), nil)
}

// wrapper is a net.Conn with something in it.
type wrapper struct{ net.Conn }

func (w wrapper) NetConn() net.Conn { return w.Conn }

// From finds the session of a stream, wrapped or not, at both ends. Transport returns what was given to the session.
func TestFromFindsTheSession(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		ca, cb := tr.Pair(t)
		c, s := client(t, ca, &session.Config{Version: version}), server(t, cb, nil)
		opened, accepted := openPair(t, c, s)
		for st, want := range map[net.Conn]*session.Session{
			opened: c, accepted: s, wrapper{wrapper{opened}}: c, &wrapper{accepted}: s,
		} {
			if got, ok := session.From(st); got != want || !ok {
				t.Errorf("From(%T) = %p, %v, want %p", st, got, ok, want)
			}
		}
		if c.Transport() != ca || s.Transport() != cb {
			t.Error("Transport returns something else")
		}
		_ = c.CloseNow()
		if got, ok := session.From(opened); got != c || !ok {
			t.Error("the end of the session changes that")
		}
	})
	var loop wrapper
	self := &loop
	self.Conn = self
	a, b := net.Pipe()
	defer b.Close()
	defer a.Close()
	for _, conn := range []net.Conn{nil, a, wrapper{a}, wrapper{}, (*wrapper)(nil), (*stream.Stream)(nil), self} {
		if s, ok := session.From(conn); s != nil || ok {
			t.Errorf("From(%T) = %v, %v, want none", conn, s, ok)
		}
	}
}
