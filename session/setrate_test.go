package session_test

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
	"github.com/smuxkit/smuxkit/internal/testutil"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// Session.SetSendRate and SetReceiveRate. Time is virtual.

// A changing is a session whose rate changes, and what passes.
type changing struct {
	c, s *session.Session // c writes to s
	set  func(flow.Rate) error
	m    *meter // of what passes in the direction that set limits
}

// eachSetter runs test with a SetSendRate and with a SetReceiveRate of a session that was started with this rate, in
// both versions.
func eachSetter(t *testing.T, first flow.Rate, test func(t *testing.T, x changing)) {
	t.Helper()
	for _, name := range []string{"SetSendRate", "SetReceiveRate"} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version int) {
				x := changing{m: newMeter()}
				link := path(100*simnet.Mbit, time.Millisecond)
				limited := link
				cc, sc := session.Config{Version: version, KeepAlive: off}, session.Config{Version: version, KeepAlive: off}
				if name == "SetSendRate" {
					limited.Log = x.m.log(simnet.OpWrite)
					cc.SendRate = first
				} else {
					limited.Log = x.m.log(simnet.OpRead)
					sc.ReceiveRate = first
				}
				a, b := simnet.AsymmetricPair(limited, link)
				x.c, x.s = client(t, a, &cc), server(t, b, &sc)
				x.set = x.c.SetSendRate
				if name == "SetReceiveRate" {
					x.set = x.s.SetReceiveRate
				}
				test(t, x)
			})
		})
	}
}

// mustSet changes the rate.
func (x changing) mustSet(t *testing.T, bytesPerSecond float64, burst int) {
	t.Helper()
	if err := x.set(flow.Rate{BytesPerSecond: bytesPerSecond, Burst: burst}); err != nil {
		t.Fatal(err)
	}
}

// wantRate checks that between these times the rate was within 2 % of want.
func (x changing) wantRate(t *testing.T, from, to time.Duration, want float64) {
	t.Helper()
	if got := x.m.rate(from, to); math.Abs(got/want-1) > 0.02 {
		t.Errorf("%.0f bytes a second from %v to %v, want %.0f", got, from, to, want)
	}
}

// The rate of a session changes from none to some, to a higher one, to a lower one, and to none, while bulk data passes.
// Each rate holds from then on, but for what a write or a Read that has begun exceeds it by.
func TestSetRateChangesTheRateOfARunningSession(t *testing.T) {
	eachSetter(t, flow.Rate{}, func(t *testing.T, x changing) {
		bulk(t, x.c, x.s, 3)
		time.Sleep(100 * time.Millisecond)
		if got := x.m.rate(50*time.Millisecond, 100*time.Millisecond); got < 0.5*float64(100*simnet.Mbit) {
			t.Errorf("%.0f bytes a second without a limit", got)
		}
		const most = 65_400 + 64<<10 // that a write or a Read exceeds the rate by
		rates := []float64{1e6, 3e6, 100_000, 500_000}
		at := time.Since(x.m.start)
		for _, r := range rates {
			x.mustSet(t, r, 1000)
			time.Sleep(6 * time.Second)
			if got := x.m.rate(at, at+time.Second); got > r*1.02+most {
				t.Errorf("%.0f bytes in the first second of %.0f a second", got, r)
			}
			x.wantRate(t, at+2*time.Second, at+6*time.Second, r)
			at += 6 * time.Second
		}
		x.mustSet(t, 0, 0)
		time.Sleep(100 * time.Millisecond)
		if got := x.m.rate(at, at+50*time.Millisecond); got < 0.5*float64(100*simnet.Mbit) {
			t.Errorf("%.0f bytes a second when the limit is removed", got)
		}
	})
}

// What waits for the old rate waits for the new one, or for none, at once: the Write and the reader that would wait for
// hours.
func TestRateChangeEndsTheWaitForTheOldRate(t *testing.T) {
	slow := flow.Rate{BytesPerSecond: 1, Burst: 1000}
	for _, tt := range []struct {
		name string
		rate flow.Rate
		want time.Duration // for 100,000 bytes
	}{
		{"none", flow.Rate{}, 0},
		{"a higher rate", flow.Rate{BytesPerSecond: 100_000, Burst: 1000}, time.Second},
		{"a lower rate", flow.Rate{BytesPerSecond: 0.1, Burst: 1000}, 1_000_000 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachSetter(t, slow, func(t *testing.T, x changing) {
				st, in := openPair(t, x.c, x.s)
				const size = 100_000
				received := testutil.Background(func() (int, error) { return 0, testutil.Pattern(1).Receive(in, size) })
				sent := testutil.Background(func() (int64, error) {
					n, err := testutil.Pattern(1).Send(st, size, size)
					if err == nil {
						err = st.CloseWrite()
					}
					return n, err
				})
				time.Sleep(time.Minute)
				if len(received) > 0 {
					t.Fatal("nothing waits")
				}
				elapsed := testutil.Clock()
				if err := x.set(tt.rate); err != nil {
					t.Fatal(err)
				}
				testutil.WantTime(t, "the call", elapsed(), 0)
				if r := <-received; r.Err != nil {
					t.Error(r.Err)
				}
				if r := <-sent; r.Err != nil {
					t.Error(r.Err)
				}
				if d := elapsed(); d < tt.want*97/100 || d > tt.want*103/100+10*time.Millisecond {
					t.Errorf("the rest took %v, want %v", d, tt.want)
				}
			})
		})
	}
}

