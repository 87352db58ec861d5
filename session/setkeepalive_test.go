package session_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	ka "github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// The keep-alive policy is replaced while the session runs.

// After SetKeepAlive, the new policy decides: here it begins to probe and to give up. It gives the peer its whole
// Timeout.
func TestSetKeepAliveStartsAPolicy(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		p.Send(t, r.nop())
		time.Sleep(time.Hour)
		elapsed := testutil.Clock()
		if err := s.SetKeepAlive(keepAlive); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.Ignore()
		if r.client {
			p.ExpectFrame(t, "a client begins with a NOP", r.nop())
		}
		p.ExpectFrame(t, "nothing was sent for Interval", r.nop())
		testutil.WantTime(t, "the probe came", elapsed(), 0)
		wantEnded(t, s, session.ErrKeepAlive)
		testutil.WantTime(t, "the session ended", elapsed(), keepAlive.Timeout)
	})
}

// SetKeepAlive(keepalive.Off{}) ends the probes, and no peer is given up any more. nil is the default policy.
func TestSetKeepAliveStopsAPolicy(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: keepAlive})
		p.Send(t, r.nop())
		time.Sleep(keepAlive.Timeout - 1)
		if err := s.SetKeepAlive(ka.Off{}); err != nil {
			t.Fatal(err)
		}
		nops(t, p, time.Second) // those before
		p.ExpectNothing(t, "Off sends no probe", 1000*time.Hour)
		elapsed := testutil.Clock()
		if err := s.SetKeepAlive(nil); err != nil {
			t.Fatal(err)
		}
		wantEnded(t, s, session.ErrKeepAlive)
		testutil.WantTime(t, "the session ended", elapsed(), ka.DefaultTimeout)
	})
}

// A session without a new policy keeps that of the Config which it shares.
func TestSetKeepAliveChangesOneSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := &session.Config{KeepAlive: keepAlive}
		var sessions []*session.Session
		for range 2 {
			a, b := testutil.SimPair(t, simnet.Link{})
			sessions = append(sessions, client(t, a, cfg))
			read(t, testutil.NewPeer(t, b))
		}
		if err := sessions[0].SetKeepAlive(ka.Off{}); err != nil {
			t.Fatal(err)
		}
		wantEnded(t, sessions[1], session.ErrKeepAlive)
		time.Sleep(time.Hour)
		if err := sessions[0].Err(); err != nil {
			t.Error(err)
		}
		if cfg.KeepAlive != keepAlive {
			t.Errorf("the Config has %v", cfg.KeepAlive)
		}
	})
}

// A policy that is not valid is refused, and the one before stays.
func TestSetKeepAliveRefusesABadPolicy(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, _ := r.start(t, session.Config{KeepAlive: keepAlive})
		elapsed := testutil.Clock()
		for bad, want := range map[ka.Policy]string{
			ka.Periodic{Interval: -1}:         "Interval is -1ns",
			(*ka.Periodic)(nil):               "nil pointer",
			ka.ProbeOnly{Interval: 1}:         "Interval is 1ns",
			ka.Periodic{Timeout: time.Second}: "Timeout is 1s",
		} {
			if err := s.SetKeepAlive(bad); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("SetKeepAlive(%v) = %v, want an error with %q", bad, err, want)
			}
		}
		wantEnded(t, s, session.ErrKeepAlive)
		testutil.WantTime(t, "the session ended", elapsed(), keepAlive.Timeout)
		if err := s.SetKeepAlive(ka.Off{}); err != nil {
			t.Errorf("after the end, SetKeepAlive = %v", err)
		}
	})
}

// The result of a call of Next during which the policy was replaced is ignored. The new policy is asked after that call
// has returned, so that one goroutine at a time asks.
func TestSetKeepAliveDuringNextIgnoresItsResult(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		var asking atomic.Int32
		enter := func() {
			if asking.Add(1) > 1 {
				t.Error("two calls of Next at once")
			}
		}
		inNext, goOn := make(chan struct{}), make(chan struct{})
		type asked struct{ Now, Began, Due time.Duration }
		var got []asked
		next := policy(func(a ka.Activity) (ka.Action, time.Duration) {
			enter()
			defer asking.Add(-1)
			got = append(got, asked{a.Now, a.Began, a.Due})
			return ka.None, time.Second
		})
		s, p := r.start(t, session.Config{KeepAlive: policy(func(a ka.Activity) (ka.Action, time.Duration) {
			enter()
			defer asking.Add(-1)
			if a.Now == 0 {
				return ka.None, time.Second
			}
			close(inNext)
			<-goOn
			return ka.GiveUp, 0
		})})
		<-inNext // 1 s
		if err := s.SetKeepAlive(ka.Off{}); err != nil {
			t.Fatal(err)
		}
		if err := s.SetKeepAlive(next); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		close(goOn) // 2 s
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		want := []asked{{2 * time.Second, time.Second, 0}, {3 * time.Second, time.Second, 3 * time.Second}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the new policy was asked (-want +got)\n%s", diff)
		}
		p.Send(t, r.nop())
		wantAlive(t, r, s, p, r.theirs(0))
	})
}

