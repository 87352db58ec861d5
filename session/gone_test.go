package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	ka "github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/stream"
)

// Callbacks that do not return, because they call runtime.Goexit. FailNow of a test does that.

// once returns a function that calls Goexit the first time.
func once() func() {
	var n atomic.Int32
	return func() {
		if n.Add(1) == 1 {
			runtime.Goexit()
		}
	}
}

// A Dialer whose callback ends its goroutine takes that for a dial that has failed, closes what was dialed, and dials
// again: no call waits for ever.
func TestDialerGoesOnIfACallbackIsGone(t *testing.T) {
	for name, set := range map[string]func(d *session.Dialer, gone func()){
		"Dial": func(d *session.Dialer, gone func()) {
			dial := d.Dial
			d.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) {
				gone()
				return dial(ctx)
			}
		},
		"OnSession": func(d *session.Dialer, gone func()) {
			d.OnSession = func(context.Context, *session.Session) error {
				gone()
				return nil
			}
		},
		"SessionBegin": func(d *session.Dialer, gone func()) {
			d.Config.Trace = &session.Trace{SessionBegin: func(*session.Session) { gone() }}
		},
		"NewScheduler": func(d *session.Dialer, gone func()) {
			d.Config.NewScheduler = func() shaper.Scheduler {
				gone()
				return shaper.NewFair()
			}
		},
		"Next": func(d *session.Dialer, gone func()) {
			d.Config.KeepAlive = policy(func(ka.Activity) (ka.Action, time.Duration) {
				gone()
				return ka.None, 0
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newSite(t, simnet.Link{}, session.Config{})
				d := p.dialer(t, &session.Dialer{Config: &session.Config{KeepAlive: off}})
				set(d, once())
				st := openOn(t, d)
				echoes(t, st)
				if x := d.Stats(); x.Dials != 2 || x.DialErrors != 1 || x.LastError != nil {
					t.Errorf("Stats: %+v", x)
				}
				for n := range len(p.dialed) - 1 {
					if _, err := p.conn(n).Write([]byte("x")); err == nil {
						t.Error("what was dialed first is open")
					}
				}
			})
		})
	}
}

// With FailFast, the error says what has happened.
func TestDialerSaysThatACallbackIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := closing(t, &session.Dialer{FailFast: true, Dial: func(context.Context) (io.ReadWriteCloser, error) {
			runtime.Goexit()
			return nil, nil
		}})
		_, err := d.OpenStream(context.Background())
		const want = "dial smux: session: a callback has ended its goroutine (runtime.Goexit) and did not return"
		if err == nil || err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}
	})
}

// A Listener whose callback ends its goroutine takes that for a transport that has failed, and goes on: others are
// accepted, the failed one does not count against MaxSessions, and Shutdown returns.
func TestListenerGoesOnIfACallbackIsGone(t *testing.T) {
	for name, set := range map[string]func(l *session.Listener, gone func()){
		"OnSession": func(l *session.Listener, gone func()) {
			l.OnSession = func(context.Context, *session.Session) error {
				gone()
				return nil
			}
		},
		"HandshakeContext": func(l *session.Listener, gone func()) {
			l.Listener = &shaking{Listener: l.Listener, shake: func(context.Context, net.Conn, int) error {
				gone()
				return nil
			}}
		},
		"SessionBegin": func(l *session.Listener, gone func()) {
			l.Config.Trace = &session.Trace{SessionBegin: func(*session.Session) { gone() }}
		},
		"OnError": func(l *session.Listener, gone func()) {
			fail := onceErr(errBroken)
			l.OnSession = func(context.Context, *session.Session) error { return fail() }
			l.OnError = func(error) { gone() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l, sim := listening(t, &session.Listener{MaxSessions: 1, Config: &session.Config{KeepAlive: off}})
				set(l, once())
				accepting := acceptFrom(l)
				first := connect(t, sim)
				<-first.Done()
				say(t, connect(t, sim), "hello")
				r := <-accepting
				if r.Err != nil {
					t.Fatal(r.Err)
				}
				_ = r.Value.Close()
				if x := l.Stats(); x.Accepted != 2 || x.Failed != 1 || x.Handshakes != 0 || x.Sessions != 1 {
					t.Errorf("Stats: %+v", x)
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				testutil.WantErr(t, "Shutdown", l.Shutdown(ctx), nil)
			})
		})
	}
}

