package session_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
)

// A Dialer with nothing but Dial works. It dials when it is used first, and one session serves all streams.
func TestDialerNeedsDialAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		d := p.dialer(t, &session.Dialer{})
		wantDials(t, p.simListener, 0)
		if n := len(streamLoads(d)); n != 0 || d.Stats() != (session.DialerStats{}) {
			t.Errorf("before its use, it has %d sessions, and Stats %+v", n, d.Stats())
		}
		for range 10 {
			c, err := d.DialContext(context.Background(), "any", "where")
			if err != nil {
				t.Fatal(err)
			}
			echoes(t, c)
		}
		wantDials(t, p.simListener, 1)
		wantLoads(t, d, 10)
	})
}

// A stream is opened on the session with the fewest. Another session is dialed when all have StreamsPerSession streams,
// up to MaxSessions; then the sessions get more.
func TestDialerSpreadsStreams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		d := p.dialer(t, &session.Dialer{MaxSessions: 3, StreamsPerSession: 2})
		var opened []net.Conn
		for n := range 6 {
			opened = append(opened, openOn(t, d))
			wantDials(t, p.simListener, 1+n/2)
		}
		wantLoads(t, d, 2, 2, 2)
		for range 4 {
			openOn(t, d)
		}
		wantDials(t, p.simListener, 3)
		wantLoads(t, d, 3, 3, 4)
		_, _ = opened[0].Close(), opened[1].Close()
		time.Sleep(time.Second) // until they are closed
		for range 3 {
			openOn(t, d)
		}
		wantLoads(t, d, 3, 4, 4)
	})
}

// Calls at the same time share dials, and the limits hold: 1,000 calls fill ten sessions with 100 streams each, one
// dial after the other.
func TestDialerCallsShareDials(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		p.setDialTime(time.Millisecond)
		d := p.dialer(t, &session.Dialer{MaxSessions: 20, StreamsPerSession: 100})
		var calls sync.WaitGroup
		for range 1000 {
			calls.Go(func() { openOn(t, d) })
		}
		calls.Wait()
		wantDials(t, p.simListener, 10)
		wantLoads(t, d, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100)
	})
}

// While the place is down, 10,000 calls cost one dial at a time, with pauses that grow up to MaxBackoff. They all
// wait, and get their streams when it is up.
func TestDialerWaitsWhileThePlaceIsDown(t *testing.T) {
	calls := 10_000
	if testutil.Race {
		calls = 2000
	}
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		p.kill()
		p.setDialTime(10 * time.Millisecond)
		d := p.dialer(t, &session.Dialer{WaitTimeout: time.Hour, MaxBackoff: 5 * time.Second})
		var all sync.WaitGroup
		for range calls {
			all.Go(func() { openOn(t, d) })
		}
		time.Sleep(10 * time.Minute)
		if x := d.Stats(); x.Waiting != calls || x.Sessions != 0 || !errors.Is(x.LastError, syscall.ECONNREFUSED) {
			t.Errorf("Stats: %+v, want %d that wait", x, calls)
		}
		dials, most := p.count()
		// One in 2.5 s to 5 s, and those at the beginning.
		if most != 1 || dials < 120 || dials > 250 {
			t.Errorf("%d dials in ten minutes, %d at the same time", dials, most)
		}
		p.up()
		p.listen()
		all.Wait()
		time.Sleep(time.Second) // another session is dialed, because the first has many streams
		x := d.Stats()
		if x.Waiting != 0 || x.LastError != nil || x.DialErrors != x.Dials-uint64(x.Sessions) {
			t.Errorf("Stats: %+v", x)
		}
		if x.Streams != calls || x.Total.StreamsOpened != uint64(calls) {
			t.Errorf("%d streams are open, and %d were opened", x.Streams, x.Total.StreamsOpened)
		}
	})
}

// A call that waits ends with its context, and its error also has that of the last dial.
func TestDialerCallEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		_ = p.simListener.Close()
		d := p.dialer(t, &session.Dialer{})
		for _, call := range []func(context.Context) error{
			func(ctx context.Context) error { return second(d.OpenStream(ctx)) },
			func(ctx context.Context) error { return second(d.Session(ctx)) },
			func(ctx context.Context) error { return second(d.DialContext(ctx, "", "")) },
		} {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			elapsed := testutil.Clock()
			err := call(ctx)
			testutil.WantTime(t, "the call ended", elapsed(), 3*time.Second)
			testutil.WantErr(t, "its error", err, context.DeadlineExceeded)
			testutil.WantErr(t, "its error", err, syscall.ECONNREFUSED)
			var op *net.OpError
			if !errors.As(err, &op) || !op.Timeout() || op.Op != "dial" {
				t.Errorf("the error is %#v", err)
			}
			cancel()

			ctx, cancel = context.WithCancel(context.Background())
			waiting := testutil.BackgroundErr(func() error { return call(ctx) })
			time.Sleep(time.Second)
			wantPending(t, "the call", waiting)
			cancel()
			testutil.WantErr(t, "after cancel", (<-waiting).Err, context.Canceled)
			testutil.WantErr(t, "after cancel before", call(ctx), context.Canceled)
		}
	})
}

