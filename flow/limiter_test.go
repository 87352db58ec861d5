package flow_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// A nil Limiter is no limit, and a Rate that is no limit makes one.
func TestLimiterNilIsNoLimit(t *testing.T) {
	for _, l := range []*flow.Limiter{
		nil,
		flow.NewLimiter(flow.Rate{Burst: 100}),
		flow.NewLimiter(flow.Rate{BytesPerSecond: -1, Burst: 100}),
		flow.NewLimiter(flow.Rate{BytesPerSecond: math.NaN(), Burst: 100}),
		flow.NewLimiter(flow.Rate{BytesPerSecond: math.Inf(1), Burst: 100}),
	} {
		if l != nil {
			t.Errorf("a limiter of %v bytes a second", l.Rate())
		}
		if wait := l.Reserve(math.MaxInt32, time.Time{}); wait != 0 {
			t.Errorf("it waits %v", wait)
		}
		must(t, l.Wait(context.Background(), math.MaxInt32))
		if l.Burst() != math.MaxInt || l.Rate() != (flow.Rate{}) {
			t.Errorf("burst %d, rate %v", l.Burst(), l.Rate())
		}
	}
}

// Wait returns the error of a context that is done, also without a limit.
func TestLimiterNilWaitHeedsItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var l *flow.Limiter
	if err := l.Wait(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// The default burst is the bytes of a tenth of a second, and at least one byte.
func TestLimiterDefaultBurstIsATenthOfASecond(t *testing.T) {
	for _, tt := range []struct {
		rate float64
		want int
	}{{1000, 100}, {1, 1}, {1e300, math.MaxInt32}} {
		if got := flow.NewLimiter(flow.Rate{BytesPerSecond: tt.rate}).Burst(); got != tt.want {
			t.Errorf("%g bytes a second: burst %d, want %d", tt.rate, got, tt.want)
		}
	}
}

// A sender that is as fast as the limiter allows has the rate within 2 % over ten seconds, and
// exceeds it by no more than the burst in any interval of 100 ms.
func TestLimiterHoldsItsRate(t *testing.T) {
	type method func(l *flow.Limiter, n int)
	for name, pass := range map[string]method{
		"Wait": func(l *flow.Limiter, n int) { _ = l.Wait(context.Background(), n) },
		"Reserve": func(l *flow.Limiter, n int) {
			timer := time.NewTimer(l.Reserve(n, time.Now()))
			<-timer.C
		},
	} {
		for _, tt := range []struct {
			rate         float64
			burst, frame int
		}{
			{1e6, 64 << 10, 32 << 10},
			{1e6, 10_000, 32 << 10},
			{10e6, 32 << 10, 1000},
			{100e6, 1 << 20, 64 << 10},
			{20e3, 1000, 64 << 10},
			{1000, 1, 10},
		} {
			t.Run(fmt.Sprintf("%s/rate=%g,burst=%d,frame=%d", name, tt.rate, tt.burst, tt.frame), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const duration = 10 * time.Second
					type sent struct {
						at time.Duration
						n  int
					}
					l := flow.NewLimiter(flow.Rate{BytesPerSecond: tt.rate, Burst: tt.burst})
					start := time.Now()
					var log []sent
					total, window, first := 0, 0, 0
					for time.Since(start) < duration {
						n := min(tt.frame, l.Burst())
						pass(l, n)
						at := time.Since(start)
						log = append(log, sent{at, n})
						total += n
						window += n
						for log[first].at < at-100*time.Millisecond {
							window -= log[first].n
							first++
						}
						if most := tt.rate/10 + float64(tt.burst) + 1; float64(window) > most {
							t.Fatalf("at %v: %d bytes within 100 ms, at most %.0f may", at, window, most)
						}
					}
					rate := float64(total-tt.burst) / time.Since(start).Seconds()
					if math.Abs(rate/tt.rate-1) > 0.02 {
						t.Errorf("%.0f bytes a second", rate)
					}
				})
			})
		}
	}
}

// More bytes than the burst wait as long as the rate says.
func TestLimiterTakesMoreThanBurstInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := flow.NewLimiter(flow.Rate{BytesPerSecond: 1000, Burst: 10})
		start := time.Now()
		must(t, l.Wait(context.Background(), 1010))
		if got := time.Since(start).Round(time.Millisecond); got != time.Second {
			t.Errorf("Wait took %v", got)
		}
		if got := l.Reserve(2000, time.Now()).Round(time.Millisecond); got != 2*time.Second {
			t.Errorf("Reserve says %v", got)
		}
		if got := l.Reserve(0, time.Now()); got != 0 {
			t.Errorf("Reserve of nothing says %v", got)
		}
	})
}