// onceErr returns a function that returns err the first time, and then nil.
func onceErr(err error) func() error {
	var n atomic.Int32
	return func() error {
		if n.Add(1) == 1 {
			return err
		}
		return nil
	}
}

// An OnError that ends its goroutine does not stop a Listener that goes on after an error of its net.Listener. The pauses
// between such errors grow as always.
func TestListenerGoesOnIfOnErrorIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var errs atomic.Int32
		l, sim := listening(t, &session.Listener{OnError: func(error) {
			errs.Add(1)
			runtime.Goexit()
		}})
		f := &failing{sim, make(chan error, 10)}
		for range cap(f.errs) {
			f.errs <- temporary{errBroken}
		}
		l.Listener = f
		accepting := acceptFrom(l)
		elapsed := testutil.Clock()
		say(t, connect(t, sim), "hello")
		if r := <-accepting; r.Err != nil {
			t.Fatal(r.Err)
		}
		if n := errs.Load(); n != 10 {
			t.Errorf("%d errors were reported, want 10", n)
		}
		// 5 ms, twice as long each time, up to a second.
		testutil.WantTime(t, "the transport was accepted", elapsed(), 3275*time.Millisecond)
	})
}

// A net.Listener whose Accept ends its goroutine ends the Listener.
func TestListenerEndsIfAcceptIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, sim := listening(t, &session.Listener{})
		l.Listener = goneListener{sim}
		if c, err := l.Accept(); err == nil || c != nil {
			t.Errorf("Accept = %v, %v", c, err)
		}
		testutil.WantErr(t, "Close of the net.Listener", sim.Close(), net.ErrClosed)
	})
}

type goneListener struct{ net.Listener }

func (goneListener) Accept() (net.Conn, error) {
	runtime.Goexit()
	return nil, nil
}

// A session whose keep-alive policy ends its goroutine ends: nothing else would find out that the peer is gone. The same
// holds for Read and Write of the transport.
func TestSessionEndsIfACallbackIsGone(t *testing.T) {
	for _, where := range []string{"Next", "Read", "Write"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, b := simnet.Pair(simnet.Link{})
				peer := server(t, b, &session.Config{KeepAlive: off})
				var armed atomic.Bool
				gone := func(method string) {
					if method == where && armed.Load() {
						runtime.Goexit()
					}
				}
				next := policy(func(ka.Activity) (ka.Action, time.Duration) {
					gone("Next")
					return ka.Probe, time.Second
				})
				c := client(t, &goneConn{a, gone}, &session.Config{KeepAlive: next})
				st := open(t, c)
				time.Sleep(1500 * time.Millisecond)
				armed.Store(true)
				read := testutil.BackgroundErr(func() error { return second(st.Read(make([]byte, 1))) })
				if where == "Read" { // it returns when the peer sends something
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					defer cancel()
					_, _ = peer.Ping(ctx)
				}
				<-c.Done()
				synctest.Wait()
				if (<-read).Err == nil || c.Err() == nil {
					t.Error("there is no error")
				}
				const want = "session: a callback has ended its goroutine (runtime.Goexit) and did not return"
				if c.Err().Error() != want {
					t.Errorf("Err = %v, want %s", c.Err(), want)
				}
				testutil.WantErr(t, "Close", c.Close(), nil)
			})
		})
	}
}

// A goneConn calls gone before each Read and Write.
type goneConn struct {
	*simnet.Conn
	gone func(method string)
}

func (c *goneConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.gone("Read")
	return n, err
}

func (c *goneConn) Write(p []byte) (int, error) {
	c.gone("Write")
	return c.Conn.Write(p)
}

