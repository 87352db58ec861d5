package session_test

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// wait returns the error of a call in the background, and checks that it returned after d.
func wait[T any](t testing.TB, what string, call <-chan testutil.Result[T], d time.Duration) error {
	t.Helper()
	r := <-call
	testutil.WantTime(t, what+" returned", r.After, d)
	return r.Err
}

// closeNow calls CloseNow and checks that it returns nil at once.
func closeNow(t testing.TB, s *session.Session) {
	t.Helper()
	elapsed := testutil.Clock()
	testutil.WantErr(t, "CloseNow", s.CloseNow(), nil)
	testutil.WantTime(t, "CloseNow returned", elapsed(), 0)
}

// CloseNow ends a session whose transport takes no data at once, and all calls on it.
func TestCloseNowEndsAllCallsAtOnce(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		s, peer := scripted(t, tr, &session.Config{Version: version, KeepAlive: off})
		st := openWide(t, s, peer, version)
		newSource(1, 1000).fill(t, st)
		other := open(t, s)
		calls := map[string]<-chan testutil.Result[any]{
			"Read":         testutil.Background(func() (any, error) { return st.Read(make([]byte, 1)) }),
			"Write":        testutil.Background(func() (any, error) { return st.Write(make([]byte, 1<<20)) }),
			"WriteTo":      testutil.Background(func() (any, error) { return other.WriteTo(io.Discard) }),
			"AcceptStream": testutil.Background(func() (any, error) { return s.AcceptStream(context.Background()) }),
			"Ping":         testutil.Background(func() (any, error) { return s.Ping(context.Background()) }),
		}
		time.Sleep(time.Second)
		for what, c := range calls {
			wantPending(t, what, c)
		}
		closeNow(t, s)
		for what, c := range calls {
			testutil.WantErr(t, what, wait(t, what, c, time.Second), net.ErrClosed)
		}
		wantEnded(t, s, net.ErrClosed)
		_, err := s.OpenStream(context.Background())
		testutil.WantErr(t, "OpenStream", err, net.ErrClosed)
		closeNow(t, s) // again
		testutil.WantErr(t, "Close", s.Close(), nil)
		testutil.WantErr(t, "Shutdown", s.Shutdown(context.Background()), nil)
	})
}

// CloseNow throws unread data away, and the peer's open streams end with io.ErrUnexpectedEOF.
func TestCloseNowGivesThePeerNoFIN(t *testing.T) {
	eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version, KeepAlive: off})
		a, b := openPair(t, c, s)
		if _, err := b.Write([]byte("unread")); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		closeNow(t, c)
		_, err := a.Read(make([]byte, 1))
		testutil.WantErr(t, "Read", err, net.ErrClosed)
		got, err := io.ReadAll(b)
		if string(got) != "hello" {
			t.Errorf("the peer read %q", got)
		}
		testutil.WantErr(t, "the peer's Read", err, io.ErrUnexpectedEOF)
	})
}

// CloseNow ends a Close or a Shutdown that is under way: they return ErrNotFlushed at once.
func TestCloseNowEndsCloseAndShutdown(t *testing.T) {
	for name, call := range map[string]func(s *session.Session) error{
		"Close":    (*session.Session).Close,
		"Shutdown": func(s *session.Session) error { return s.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			eachTransport(t, inBubble, func(t *testing.T, tr testutil.Transport, version int) {
				s, peer := scripted(t, tr, &session.Config{Version: version, KeepAlive: off, CloseTimeout: time.Minute})
				newSource(1, 1000).fill(t, openWide(t, s, peer, version))
				ending := testutil.BackgroundErr(func() error { return call(s) })
				again := testutil.BackgroundErr(func() error { return s.Shutdown(context.Background()) })
				time.Sleep(time.Second)
				wantPending(t, name, ending)
				closeNow(t, s)
				testutil.WantErr(t, name, wait(t, name, ending, time.Second), session.ErrNotFlushed)
				testutil.WantErr(t, "another Shutdown", wait(t, "another Shutdown", again, time.Second), session.ErrNotFlushed)
				wantEnded(t, s, net.ErrClosed)
			})
		})
	}
}

// CloseNow waits for a transport whose Close blocks for 0.1 s, and so does a Close that it ends.
func TestCloseNowWaitsBrieflyForTheTransport(t *testing.T) {
	const grace = 100 * time.Millisecond
	eachVersion(t, func(t *testing.T, version int) {
		for _, closing := range []bool{false, true} {
			ours, theirs := testutil.SimPair(t, simnet.Link{})
			conn := stuck{simnet.Bare(ours), make(chan struct{})}
			s, _ := scriptedOver(t, conn, theirs, &session.Config{Version: version, KeepAlive: off, CloseTimeout: time.Minute})
			var first <-chan testutil.Result[struct{}]
			if closing {
				first = testutil.BackgroundErr(s.Close)
				time.Sleep(time.Second)
				wantPending(t, "Close", first)
			}
			elapsed := testutil.Clock()
			err := s.CloseNow()
			if closing {
				testutil.WantErr(t, "CloseNow", err, nil)
				testutil.WantTime(t, "CloseNow returned", elapsed(), 0)
				testutil.WantErr(t, "Close", wait(t, "Close", first, time.Second+grace), os.ErrDeadlineExceeded)
			} else {
				testutil.WantErr(t, "CloseNow", err, os.ErrDeadlineExceeded)
				testutil.WantTime(t, "CloseNow returned", elapsed(), grace)
			}
			close(conn.let)
		}
	})
}

// CloseNow may be called at any time and from several goroutines: everything ends.
func TestCloseNowRacesWithEverything(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		for range 10 {
			c, s := sessions(t, tr, session.Config{Version: version, CloseTimeout: time.Minute})
			a, b := openPair(t, c, s)
			var all []<-chan testutil.Result[struct{}]
			for _, call := range []func() error{
				c.CloseNow, c.CloseNow, s.CloseNow, c.Close, s.Close, a.Close, a.CloseWrite, b.CloseRead,
				func() error { return c.Shutdown(context.Background()) },
				func() error { return second(a.Write(make([]byte, 100_000))) },
				func() error { return second(io.Copy(io.Discard, b)) },
				func() error { return second(c.OpenStream(context.Background())) },
			} {
				all = append(all, testutil.BackgroundErr(call))
			}
			for _, r := range all {
				<-r
			}
			<-c.Done()
			<-s.Done()
		}
	})
}
