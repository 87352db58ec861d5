package flow_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// What was taken beyond the Burst is owed to the Limiter that replaces another, all of it, whatever the new Burst is.
func TestLimiterReplaceForgivesNoDebt(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, burst := range []int{1, 10, 100, 1000, math.MaxInt32} {
		for _, taken := range []int{101, 150, 200, 1000, 100_000} {
			l := flow.NewLimiter(flow.Rate{BytesPerSecond: 10, Burst: 100})
			l.Reserve(taken, now)
			next := flow.Rate{BytesPerSecond: 50, Burst: burst}
			for range 100 {
				l = l.Replace(next, now)
			}
			want := time.Duration(taken-100+1) * time.Second / 50
			if d := l.Delay(1, now); d.Round(time.Millisecond) != want {
				t.Errorf("burst %d, %d bytes taken: one more may pass after %v, want %v", burst, taken, d, want)
			}
		}
	}
}

// Over any time, however often and to whatever the limit is changed meanwhile, no more bytes pass than the rates of that
// time allow, and the Burst of its beginning. The last piece may exceed its Burst.
func TestLimiterReplacedAtWillKeepsTheRates(t *testing.T) {
	type pass struct {
		n, burst int
		allowed  float64 // by the rates since the beginning
	}
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		now := time.Unix(1000, 0)
		newRate := func() flow.Rate {
			return flow.Rate{BytesPerSecond: math.Exp(random.Float64() * 14), Burst: 1 + random.IntN(1<<random.IntN(16))}
		}
		rate := newRate()
		l := flow.NewLimiter(rate)
		allowed := 0.0
		var passed []pass
		for range 2000 {
			switch random.IntN(3) {
			case 0:
				d := time.Duration(math.Exp(random.Float64() * 20))
				now = now.Add(d)
				allowed += d.Seconds() * rate.BytesPerSecond
			case 1:
				rate = newRate()
				l = l.Replace(rate, now)
			default:
				n := 1 + random.IntN(3*l.Burst())
				if l.Delay(n, now) == 0 {
					l.Reserve(n, now)
					passed = append(passed, pass{n, l.Burst(), allowed})
				}
			}
		}
		for i, first := range passed {
			sum := 0
			for _, last := range passed[i:] {
				sum += last.n
				limit := float64(first.burst+max(0, last.n-last.burst)) + last.allowed - first.allowed
				if float64(sum) > limit+1+1e-6*limit {
					t.Fatalf("seed %d: %d bytes have passed, %v are allowed", seed, sum, limit)
				}
			}
		}
		if len(passed) < 10 {
			t.Errorf("seed %d: %d pieces have passed", seed, len(passed))
		}
	}
}