// Wait ends when its context is done, and puts back the bytes that could not pass yet.
func TestLimiterWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := flow.NewLimiter(flow.Rate{BytesPerSecond: 1000, Burst: 1000})
		ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := l.Wait(ctx, 2000); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if got := time.Since(start); got != 250*time.Millisecond {
			t.Errorf("it took %v", got)
		}
		// 1000 went, 250 came back since: 250 may go at once.
		if got := l.Reserve(250, time.Now()); got > time.Millisecond {
			t.Errorf("the next bytes wait %v", got)
		}
	})
}

// Delay returns how long to wait, and takes no bytes.
func TestLimiterDelayTakesNothing(t *testing.T) {
	now := time.Unix(0, 0)
	l := flow.NewLimiter(flow.Rate{BytesPerSecond: 1000, Burst: 100})
	if got := l.Delay(100, now); got != 0 {
		t.Errorf("a full bucket: %v", got)
	}
	l.Reserve(100, now)
	for range 2 {
		if got := l.Delay(50, now).Round(time.Microsecond); got != 50*time.Millisecond {
			t.Errorf("an empty bucket: %v", got)
		}
	}
	if got := l.Delay(1000, now).Round(time.Microsecond); got != 100*time.Millisecond {
		t.Errorf("more than the burst: %v", got)
	}
	if got := l.Delay(50, now.Add(l.Delay(50, now))); got != 0 {
		t.Errorf("%v after the delay it asked for", got)
	}
	if got := (*flow.Limiter)(nil).Delay(math.MaxInt32, now); got != 0 {
		t.Errorf("no limit: %v", got)
	}
}

// Delay is long and never negative, also at a rate close to zero: a caller that waits for a
// negative time would call again at once, without end.
func TestLimiterDelayIsNeverNegative(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, rate := range []float64{1e-9, 1e-10, 1e-100, math.SmallestNonzeroFloat64} {
		l := flow.NewLimiter(flow.Rate{BytesPerSecond: rate, Burst: 1})
		l.Reserve(1, now)
		if wait := l.Delay(1, now); wait < 1e8*time.Second {
			t.Errorf("%v bytes a second: Delay is %v", rate, wait)
		}
	}
}

// A Limiter that replaces another allows as many bytes at once as that one, but no more than its own burst. One that
// replaces no limit is full.
func TestLimiterReplaceKeepsWhatIsLeft(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, tt := range []struct {
		name  string
		old   *flow.Limiter
		taken int
		burst int // of the new one
		want  int
	}{
		{"full", flow.NewLimiter(flow.Rate{BytesPerSecond: 10, Burst: 100}), 0, 100, 100},
		{"half", flow.NewLimiter(flow.Rate{BytesPerSecond: 10, Burst: 100}), 50, 100, 50},
		{"larger burst", flow.NewLimiter(flow.Rate{BytesPerSecond: 10, Burst: 100}), 50, 1000, 50},
		{"smaller burst", flow.NewLimiter(flow.Rate{BytesPerSecond: 10, Burst: 100}), 50, 20, 20},
		{"empty", flow.NewLimiter(flow.Rate{BytesPerSecond: 10, Burst: 100}), 100, 100, 0},
		{"in debt", flow.NewLimiter(flow.Rate{BytesPerSecond: 10, Burst: 100}), 500, 100, 0},
		{"no limit", nil, 0, 70, 70},
	} {
		tt.old.Reserve(tt.taken, now)
		l := tt.old.Replace(flow.Rate{BytesPerSecond: 1000, Burst: tt.burst}, now)
		if tt.want > 0 {
			if d := l.Delay(tt.want, now); d != 0 {
				t.Errorf("%s: %d bytes wait %v", tt.name, tt.want, d)
			}
		}
		if d := l.Delay(tt.want+1, now); tt.want < tt.burst && d == 0 {
			t.Errorf("%s: more than %d bytes may pass", tt.name, tt.want)
		}
		if l.Burst() != tt.burst {
			t.Errorf("%s: burst %d, want %d", tt.name, l.Burst(), tt.burst)
		}
	}
	l := flow.NewLimiter(flow.Rate{BytesPerSecond: 10})
	if l.Replace(flow.Rate{}, now) != nil || (*flow.Limiter)(nil).Replace(flow.Rate{}, now) != nil {
		t.Error("no limit is no nil")
	}
}