// Functions of Config.Trace may end their goroutine, each of them, each time: all others are called, the session goes
// on, drains, probes, gives its peer up, and ends.
func TestTraceMayEndItsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var probes, closed, drains, gaveUp, ends atomic.Int32
		count := func(n *atomic.Int32) {
			n.Add(1)
			runtime.Goexit()
		}
		trace := &session.Trace{
			StreamClosed:    func(*session.Session, session.StreamEnd) { count(&closed) },
			KeepAliveProbe:  func(*session.Session, time.Duration) { count(&probes) },
			KeepAliveGiveUp: func(*session.Session, time.Duration) { count(&gaveUp) },
			DrainBegin:      func(*session.Session) { count(&drains) },
			SessionEnd:      func(*session.Session, error) { count(&ends) },
		}
		a, b := simnet.Pair(simnet.Link{})
		c := client(t, a, &session.Config{Trace: trace, KeepAlive: ka.Periodic{Interval: time.Second, Timeout: 3 * time.Second, Strict: true}})
		s := server(t, b, &session.Config{KeepAlive: ka.Periodic{Interval: time.Second}})
		opened, accepted := openPair(t, c, s)
		time.Sleep(10 * time.Second)
		if n := probes.Load(); n < 9 {
			t.Errorf("%d probes in ten seconds", n)
		}
		_, _ = opened.Close(), accepted.Close()
		_ = c.Listener().Close()
		<-s.Draining() // the peer was told
		a.In().Stall() // the peer is silent
		<-c.Done()
		synctest.Wait()
		testutil.WantErr(t, "Err", c.Err(), session.ErrKeepAlive)
		for name, n := range map[string]int32{
			"StreamClosed": closed.Load(), "DrainBegin": drains.Load(), "KeepAliveGiveUp": gaveUp.Load(), "SessionEnd": ends.Load(),
		} {
			if n != 1 {
				t.Errorf("%s was called %d times, want once", name, n)
			}
		}
	})
}

// A Trace function that ends its goroutine in a call of the application's leaves no stream open that nobody has.
func TestTraceThatIsGoneLeavesNoStreamOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gone := once()
		a, b := simnet.Pair(simnet.Link{})
		trace := &session.Trace{StreamOpened: func(*session.Session, *stream.Stream) { gone() }}
		c := client(t, a, &session.Config{KeepAlive: off, Trace: trace})
		accepted := once()
		s := server(t, b, &session.Config{KeepAlive: off, Trace: &session.Trace{
			StreamAccepted: func(*session.Session, *stream.Stream) { accepted() },
		}})
		for range 2 {
			done := make(chan struct{})
			go func() { // it does not return
				defer close(done)
				_, _ = c.OpenStream(context.Background())
				_, _ = c.OpenStream(context.Background())
			}()
			<-done
			done = make(chan struct{})
			go func() {
				defer close(done)
				_, _ = s.AcceptStream(context.Background())
			}()
			<-done
		}
		time.Sleep(time.Second)
		if n := c.NumStreams(); n != 2 {
			t.Errorf("%d streams are open, want the two that a call has returned", n)
		}
	})
}

// Stalls are watched on if the function for them ends its goroutine.
func TestStallsAreWatchedIfTheirTraceIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var stalled atomic.Int32
		trace := &session.Trace{StreamStalled: func(*session.Session, *stream.Stream, int) {
			stalled.Add(1)
			runtime.Goexit()
		}}
		a, b := simnet.Pair(simnet.Link{})
		c := client(t, a, &session.Config{Version: 1, KeepAlive: off})
		s := server(t, b, &session.Config{Version: 1, KeepAlive: off, Trace: trace, StallTimeout: time.Second, MaxReceiveBuffer: 64 << 10})
		for range 5 {
			st, _ := openPair(t, c, s)
			go func() { _, _ = st.Write(make([]byte, 1<<20)) }()
		}
		time.Sleep(time.Minute)
		if n := stalled.Load(); n != 5 {
			t.Errorf("%d streams have stalled, want 5", n)
		}
		_, _ = c.CloseNow(), s.CloseNow()
	})
}

// A Dialer forgets a session whose Trace ends the goroutine that waits for its end.
func TestDialerForgetsASessionWhoseTraceIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		d := p.dialer(t, &session.Dialer{MaxAge: time.Minute, Config: &session.Config{KeepAlive: off, Trace: &session.Trace{
			SessionEnd: func(*session.Session, error) { runtime.Goexit() },
		}}})
		d.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) {
			c, err := p.dial(ctx)
			return struct{ io.ReadWriteCloser }{c}, err // without CloseWrite: the session ends before the peer's
		}
		for range 5 {
			_ = openOn(t, d).Close()
			time.Sleep(2 * time.Minute)
		}
		if x := d.Stats(); x.Sessions+x.Retired != 0 || x.SessionsRetired != 5 || x.Total.StreamsOpened != 5 {
			t.Errorf("Stats: %+v", x)
		}
		if err := d.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}