// Next may replace the policy that it belongs to.
func TestNextMaySetThePolicy(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		var s *session.Session
		started := make(chan struct{})
		n := 0
		set := policy(func(a ka.Activity) (ka.Action, time.Duration) {
			if n++; a.Now == 0 {
				return ka.None, time.Second
			}
			<-started
			if err := s.SetKeepAlive(keepAlive); err != nil {
				t.Error(err)
			}
			return ka.Probe, time.Second
		})
		s, _ = r.start(t, session.Config{KeepAlive: set})
		close(started)
		elapsed := testutil.Clock()
		wantEnded(t, s, session.ErrKeepAlive)
		testutil.WantTime(t, "the session ended", elapsed(), time.Second+keepAlive.Timeout)
		if n != 2 {
			t.Errorf("the first policy was asked %d times", n)
		}
	})
}

// Policies may be replaced all the time, from many goroutines, until the session ends.
func TestSetKeepAliveFromManyGoroutines(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{})
		read(t, p)
		asking := 0 // the race detector watches
		done := make(chan struct{})
		for range 8 {
			go func() {
				defer func() { done <- struct{}{} }()
				for range 100 {
					_ = s.SetKeepAlive(policy(func(ka.Activity) (ka.Action, time.Duration) {
						asking++
						defer func() { asking-- }()
						if asking > 1 {
							t.Error("two calls of Next at once")
						}
						return ka.Probe, time.Microsecond
					}))
				}
			}()
		}
		for range 8 {
			<-done
		}
		if err := s.SetKeepAlive(ka.Off{}); err != nil {
			t.Error(err)
		}
		_ = s.CloseNow()
	}, "sim", "tcp")
}

// A policy that calls SetKeepAlive in each Next is called with pauses: it takes no processor, and Client returns. The
// session does what the policy wants once Next leaves it in its place.
func TestPolicyThatAlwaysReplacesItselfIsPaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s atomic.Pointer[session.Session]
		var calls atomic.Int64
		var calm atomic.Bool
		var hasty policy
		hasty = func(ka.Activity) (ka.Action, time.Duration) {
			calls.Add(1)
			if calm.Load() {
				return ka.GiveUp, 0
			}
			_ = s.Load().SetKeepAlive(hasty)
			return ka.None, time.Hour
		}
		trace := &session.Trace{SessionBegin: func(began *session.Session) { s.Store(began) }}
		a, b := testutil.SimPair(t, simnet.Link{})
		c := client(t, a, &session.Config{KeepAlive: hasty, Trace: trace})
		read(t, testutil.NewPeer(t, b))
		time.Sleep(time.Minute)
		// Nine at once, then ten with pauses of 1, 2, 4 … 512 ms, and then one in a second.
		if n := calls.Load(); n < 60 || n > 90 {
			t.Errorf("Next was called %d times in a minute", n)
		}
		calm.Store(true)
		elapsed := testutil.Clock()
		wantEnded(t, c, session.ErrKeepAlive)
		if took := elapsed(); took > time.Second {
			t.Errorf("it ended after %v", took)
		}
	})
}

// A policy may replace itself by another one, which then is asked at once, several times in a row.
func TestPolicyThatReplacesItselfIsFollowedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s *session.Session
		last := policy(func(ka.Activity) (ka.Action, time.Duration) { return ka.GiveUp, 0 })
		var chain func(n int) policy
		chain = func(n int) policy {
			return func(ka.Activity) (ka.Action, time.Duration) {
				next := ka.Policy(last)
				if n > 0 {
					next = chain(n - 1)
				}
				_ = s.SetKeepAlive(next)
				return ka.None, time.Hour
			}
		}
		a, _ := testutil.SimPair(t, simnet.Link{})
		elapsed := testutil.Clock()
		c := client(t, a, &session.Config{KeepAlive: chain(5), Trace: &session.Trace{
			SessionBegin: func(began *session.Session) { s = began },
		}})
		wantEnded(t, c, session.ErrKeepAlive)
		testutil.WantTime(t, "it ended", elapsed(), 0)
	})
}
