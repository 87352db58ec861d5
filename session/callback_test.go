package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	ka "github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/stream"
)

// Callbacks of the application may call the session, and may panic.

// A hook is a function that a callback of a session calls once, after it was set.
type hook struct{ f atomic.Pointer[func()] }

func (h *hook) set(f func()) { h.f.Store(&f) }

func (h *hook) call() {
	if f := h.f.Swap(nil); f != nil {
		(*f)()
	}
}

// callbacks are the callbacks that an application provides. Each function changes the Config and the transport of
// a session so that the callback calls the hook soon after it was set.
var callbacks = map[string]func(h *hook, conn io.ReadWriteCloser, cfg *session.Config) io.ReadWriteCloser{
	"keepalive.Policy.Next": func(h *hook, conn io.ReadWriteCloser, cfg *session.Config) io.ReadWriteCloser {
		cfg.KeepAlive = policy(func(ka.Activity) (ka.Action, time.Duration) {
			h.call()
			return ka.Probe, time.Second
		})
		return conn
	},
	"the transport's LastAcked": func(h *hook, conn io.ReadWriteCloser, cfg *session.Config) io.ReadWriteCloser {
		cfg.KeepAlive = policy(func(ka.Activity) (ka.Action, time.Duration) { return ka.Probe, time.Second })
		return hookedAcks{conn, h}
	},
	"the transport's Read": func(h *hook, conn io.ReadWriteCloser, cfg *session.Config) io.ReadWriteCloser {
		return hooked{ReadWriteCloser: conn, read: h}
	},
	"the transport's Write": func(h *hook, conn io.ReadWriteCloser, cfg *session.Config) io.ReadWriteCloser {
		return hooked{ReadWriteCloser: conn, write: h}
	},
}

// hookedAcks is a transport whose LastAcked calls a hook.
type hookedAcks struct {
	io.ReadWriteCloser
	h *hook
}

func (c hookedAcks) LastAcked() time.Time {
	c.h.call()
	return time.Now()
}

// hooked is a transport that calls hooks.
type hooked struct {
	io.ReadWriteCloser
	read, write, close *hook
}

func (c hooked) Read(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(p)
	if c.read != nil {
		c.read.call()
	}
	return n, err
}

func (c hooked) Write(p []byte) (int, error) {
	if c.write != nil {
		c.write.call()
	}
	return c.ReadWriteCloser.Write(p)
}

func (c hooked) Close() error {
	if c.close != nil {
		c.close.call()
	}
	return c.ReadWriteCloser.Close()
}

// calls are what a callback does with its session, which has one open stream.
var calls = map[string]func(t *testing.T, s *session.Session, st *stream.Stream){
	"Close": func(t *testing.T, s *session.Session, st *stream.Stream) {
		_ = s.Close()
	},
	"CloseNow": func(t *testing.T, s *session.Session, st *stream.Stream) {
		_ = s.CloseNow()
	},
	"Shutdown": func(t *testing.T, s *session.Session, st *stream.Stream) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		testutil.WantErr(t, "Shutdown", s.Shutdown(ctx), context.DeadlineExceeded)
	},
	"OpenStream": func(t *testing.T, s *session.Session, st *stream.Stream) {
		if _, err := s.OpenStream(context.Background()); err != nil {
			t.Error(err)
		}
	},
	"Stats": func(t *testing.T, s *session.Session, st *stream.Stream) {
		_, _, _ = s.Stats(), s.NumStreams(), s.Err()
	},
	"Stream.Write": func(t *testing.T, s *session.Session, st *stream.Stream) {
		if _, err := st.Write([]byte("x")); err != nil {
			t.Error(err)
		}
	},
	"Stream.Close": func(t *testing.T, s *session.Session, st *stream.Stream) {
		testutil.WantErr(t, "Stream.Close", st.Close(), nil)
	},
}

// A callback of the application may call anything on the session and its streams, Close included.
func TestCallbacksMayCallAnything(t *testing.T) {
	for callback, with := range callbacks {
		for name, call := range calls {
			t.Run(callback+"/"+name, func(t *testing.T) {
				eachVersion(t, func(t *testing.T, version int) {
					var h hook
					cfg := session.Config{Version: version}
					a, b := testutil.SimPair(t, simnet.Link{})
					c := client(t, with(&h, a, &cfg), &cfg)
					s := server(t, b, &session.Config{Version: version})
					out, _ := openPair(t, c, s)
					done := make(chan struct{})
					h.set(func() {
						defer close(done)
						call(t, c, out)
					})
					_, _ = out.Write([]byte("something to send"))
					time.Sleep(20 * time.Second) // 10 s for a NOP, and 5 s for a Close that waits for CloseTimeout
					select {
					case <-done:
					default:
						t.Error("the call has not returned")
					}
					if name == "Close" || name == "CloseNow" {
						wantEnded(t, c, net.ErrClosed)
					} else {
						testutil.WantErr(t, "Err", c.Err(), nil)
					}
				})
			})
		}
	}
}

