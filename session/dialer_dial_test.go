package session_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// The pause after the dial number n that fails is MinBackoff times 2^n, at most MaxBackoff, less a random part of up to
// a half. After a session that has worked, it is short again.
func TestDialerBackoffDoublesWithJitter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		_ = p.simListener.Close()
		const least, longest = 50 * time.Millisecond, 2 * time.Second
		d := p.dialer(t, &session.Dialer{MinBackoff: least, MaxBackoff: longest, WaitTimeout: time.Minute})
		_, err := d.OpenStream(context.Background())
		testutil.WantErr(t, "OpenStream", err, session.ErrNoSession)
		pauses := func(times []time.Time) {
			t.Helper()
			want, equal := least, 0
			for n := range len(times) - 1 {
				pause := times[n+1].Sub(times[n])
				if pause > want || pause < want/2 {
					t.Errorf("pause %d is %v, want %v to %v", n, pause, want/2, want)
				}
				if pause == want {
					equal++
				}
				want = min(2*want, longest)
			}
			if equal > 3 {
				t.Errorf("%d of %d pauses have no random part", equal, len(times))
			}
		}
		if len(p.times) < 30 {
			t.Fatalf("%d dials in a minute", len(p.times))
		}
		pauses(p.times)

		p.up()
		p.listen()
		st := openOn(t, d)
		echoes(t, st)
		before := len(p.times)
		p.kill()
		<-sessionOf(t, st).Done()
		_, err = d.OpenStream(context.Background())
		testutil.WantErr(t, "OpenStream", err, session.ErrNoSession)
		pauses(p.times[before:])
	})
}

// A session that ends within its first second, before the peer has sent a frame, is as bad as a dial that fails: a place
// that accepts and closes is not dialed without pauses.
func TestDialerBacksOffFromSessionsThatEndEarly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newSimListener(simnet.Link{})
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
		d := closing(t, &session.Dialer{Dial: l.dial, WaitTimeout: time.Hour})
		defer l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for ctx.Err() == nil {
			if st, err := d.OpenStream(ctx); err == nil {
				if _, err = io.ReadAll(st); err == nil {
					t.Error("Read returns io.EOF")
				}
			}
		}
		if dials, _ := l.count(); dials > 30 {
			t.Errorf("%d dials in a minute", dials)
		}
		d.FailFast = true // nothing runs
		_, err := d.OpenStream(context.Background())
		if err != nil {
			testutil.WantErr(t, "OpenStream", err, io.EOF)
		}
	})
}

// Calls that have a session wait no longer than a second for another, and not at all if the last dial has failed.
func TestDialerCallsDoNotWaitForASlowDial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		d := p.dialer(t, &session.Dialer{StreamsPerSession: 1, DialTimeout: 10 * time.Second})
		openOn(t, d)
		p.setDialTime(time.Hour)
		takes := func(what string, want time.Duration) {
			t.Helper()
			elapsed := testutil.Clock()
			openOn(t, d)
			testutil.WantTime(t, what, elapsed(), want)
		}
		takes("a dial hangs", time.Second)
		takes("it still hangs", 0)
		time.Sleep(9*time.Second + time.Millisecond)
		takes("it has failed", 0)
		time.Sleep(time.Second)
		takes("another hangs", 0)
		wantLoads(t, d, 5)
		wantDials(t, p.simListener, 3)
		if n := d.Stats().DialErrors; n != 1 {
			t.Errorf("%d dials have failed", n)
		}
	})
}

// OnSession is called before any call gets the session. Its error is that of the dial, and what it has written is sent.
func TestDialerOnSessionComesFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		var calls int
		release := make(chan struct{})
		d := p.dialer(t, &session.Dialer{FailFast: true, OnSession: func(ctx context.Context, s *session.Session) error {
			calls++
			st, err := s.OpenStream(ctx)
			if err != nil {
				return err
			}
			defer st.Close()
			echoes(t, st)
			<-release
			if calls == 1 {
				return errBroken
			}
			return nil
		}})
		call := opening(d, context.Background())
		time.Sleep(time.Second)
		wantPending(t, "OpenStream", call)
		if n := len(streamLoads(d)); n != 0 {
			t.Errorf("there are %d sessions before OnSession has returned", n)
		}
		close(release)
		testutil.WantErr(t, "OpenStream", (<-call).Err, errBroken)
		if x := d.Stats(); x.DialErrors != 1 || x.LastError != errBroken {
			t.Errorf("Stats: %+v", x)
		}
		time.Sleep(time.Minute)
		echoes(t, openOn(t, d))
		if calls != 2 {
			t.Errorf("OnSession was called %d times", calls)
		}
		synctest.Wait()
		if x := p.listener.Stats(); x.Sessions != 1 || x.Accepted != 2 {
			t.Errorf("the first session is still there: %+v", x)
		}
	})
}

// When DialTimeout has passed, or the Dialer is closed, the session of an OnSession that has not returned is closed, so
// its calls on the session end.
func TestDialerOnSessionEndsWithDialTimeout(t *testing.T) {
	for _, closes := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			p := newSite(t, simnet.Link{}, session.Config{})
			var got error
			returned := make(chan struct{})
			d := p.dialer(t, &session.Dialer{FailFast: true, OnSession: func(_ context.Context, s *session.Session) error {
				_, got = s.Accept() // ignores its context
				close(returned)
				return got
			}})
			call := opening(d, context.Background())
			want := context.DeadlineExceeded
			if closes {
				want = net.ErrClosed
				synctest.Wait()
				_ = d.Close()
			}
			r := <-call
			testutil.WantErr(t, "OpenStream", r.Err, want)
			if !closes {
				testutil.WantTime(t, "it returned", r.After, 15*time.Second)
			}
			<-returned
			testutil.WantErr(t, "Accept", got, net.ErrClosed)
		})
	}
}

// Each new session is pinged, without waiting for the answer: so the keep-alive knows whether the peer answers.
func TestDialerPingsEachSession(t *testing.T) {
	for v := wire.V1; v <= wire.V2; v++ {
		bubble(t, func(t *testing.T) {
			ours, theirs := testutil.SimPair(t, simnet.Link{})
			p := testutil.NewPeer(t, theirs)
			d := closing(t, &session.Dialer{
				Dial:   func(context.Context) (io.ReadWriteCloser, error) { return ours, nil },
				Config: &session.Config{Version: int(v), KeepAlive: off, CloseTimeout: 1},
			})
			openOn(t, d)
			p.Ignore(wire.NOP, wire.SYN)
			p.ExpectFrame(t, "a new session is pinged", testutil.FIN(v, 0xfffffffd))
		})
	}
}

// A Dial that returns neither a transport nor an error, or a nil pointer, is an error and no panic.
func TestDialerDialReturnsNothing(t *testing.T) {
	for _, conn := range []io.ReadWriteCloser{nil, (*simnet.Conn)(nil)} {
		bubble(t, func(t *testing.T) {
			d := closing(t, &session.Dialer{FailFast: true, Dial: func(context.Context) (io.ReadWriteCloser, error) {
				return conn, nil
			}})
			if _, err := d.OpenStream(context.Background()); err == nil {
				t.Error("OpenStream succeeds")
			}
		})
	}
}
