package session_test

import (
	"context"
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
