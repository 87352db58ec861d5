package session_test

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// A session that takes no more streams is left by the next call, for a new one. Its open stream goes on, and when that is
// closed, the session ends.
func TestDialerLeavesASession(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave func(p *site, s *session.Session)
	}{
		{"the peer drains", func(p *site, s *session.Session) {
			for far := range p.listener.Sessions() {
				_ = far.Listener().Close()
			}
			<-s.Draining()
		}},
		{"it has used up its ids", func(_ *site, s *session.Session) { session.SetNextID(s, 1<<32-1) }},
		{"it is too old", func(*site, *session.Session) { time.Sleep(time.Hour) }},
		{"this side shuts it down", func(_ *site, s *session.Session) { // as Config.IdleTimeout does
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = s.Shutdown(ctx)
		}},
	} {
		for _, noticed := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					p := newSite(t, simnet.Link{}, session.Config{KeepAlive: off})
					d := p.dialer(t, &session.Dialer{MaxAge: time.Hour, MaxSessions: 1, Config: &session.Config{KeepAlive: off}})
					first := openOn(t, d)
					echoes(t, first)
					old := sessionOf(t, first)
					c.leave(p, old)
					if noticed {
						synctest.Wait() // otherwise the call may be the first to see it
					}
					// All calls at the same time go to one new session.
					var calls sync.WaitGroup
					for range 10 {
						calls.Go(func() {
							st := openOn(t, d)
							echoes(t, st)
							if s := sessionOf(t, st); s == old {
								t.Error("a stream was opened on a session that the Dialer must leave")
							}
						})
					}
					calls.Wait()
					wantDials(t, p.simListener, 2)
					if x := d.Stats(); x.Sessions != 1 || x.Retired != 1 || x.SessionsRetired != 1 || x.Streams != 11 {
						t.Errorf("Stats: %+v", x)
					}
					echoes(t, first)
					testutil.WantErr(t, "Err", old.Err(), nil)
					_ = first.Close()
					wantEnded(t, old, net.ErrClosed)
					synctest.Wait()
					if x := d.Stats(); x.Sessions != 1 || x.Retired != 0 || x.Streams != 10 {
						t.Errorf("Stats: %+v", x)
					}
				})
			})
		}
	}
}

// If the peer shuts the session down, the Dialer lets it close the session, so that its Shutdown knows that all has
// arrived. If the peer does not close it, the Dialer does, CloseTimeout after the last stream was closed.
func TestDialerLetsADrainingPeerClose(t *testing.T) {
	for _, closes := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			p := newSite(t, simnet.Link{Delay: time.Second}, session.Config{KeepAlive: off})
			d := p.dialer(t, &session.Dialer{Config: &session.Config{KeepAlive: off, CloseTimeout: time.Minute}})
			st := openOn(t, d)
			echoes(t, st)
			var down []<-chan testutil.Result[struct{}]
			for far := range p.listener.Sessions() {
				if closes {
					down = append(down, shutdown(far, context.Background()))
				} else {
					_ = far.Listener().Close()
				}
			}
			s := sessionOf(t, st)
			<-s.Draining()
			time.Sleep(time.Hour)
			echoes(t, st)
			_ = st.Close()
			elapsed := testutil.Clock()
			<-s.Done()
			if closes {
				testutil.WantErr(t, "Err", s.Err(), io.EOF)
				testutil.WantErr(t, "Shutdown of the peer", (<-down[0]).Err, nil)
			} else {
				testutil.WantErr(t, "Err", s.Err(), net.ErrClosed)
			}
			if took := elapsed(); closes != (took < time.Minute) {
				t.Errorf("the session has ended after %v", took)
			}
		})
	}
}

// A session that Config.IdleTimeout ends is left, and the next call dials at once.
func TestDialerLeavesAnIdleSession(t *testing.T) {
	for _, idle := range []time.Duration{200 * time.Millisecond, time.Minute} {
		bubble(t, func(t *testing.T) {
			p := newSite(t, simnet.Link{}, session.Config{KeepAlive: off})
			d := p.dialer(t, &session.Dialer{Config: &session.Config{KeepAlive: off, IdleTimeout: idle}})
			for n := range 10 {
				elapsed := testutil.Clock()
				st := openOn(t, d)
				echoes(t, st)
				testutil.WantTime(t, "the stream was opened", elapsed(), 0)
				s := sessionOf(t, st)
				_ = st.Close()
				wantEnded(t, s, session.ErrIdleTimeout)
				synctest.Wait()
				if x := d.Stats(); x.Sessions != 0 || x.Dials != uint64(n+1) {
					t.Errorf("Stats: %+v", x)
				}
			}
		})
	}
}

