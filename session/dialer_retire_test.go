package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
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
								t.Error("a stream was opened on a session that is to be left")
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

// A place that is killed is left at once, and one that stalls within the time-out of the keep-alive. The streams on it fail, and
// calls that begin later get another session.
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

// Only a session that takes no streams sends a call to the next one. A call whose context ends while its session's transport
// takes no SYN is not repeated. Such a session is used only if there is no other.
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

// Shutdown waits for the open streams of all sessions, those that are retired included. Calls that wait fail at once, and
// so do later ones.
func TestDialerShutdownWaitsForStreams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		d := p.dialer(t, &session.Dialer{StreamsPerSession: 1, MaxSessions: 2})
		retired := openOn(t, d)
		echoes(t, retired)
		for s := range p.listener.Sessions() {
			_ = s.Listener().Close()
		}
		synctest.Wait()
		open := []*stream.Stream{retired, openOn(t, d)}
		p.setDialTime(time.Hour)
		waits := opening(d, context.Background()) // for another session
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second/2)
		defer cancel()
		testutil.WantErr(t, "Shutdown", d.Shutdown(ctx), context.DeadlineExceeded)
		testutil.WantErr(t, "OpenStream", (<-waits).Err, session.ErrShutdown)
		_, err := d.OpenStream(context.Background())
		testutil.WantErr(t, "OpenStream", err, session.ErrShutdown)

		down := testutil.BackgroundErr(func() error { return d.Shutdown(context.Background()) })
		for _, st := range open {
			time.Sleep(time.Minute)
			wantPending(t, "Shutdown", down)
			echoes(t, st)
			_ = st.Close()
		}
		testutil.WantErr(t, "Shutdown", (<-down).Err, nil)
		if n := len(streamLoads(d)); n != 0 {
			synctest.Wait()
			if n = len(streamLoads(d)); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		}
		testutil.WantErr(t, "Close", d.Close(), nil)
		_, err = d.OpenStream(context.Background())
		testutil.WantErr(t, "OpenStream after Close", err, net.ErrClosed)
	})
}

// Close ends the calls that wait, the dial under way, and all sessions, but what was written arrives.
func TestDialerCloseEndsEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newSimListener(simnet.Link{})
		dialed := make(chan context.Context, 2)
		d := closing(t, &session.Dialer{StreamsPerSession: 1, Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			dialed <- ctx
			if len(dialed) == 2 {
				<-ctx.Done()
				time.Sleep(time.Hour) // a Dial that ignores the end of its context
			}
			return l.dial(context.Background())
		}})
		var got []byte
		far := &session.Listener{Listener: l}
		defer far.CloseNow()
		read := make(chan struct{})
		go func() {
			st, _ := far.Accept()
			got, _ = io.ReadAll(st)
			close(read)
		}()
		st := openOn(t, d)
		waits := opening(d, context.Background())
		reads := testutil.BackgroundErr(func() error { return second(st.Read(make([]byte, 1))) })
		synctest.Wait()
		_, _ = st.Write([]byte("last words"))
		testutil.WantErr(t, "Close", d.Close(), nil)
		for _, err := range []error{(<-waits).Err, (<-reads).Err, second(d.OpenStream(context.Background()))} {
			testutil.WantErr(t, "a call", err, net.ErrClosed)
		}
		testutil.WantErr(t, "the second Close", d.Close(), nil)
		testutil.WantErr(t, "Shutdown", d.Shutdown(context.Background()), nil)
		<-read
		if string(got) != "last words" {
			t.Errorf("the peer has read %q", got)
		}
		time.Sleep(2 * time.Hour) // the late transport is closed
		if n, _ := l.conn(1).Read(make([]byte, 1)); n > 0 {
			t.Error("the late transport is open")
		}
		if x := d.Stats(); x.Sessions != 0 || x.Retired != 0 {
			t.Errorf("Stats: %+v", x)
		}
	})
}

// A Dialer that was never used can be closed.
func TestDialerCloseBeforeUse(t *testing.T) {
	for _, end := range []func(d *session.Dialer) error{
		(*session.Dialer).Close,
		func(d *session.Dialer) error { return d.Shutdown(context.Background()) },
	} {
		d := &session.Dialer{Dial: newSimListener(simnet.Link{}).dial}
		testutil.WantErr(t, "ending it", end(d), nil)
		if _, err := d.OpenStream(context.Background()); err == nil {
			t.Error("OpenStream succeeds")
		}
	}
}

// Session returns the session of the next stream, dials if there is none, and opens no stream.
func TestDialerSessionKeepsOneUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{Delay: time.Second}, session.Config{})
		d := p.dialer(t, &session.Dialer{})
		s, err := d.Session(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if rtt, err := s.Ping(context.Background()); rtt != 2*time.Second || err != nil {
			t.Errorf("Ping = %v, %v", rtt, err)
		}
		wantStreams := d.Stats().Streams
		if wantStreams != 0 || sessionOf(t, openOn(t, d)) != s {
			t.Errorf("%d streams, or another session", wantStreams)
		}
		p.kill()
		<-s.Done()
		p.up()
		p.listen()
		again, err := d.Session(context.Background())
		if again == s || err != nil {
			t.Errorf("Session = %v, %v after the first one has ended", again, err)
		}
	})
}

// Total of Stats goes on when sessions end.
func TestDialerStatsCountEndedSessions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		d := p.dialer(t, &session.Dialer{})
		for n := range 5 {
			st := openOn(t, d)
			echoes(t, st)
			before := d.Stats().Total
			_ = sessionOf(t, st).CloseNow()
			synctest.Wait()
			x := d.Stats()
			if x.Sessions != 0 || x.SessionsRetired != uint64(n+1) || x.Total.StreamsOpened != uint64(n+1) {
				t.Errorf("Stats: %+v", x)
			}
			if x.Total.BytesSent < before.BytesSent || x.Total.BytesReceived < before.BytesReceived {
				t.Errorf("a counter has gone back: %+v, then %+v", before, x.Total)
			}
		}
	})
}

// Calls of all methods at the same time, while sessions come and go, do no harm.
func TestDialerMethodsRunConcurrently(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		d := p.dialer(t, &session.Dialer{StreamsPerSession: 3, MaxSessions: 4, MaxAge: 3 * time.Second, FailFast: true})
		var all sync.WaitGroup
		var opened, failed atomic.Int64
		for range 20 {
			all.Go(func() {
				for range 50 {
					st, err := d.OpenStream(context.Background())
					if err != nil {
						failed.Add(1)
						time.Sleep(100 * time.Millisecond)
						continue
					}
					opened.Add(1)
					_, _ = st.Write([]byte("hello"))
					time.Sleep(50 * time.Millisecond)
					_ = st.Close()
				}
			})
		}
		all.Go(func() {
			for range 20 {
				time.Sleep(100 * time.Millisecond)
				_ = d.Stats()
				for s := range d.Sessions() {
					_ = s.Stats()
				}
				p.kill()
				time.Sleep(10 * time.Millisecond)
				p.up()
				p.listen()
			}
		})
		all.Wait()
		testutil.WantErr(t, "Shutdown", d.Shutdown(context.Background()), nil)
		if x := d.Stats(); x.Total.StreamsOpened != uint64(opened.Load()) || x.Waiting != 0 {
			t.Errorf("%d streams were opened, Stats: %+v", opened.Load(), x)
		}
		if opened.Load() == 0 {
			t.Error(errors.New("no stream was opened"))
		}
	})
}