// Rates that are set again and again allow no more data than one that stays.
func TestRateSetAgainAndAgainAllowsNoMoreData(t *testing.T) {
	eachSetter(t, flow.Rate{BytesPerSecond: 100_000, Burst: 50_000}, func(t *testing.T, x changing) {
		bulk(t, x.c, x.s, 2)
		for i := range 2000 {
			x.mustSet(t, 100_000, 50_000+i%2)
			time.Sleep(5 * time.Millisecond)
		}
		if got := x.m.rate(0, 10*time.Second); got > 100_000+5000+100 || got < 98_000 {
			t.Errorf("%.0f bytes a second, want 100,000 and once the burst", got)
		}
	})
}

// A rate that Config would not take is an error that names it, and changes nothing.
func TestSetRateRefusesABadRate(t *testing.T) {
	eachSetter(t, flow.Rate{BytesPerSecond: 10_000}, func(t *testing.T, x changing) {
		for _, tt := range []struct {
			rate flow.Rate
			want string
		}{
			{flow.Rate{BytesPerSecond: -1}, "BytesPerSecond is -1"},
			{flow.Rate{BytesPerSecond: math.NaN()}, "BytesPerSecond is NaN"},
			{flow.Rate{BytesPerSecond: 1, Burst: -5}, "Burst is -5"},
			{flow.Rate{BytesPerSecond: 1, Burst: 1<<30 + 1}, "Burst is 1073741825"},
		} {
			if err := x.set(tt.rate); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v: %v, want %q", tt.rate, err, tt.want)
			}
		}
		bulk(t, x.c, x.s, 1)
		time.Sleep(6 * time.Second)
		x.wantRate(t, time.Second, 6*time.Second, 10_000)
	})
}

// Setting a rate waits for nothing: not for a transport that is full, and not for the session's end. After the end it
// changes nothing and is no error.
func TestSetRateDoesNotWait(t *testing.T) {
	eachRole(t, func(t *testing.T, r role) {
		s, p := r.startLink(t, simnet.Link{Buffer: 1000, ReadBuffer: 1000}, session.Config{})
		st := open(t, s)
		go writeUntilEnd(st, 5000)
		synctest.Wait() // the write to the transport is blocked
		elapsed := testutil.Clock()
		set := func() {
			for _, rate := range []flow.Rate{{BytesPerSecond: 1000}, {BytesPerSecond: 10}, {}} {
				testutil.WantErr(t, "SetSendRate", s.SetSendRate(rate), nil)
				testutil.WantErr(t, "SetReceiveRate", s.SetReceiveRate(rate), nil)
			}
		}
		set()
		testutil.WantTime(t, "the calls", elapsed(), 0)
		p.Close()
		<-s.Done()
		set()
	})
}

// On any transport, rates may be set by several goroutines while data passes in both directions: nothing is lost.
func TestSetRateWhileDataPasses(t *testing.T) {
	eachTransport(t, nil, func(t *testing.T, tr testutil.Transport, version int) {
		c, s := sessions(t, tr, session.Config{Version: version})
		out, in := openPair(t, c, s)
		var over atomic.Bool
		var setters, work sync.WaitGroup
		for i := range 4 {
			setters.Go(func() {
				for n := 0; n < 3000 && !over.Load(); n++ {
					rate := [...]flow.Rate{{}, {BytesPerSecond: 50e6}, {BytesPerSecond: 20e6, Burst: 1000}, {BytesPerSecond: 1e9}}[(n+i)%4]
					x := [...]*session.Session{c, s}[i%2]
					testutil.WantErr(t, "SetSendRate", x.SetSendRate(rate), nil)
					testutil.WantErr(t, "SetReceiveRate", x.SetReceiveRate(rate), nil)
					if tr.Bubble {
						time.Sleep(time.Microsecond * time.Duration(100+10*i))
					}
				}
			})
		}
		for i, ends := range [][2]*stream.Stream{{out, in}, {in, out}} {
			p := testutil.Pattern(i)
			work.Go(func() {
				if _, err := p.Send(ends[0], 400_000, 20_000); err != nil {
					t.Error(err)
				}
				testutil.WantErr(t, "CloseWrite", ends[0].CloseWrite(), nil)
			})
			work.Go(func() {
				if err := p.Receive(ends[1], 400_000); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
		over.Store(true)
		setters.Wait()
		testutil.WantErr(t, "Close", c.Close(), nil)
		<-s.Done()
	})
}
