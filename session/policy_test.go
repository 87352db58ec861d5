package session_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	ka "github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// Keep-alive policies of the application.

// With keepalive.Off a session sends no probe and never gives up its peer.
func TestOffNeverProbesAndNeverGivesUp(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: ka.Off{}})
		nops(t, p, time.Second) // the client's first
		p.ExpectNothing(t, "Off sends no probe", 1000*time.Hour)
		wantAlive(t, r, s, p, r.theirs(0))
	})
}

// policy is a function that implements ka.Policy.
type policy func(ka.Activity) (ka.Action, time.Duration)

func (p policy) Next(a ka.Activity) (ka.Action, time.Duration) { return p(a) }

// A policy is called at the start, and then at each time that it returns.
func TestPolicyIsAskedAtStartAndWhenItWants(t *testing.T) {
	type asked struct{ Now, Due, LastSent, LastReceived time.Duration }
	eachRole(t, func(t *testing.T, r role) {
		var got []asked
		var streams []int
		waits := []time.Duration{time.Second, time.Minute, time.Millisecond, 0}
		p := policy(func(a ka.Activity) (ka.Action, time.Duration) {
			got = append(got, asked{a.Now, a.Due, a.LastSent, a.LastReceived})
			streams = append(streams, a.Streams)
			return ka.None, waits[len(got)-1]
		})
		s, peer := r.start(t, session.Config{KeepAlive: p})
		time.Sleep(500 * time.Millisecond)
		peer.Send(t, r.syn(r.theirs(0)))
		st := accept(t, s)
		time.Sleep(50 * time.Second)
		if _, err := st.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		peer.ExpectData(t, "the data is sent", st.ID(), []byte("x"))
		time.Sleep(time.Hour)
		synctest.Wait()
		const ms = time.Millisecond
		want := []asked{
			{0, 0, 0, 0},
			{1000 * ms, 1000 * ms, 0, 500 * ms},
			{61_000 * ms, 61_000 * ms, 50_500 * ms, 500 * ms},
			{61_001 * ms, 61_001 * ms, 50_500 * ms, 500 * ms},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("it was asked (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]int{0, 1, 1, 1}, streams); diff != "" {
			t.Errorf("streams (-want +got)\n%s", diff)
		}
		wantAlive(t, r, s, peer, r.theirs(1))
	})
}

// A policy decides when probes are sent and when the peer is given up.
func TestPolicyProbesAndGivesUp(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		n := 0
		own := policy(func(a ka.Activity) (ka.Action, time.Duration) {
			n++
			switch {
			case n == 1:
				return ka.None, 3 * time.Second
			case n < 5:
				return ka.Probe, time.Second
			}
			return ka.GiveUp, time.Hour // the time is ignored
		})
		elapsed := testutil.Clock()
		s, p := r.start(t, session.Config{KeepAlive: own})
		want := []time.Duration{3 * time.Second, 4 * time.Second, 5 * time.Second}
		if r.client {
			want = append([]time.Duration{0}, want...)
		}
		if diff := cmp.Diff(want, nops(t, p, 5500*time.Millisecond)); diff != "" {
			t.Errorf("NOPs came (-want +got)\n%s", diff)
		}
		wantEnded(t, s, session.ErrKeepAlive)
		testutil.WantTime(t, "it gave up", elapsed(), 6*time.Second)
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if n != 5 {
			t.Errorf("it was asked %d times", n)
		}
	})
}

// A policy that gives up in its first call ends the session.
func TestPolicyThatGivesUpAtOnceEndsTheSession(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.start(t, session.Config{KeepAlive: policy(func(ka.Activity) (ka.Action, time.Duration) {
			return ka.GiveUp, 0
		})})
		wantEnded(t, s, session.ErrKeepAlive)
		p.ExpectEnd(t, "giving up the peer ends the transport")
	})
}

// A policy is not called after the end of the session.
func TestPolicyIsNotAskedAfterTheEnd(t *testing.T) {
	for _, e := range []struct {
		name string
		end  func(s *session.Session, p *testutil.Peer)
	}{
		{"Close", func(s *session.Session, p *testutil.Peer) { s.Close() }},
		{"the peer closes", func(s *session.Session, p *testutil.Peer) { p.Close() }},
	} {
		t.Run(e.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, r role) {
				n := 0
				s, p := r.start(t, session.Config{KeepAlive: policy(func(ka.Activity) (ka.Action, time.Duration) {
					n++
					return ka.Probe, time.Second
				})})
				time.Sleep(1500 * time.Millisecond)
				e.end(s, p)
				<-s.Done()
				synctest.Wait()
				before := n
				time.Sleep(time.Hour)
				synctest.Wait()
				if n != before || n != 2 {
					t.Errorf("it was asked %d times before the end and %d times after it", before, n-before)
				}
			})
		})
	}
}

// A policy is called by one goroutine at a time.
func TestPolicyIsAskedByOneGoroutineAtATime(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		asking, n := 0, 0
		_, p := r.start(t, session.Config{KeepAlive: policy(func(ka.Activity) (ka.Action, time.Duration) {
			asking++ // the race detector watches
			defer func() { asking-- }()
			if asking > 1 {
				t.Error("two at once")
			}
			if n++; n > 1000 {
				return ka.None, 0
			}
			runtime.Gosched()
			return ka.Probe, time.Microsecond
		})})
		p.Ignore()
		for range 10 {
			p.Next(t, "the policy's probes are sent")
			time.Sleep(50 * time.Microsecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n != 1001 {
			t.Errorf("it was asked %d times", n)
		}
	})
}

// Probes do not pile up while the transport takes nothing.
func TestProbesThatCannotBeSentDoNotPileUp(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.startLink(t, simnet.Link{Buffer: 16, ReadBuffer: 16}, session.Config{KeepAlive: keepAlive})
		chatter(t, r, p)
		p.Conn.(*simnet.Conn).In().Stall()
		time.Sleep(time.Hour)
		p.Conn.(*simnet.Conn).In().Unstall()
		if got := nops(t, p, time.Second); len(got) > 8 { // 4 in the link, one under way, one that waits
			t.Errorf("%d NOPs came after an hour without a way for them", len(got))
		}
		if err := s.Err(); err != nil {
			t.Error(err)
		}
	})
}