// Without a context that ends, a call waits for WaitTimeout, also while a dial hangs.
func TestDialerCallEndsWithWaitTimeout(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			p := newSite(t, simnet.Link{}, session.Config{})
			_ = p.simListener.Close()
			if hangs {
				p.setDialTime(time.Hour)
			}
			d := p.dialer(t, &session.Dialer{DialTimeout: 4 * time.Minute})
			elapsed := testutil.Clock()
			_, err := d.OpenStream(context.Background())
			testutil.WantErr(t, "OpenStream", err, session.ErrNoSession)
			testutil.WantTime(t, "it returned", elapsed(), 30*time.Second)
			var n net.Error
			if !errors.As(err, &n) || !n.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the error is no time-out: %v", err)
			}
			if errors.Is(err, syscall.ECONNREFUSED) == hangs {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// With FailFast, a call gets the error of the dial that it waited for, and in the pause that follows, the same at once.
func TestDialerFailFast(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		_ = p.simListener.Close()
		p.setDialTime(time.Second)
		d := p.dialer(t, &session.Dialer{FailFast: true, MinBackoff: time.Minute, MaxBackoff: time.Hour})
		var calls sync.WaitGroup
		for range 1000 {
			calls.Go(func() {
				elapsed := testutil.Clock()
				_, err := d.OpenStream(context.Background())
				testutil.WantErr(t, "OpenStream", err, syscall.ECONNREFUSED)
				testutil.WantTime(t, "it returned", elapsed(), time.Second)
			})
		}
		calls.Wait()
		elapsed := testutil.Clock()
		for range 1000 {
			_, err := d.OpenStream(context.Background())
			testutil.WantErr(t, "OpenStream in the pause", err, syscall.ECONNREFUSED)
		}
		testutil.WantTime(t, "they returned", elapsed(), 0)
		wantDials(t, p.simListener, 1)
		time.Sleep(time.Minute)
		_, err := d.OpenStream(context.Background())
		testutil.WantErr(t, "OpenStream after the pause", err, syscall.ECONNREFUSED)
		wantDials(t, p.simListener, 2)
	})
}

// A call that fails fast waits for one dial, even if there is no pause after it.
func TestDialerFailFastWaitsForOneDial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newSite(t, simnet.Link{}, session.Config{})
		_ = p.simListener.Close()
		p.setDialTime(time.Second)
		d := p.dialer(t, &session.Dialer{FailFast: true, MinBackoff: 1, MaxBackoff: 1})
		for n := range 100 {
			elapsed := testutil.Clock()
			_, err := d.OpenStream(context.Background())
			testutil.WantErr(t, "OpenStream", err, syscall.ECONNREFUSED)
			if took := elapsed(); took > time.Second {
				t.Fatalf("call %d took %v", n, took)
			}
		}
	})
}

// An error names each field that is bad.
func TestDialerValidateNamesEachField(t *testing.T) {
	for _, c := range []struct {
		d    *session.Dialer
		want string
	}{
		{&session.Dialer{}, "session: bad Dialer: Dial is nil, must be set"},
		{&session.Dialer{
			MaxSessions: -1, StreamsPerSession: -2, MaxAge: -3, MinBackoff: -4, MaxBackoff: -5, DialTimeout: -6, WaitTimeout: -7,
			Config: &session.Config{Version: 3, MaxFrameSize: -1},
		}, `session: bad Dialer: Dial is nil, must be set
MaxSessions is -1, must not be negative
StreamsPerSession is -2, must not be negative
MaxAge is -3ns, must not be negative
MinBackoff is -4ns, must not be negative
MaxBackoff is -5ns, must not be negative
DialTimeout is -6ns, must not be negative
WaitTimeout is -7ns, must not be negative
session: bad Config: Version is 3, must be from 0 to 2
MaxFrameSize is -1, must be from 1 to 65535`},
		{&session.Dialer{
			Dial:       newSimListener(simnet.Link{}).dial,
			MinBackoff: time.Minute, MaxBackoff: time.Second, MaxSessions: 1, StreamsPerSession: 10,
		}, `session: bad Dialer: MinBackoff is 1m0s and MaxBackoff is 1s, MinBackoff must not be longer
StreamsPerSession is 10 and MaxSessions is 1, so there is never another session`},
	} {
		d := c.d
		for _, err := range []error{
			d.Validate(),
			second(d.OpenStream(context.Background())),
			second(d.Session(context.Background())),
			second(d.DialContext(context.Background(), "", "")),
		} {
			if err == nil || err.Error() != c.want {
				t.Errorf("the error is\n%v\nwant\n%s", err, c.want)
			}
		}
		testutil.WantErr(t, "Close", d.Close(), nil)
	}
	ok := &session.Dialer{Dial: newSimListener(simnet.Link{}).dial, MaxBackoff: time.Millisecond}
	testutil.WantErr(t, "Validate", ok.Validate(), nil)
	ok = &session.Dialer{Dial: ok.Dial, MinBackoff: time.Hour}
	testutil.WantErr(t, "Validate", ok.Validate(), nil)
}
