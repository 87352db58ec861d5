package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

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
