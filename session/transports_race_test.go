package session_test

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// CloseNow also closes a session that begins at that moment, although it has no OnSession that could fail.
func TestListenerCloseNowFindsASessionThatBegins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var l *session.Listener
		l, sim := listening(t, &session.Listener{Config: &session.Config{
			KeepAlive: off,
			Trace:     &session.Trace{SessionBegin: func(*session.Session) { _ = l.CloseNow() }},
		}})
		accepting := acceptFrom(l)
		s := connect(t, sim)
		testutil.WantErr(t, "Accept", (<-accepting).Err, net.ErrClosed)
		synctest.Wait()
		wantEnded(t, s, io.EOF)
	})
}

// While Shutdown waits for a handshake that hangs, Accept returns streams at once. CloseNow ends that Shutdown, although
// OnSession ignores its context.
func TestListenerShutdownTakesNoWakeUpOfAccept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var number atomic.Int32
		quick, hangs := make(chan struct{}), make(chan struct{})
		l, _ := listening(t, &session.Listener{OnSession: func(context.Context, *session.Session) error {
			if number.Add(1) == 1 {
				<-quick
			} else {
				<-hangs
			}
			return nil
		}})
		defer close(hangs)
		// The peer hears of the Shutdown after a second. What it opens until then can be accepted.
		sim := newSimListener(simnet.Link{Delay: time.Second})
		l.Listener = sim
		accepting := acceptFrom(l)
		c := connect(t, sim)
		time.Sleep(2 * time.Second)
		connect(t, sim)
		time.Sleep(2 * time.Second)
		down := testutil.BackgroundErr(func() error { return l.Shutdown(context.Background()) })
		synctest.Wait()
		close(quick)
		elapsed := testutil.Clock()
		for range 3 {
			time.Sleep(100 * time.Millisecond)
			say(t, c, "hello")
		}
		for n := range 3 {
			testutil.WantErr(t, "Accept", (<-accepting).Err, nil)
			testutil.WantTime(t, "Accept returned", elapsed(), time.Second+time.Duration(n+1)*100*time.Millisecond)
			accepting = acceptFrom(l)
			synctest.Wait()
		}
		wantPending(t, "Shutdown", down)
		elapsed = testutil.Clock()
		_ = l.CloseNow()
		<-down
		testutil.WantTime(t, "Shutdown ended", elapsed(), 0)
	})
}