// MaxAge ends sessions at nine to ten tenths of it, each at another time.
func TestDialerMaxAgeHasJitter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const sessions, age = 20, time.Hour
		p := newSite(t, simnet.Link{}, session.Config{})
		d := p.dialer(t, &session.Dialer{MaxAge: age, MaxSessions: sessions, StreamsPerSession: 1})
		var streams []*stream.Stream
		for range sessions {
			streams = append(streams, openOn(t, d))
		}
		elapsed := testutil.Clock()
		for _, st := range streams {
			_ = st.Close()
		}
		var mu sync.Mutex
		var ends []time.Duration
		for s := range d.Sessions() {
			go func() {
				<-s.Done()
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, elapsed())
			}()
		}
		time.Sleep(2 * age)
		synctest.Wait()
		slices.Sort(ends)
		if len(ends) != sessions || ends[0] < age*9/10 || ends[sessions-1] > age+time.Second {
			t.Errorf("the sessions ended at %v", ends)
		}
		if spread := ends[sessions-1] - ends[0]; spread < age/30 {
			t.Errorf("they ended within %v", spread)
		}
	})
}

// A place that is killed is left at once, and one that stalls within the time-out of the keep-alive. The streams on
// it fail, and calls that begin later get another session.
func TestDialerLeavesADeadPlaceInTime(t *testing.T) {
	policy := keepalive.Periodic{Interval: 2 * time.Second, Timeout: 10 * time.Second}
	for _, stalls := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			p := newSite(t, simnet.Link{}, session.Config{KeepAlive: policy})
			d := p.dialer(t, &session.Dialer{Config: &session.Config{KeepAlive: policy}})
			st := openOn(t, d)
			echoes(t, st)
			time.Sleep(time.Minute)
			elapsed := testutil.Clock()
			c, want := p.conn(0), error(syscall.ECONNRESET)
			if stalls {
				c.Out().Stall()
				c.In().Stall()
				want = session.ErrKeepAlive
			} else {
				c.Break(syscall.ECONNRESET)
			}
			_, err := io.ReadAll(st)
			testutil.WantErr(t, "Read", err, want)
			if took := elapsed(); took > policy.Timeout {
				t.Errorf("the session ended after %v", took)
			}
			echoes(t, openOn(t, d))
			wantDials(t, p.simListener, 2)
			wantStreams := d.Stats().Streams
			if wantStreams != 1 {
				t.Errorf("%d streams are open", wantStreams)
			}
		})
	}
}

// Only a session that takes no streams sends a call to the next one. A call whose context ends while its session's
// transport takes no SYN is not repeated. Such a session is used only if there is no other.
func TestDialerAvoidsASessionThatWouldWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{Buffer: 1000}, session.Config{KeepAlive: off})
		d := p.dialer(t, &session.Dialer{MaxSessions: 2, Config: &session.Config{KeepAlive: off}})
		first := openOn(t, d)
		echoes(t, first)
		p.conn(0).Out().Stall()
		blocked := sessionOf(t, first)
		for blocked.NumStreams() < 1000 {
			openOn(t, d) // a 1,000th would want another session
		}
		for { // until OpenStream would wait
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, err := blocked.OpenStream(ctx)
			cancel()
			if err != nil {
				break
			}
		}
		for range 2000 {
			if sessionOf(t, openOn(t, d)) == blocked {
				t.Fatal("a stream was opened on the session that waits")
			}
		}
		wantDials(t, p.simListener, 2)

		// If all would wait, a call waits until one can go on.
		p.conn(1).Out().Stall()
		for {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, err := d.OpenStream(ctx)
			cancel()
			if err != nil {
				testutil.WantErr(t, "OpenStream", err, context.DeadlineExceeded)
				break
			}
		}
		call := opening(d, context.Background())
		synctest.Wait()
		wantPending(t, "OpenStream", call)
		p.conn(0).Break(nil) // the session for which it waits ends, or the other one
		p.conn(1).Break(nil)
		r := <-call
		testutil.WantErr(t, "OpenStream", r.Err, nil)
		echoes(t, r.Value)
	})
}