// The transport's Close may call anything on a session that ends.
func TestTransportCloseMayCallAnything(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		var h hook
		cfg := session.Config{Version: version}
		a, b := testutil.SimPair(t, simnet.Link{})
		c := client(t, hooked{ReadWriteCloser: a, close: &h}, &cfg)
		s := server(t, b, &session.Config{Version: version})
		out, _ := openPair(t, c, s)
		called := false
		h.set(func() {
			called = true
			callEnded(t, c, out)
		})
		testutil.WantErr(t, "Close", c.Close(), nil)
		synctest.Wait() // the reader goroutine may end the session, and make the call after Close has returned
		if !called {
			t.Error("there was no call")
		}
	})
}

// callEnded calls what a callback may call on a session that was closed, and that has the stream st.
func callEnded(t *testing.T, s *session.Session, st *stream.Stream) {
	t.Helper()
	testutil.WantErr(t, "Close", s.Close(), nil)
	testutil.WantErr(t, "Shutdown", s.Shutdown(context.Background()), nil)
	_, err := s.OpenStream(context.Background())
	testutil.WantErr(t, "OpenStream", err, net.ErrClosed)
	testutil.WantErr(t, "Err", s.Err(), net.ErrClosed)
	_, _ = s.Stats(), st.Close()
}

// nosy is a context whose methods call a session.
type nosy struct {
	context.Context
	s *session.Session
}

func (n nosy) look() { _, _ = n.s.NumStreams(), n.s.Err() }

func (n nosy) Err() error {
	n.look()
	return n.Context.Err()
}

func (n nosy) Done() <-chan struct{} {
	n.look()
	return n.Context.Done()
}

func (n nosy) Value(key any) any {
	n.look()
	return n.Context.Value(key)
}

// AfterFunc is what context.AfterFunc calls if there is such a method.
func (n nosy) AfterFunc(f func()) (stop func() bool) {
	n.look()
	return context.AfterFunc(n.Context, f)
}

// A context's methods may call anything on the session: they are called without a lock.
func TestContextsMayCallAnything(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		a, b := testutil.SimPair(t, simnet.Link{})
		s := server(t, b, nil)
		ctx, cancel := context.WithCancel(t.Context())
		opened := testutil.Background(func() (*stream.Stream, error) { return s.OpenStream(nosy{ctx, s}) })
		accepted := testutil.Background(func() (*stream.Stream, error) { return s.AcceptStream(nosy{ctx, s}) })
		time.Sleep(time.Second) // one waits for the version, one for a stream
		c := client(t, a, &session.Config{Version: version})
		open(t, c)
		for _, done := range []<-chan testutil.Result[*stream.Stream]{opened, accepted} {
			if r := <-done; r.Err != nil {
				t.Error(r.Err)
			}
		}

		accepted = testutil.Background(func() (*stream.Stream, error) { return s.AcceptStream(nosy{ctx, s}) })
		down := shutdown(s, nosy{ctx, s})
		time.Sleep(time.Second)
		cancel()
		testutil.WantErr(t, "AcceptStream", (<-accepted).Err, context.Canceled)
		testutil.WantErr(t, "Shutdown", (<-down).Err, context.Canceled)
		_, err := s.AcceptStream(nosy{ctx, s})
		testutil.WantErr(t, "AcceptStream", err, context.Canceled)
		_, err = s.OpenStream(nosy{ctx, s})
		testutil.WantErr(t, "OpenStream", err, context.Canceled)
	})
}

// A callback that panics in Client or Server leaves the transport to its caller, and no timer, no goroutine and no
// share of a budget behind.
func TestCallbackPanicInClientLeavesNothingBehind(t *testing.T) {
	for name, with := range map[string]func(conn net.Conn, cfg *session.Config) io.ReadWriteCloser{
		"NewScheduler": func(conn net.Conn, cfg *session.Config) io.ReadWriteCloser {
			cfg.NewScheduler = func() shaper.Scheduler { panic("boom") }
			return conn
		},
		"keepalive.Policy.Next": func(conn net.Conn, cfg *session.Config) io.ReadWriteCloser {
			cfg.KeepAlive = policy(func(ka.Activity) (ka.Action, time.Duration) { panic("boom") })
			return conn
		},
		"Trace.SessionBegin": func(conn net.Conn, cfg *session.Config) io.ReadWriteCloser {
			cfg.Trace = &session.Trace{SessionBegin: func(*session.Session) { panic("boom") }}
			return conn
		},
		"LocalAddr": func(conn net.Conn, cfg *session.Config) io.ReadWriteCloser {
			return panicking{Conn: conn, local: true}
		},
		"RemoteAddr": func(conn net.Conn, cfg *session.Config) io.ReadWriteCloser {
			return panicking{Conn: conn}
		},
	} {
		for end, start := range starts {
			t.Run(name+"/"+end, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					budget := flow.NewBudget(testutil.MiB)
					ours, theirs := testutil.SimPair(t, simnet.Link{})
					cfg := session.Config{Budget: budget}
					conn := with(ours, &cfg)
					if v := panics(func() { _, _ = start(conn, &cfg) }); v != "boom" {
						t.Fatalf("it panics with %v, want boom", v)
					}
					time.Sleep(time.Hour)
					go ours.Write([]byte("x"))
					if _, err := io.ReadFull(theirs, make([]byte, 1)); err != nil {
						t.Errorf("the transport is not as it was: %v", err)
					}
					// A session may fill a budget only if it has that budget for itself.
					c, s := sessionsOver(t, stallPath, &session.Config{Version: 1}, &session.Config{Version: 1, Budget: budget})
					out, _ := openPair(t, c, s)
					go writeUntilEnd(out, 64*testutil.KiB)
					time.Sleep(time.Second)
					if used := budget.Used(); used < testutil.MiB {
						t.Errorf("the next session on the budget holds %d bytes, want %d", used, testutil.MiB)
					}
				})
			})
		}
	}
}

// panicking is a transport whose LocalAddr, or RemoteAddr, panics.
type panicking struct {
	net.Conn
	local bool
}

func (c panicking) LocalAddr() net.Addr {
	if c.local {
		panic("boom")
	}
	return c.Conn.LocalAddr()
}

func (c panicking) RemoteAddr() net.Addr { panic("boom") }

// A policy that panics in a call of the application leaves no lock held.
func TestCallbackPanicLeavesNoLockHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var h hook
		a, _ := testutil.SimPair(t, simnet.Link{})
		c := client(t, a, &session.Config{KeepAlive: policy(func(ka.Activity) (ka.Action, time.Duration) {
			h.call()
			return ka.None, 0
		})})
		h.set(func() { panic("boom") })
		if v := panics(func() { session.AskPolicy(c) }); v != "boom" {
			t.Errorf("the policy panics with %v, want boom", v)
		}
		session.AskPolicy(c)
		_ = open(t, c)
	})
}

// unruly is a scheduler with a method that panics when the test's function panics is on the stack.
type unruly struct {
	shaper.Scheduler
	method string
}

func (u unruly) check(method string) {
	if u.method != method {
		return
	}
	stack := make([]byte, 64<<10)
	if bytes.Contains(stack[:runtime.Stack(stack, false)], []byte("session_test.panics(")) {
		panic("boom")
	}
}

func (u unruly) Push(f *shaper.Flow, c shaper.Class) {
	u.check("Push")
	u.Scheduler.Push(f, c)
}

func (u unruly) Pop() (*shaper.Flow, shaper.Class, int) {
	u.check("Pop")
	return u.Scheduler.Pop()
}

func (u unruly) EndTurn(f *shaper.Flow, c shaper.Class, n int, more bool) {
	u.check("EndTurn")
	u.Scheduler.EndTurn(f, c, n, more)
}

func (u unruly) Empty() bool {
	u.check("Empty")
	return u.Scheduler.Empty()
}

func (u unruly) FlushDue() bool {
	u.check("FlushDue")
	return u.Scheduler.(shaper.Batcher).FlushDue()
}

// A scheduler that panics in a call of the application ends the session. No lock stays held, and every call that
// waits returns.
func TestSchedulerPanicEndsItsSession(t *testing.T) {
	test := func(method string, size int) {
		t.Run(fmt.Sprintf("%s/%d bytes", method, size), func(t *testing.T) {
			if portable && method != "Push" && method != "Empty" {
				t.Skip("the caller of Write does not send")
			}
			testutil.LeakCheck(t)
			ours, theirs := testutil.TCPPair(t)
			c := client(t, ours, &session.Config{Version: 2, NewScheduler: func() shaper.Scheduler {
				return unruly{shaper.NewFair(), method}
			}})
			s := server(t, theirs, nil)
			out, in := openPair(t, c, s)
			ping(t, out, in)
			waiting := testutil.Background(func() (int, error) { return out.Read(make([]byte, 1)) })
			var value any
			for n := 0; value == nil && n < 1000; n++ {
				// The caller of a stream's first Write sends it, unless another goroutine is sending.
				other := open(t, c)
				session.AwaitSent(c)
				value = panics(func() { _, _ = other.Write(make([]byte, size)); session.Flush(c) })
			}
			if value != "boom" {
				t.Fatalf("Write panics with %v, want boom", value)
			}
			if r := <-waiting; r.Err == nil {
				t.Error("Read returned no error")
			}
			if err := c.Err(); err == nil || errors.Is(err, net.ErrClosed) {
				t.Errorf("Err = %v, want an error that tells of the scheduler", err)
			}
			_, err := c.OpenStream(context.Background())
			testutil.WantErr(t, "OpenStream", err, c.Err())
			testutil.WantErr(t, "Close", c.Close(), nil)
			_, _ = c.Stats(), c.NumStreams()
		})
	}
	for _, method := range []string{"Push", "Pop", "EndTurn", "Empty", "FlushDue"} {
		test(method, 1)
		test(method, 100_000)
	}
}
