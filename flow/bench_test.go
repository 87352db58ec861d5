package flow_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// benchFrame is the payload of a full frame.
const benchFrame = 32760

// BenchmarkReceiveWindow is the cost of a frame that arrives, for its stream: AddReceived,
// AddRead, and Update when one is due.
func BenchmarkReceiveWindow(b *testing.B) {
	for _, n := range []int{256, benchFrame} {
		b.Run(fmt.Sprintf("frame=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			account := flow.NewAccount(32 << 20)
			var w flow.ReceiveWindow
			w.Open(account)
			now := time.Duration(0)
			for b.Loop() {
				now += 6 * time.Microsecond
				if err := w.AddReceived(n, now, 0); err != nil {
					b.Fatal(err)
				}
				if w.AddRead(n, now) {
					w.Update(account, now)
				}
			}
		})
	}
}

// BenchmarkReceiveWindowOpenFinish is the cost of a stream without data: its first window is
// committed and given back.
func BenchmarkReceiveWindowOpenFinish(b *testing.B) {
	b.ReportAllocs()
	account := flow.NewAccount(32 << 20)
	for b.Loop() {
		var w flow.ReceiveWindow
		w.Open(account)
		w.Finish(account)
	}
}

// BenchmarkSendWindow is the cost of a frame that is sent, for its stream, with an update for
// each eighth frame, as from a receiver with the first window.
func BenchmarkSendWindow(b *testing.B) {
	b.ReportAllocs()
	var w flow.SendWindow
	total, frames := uint32(0), 0
	for b.Loop() {
		n := min(w.Available(), benchFrame)
		w.AddSent(n)
		total += uint32(n)
		if frames++; frames%8 == 0 {
			if err := w.Update(total, flow.InitialWindow); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkAccount is the cost of a frame for its session: Full, Charge and Release. The account
// has its own budget or joined one, and is used by one goroutine or by 4 at once.
func BenchmarkAccount(b *testing.B) {
	frame := func(b *testing.B, s *flow.Account) {
		if s.Full() {
			b.Error("a budget that is hardly used is full")
		}
		s.Charge(benchFrame)
		s.Release(benchFrame)
	}
	alone := func(s *flow.Account) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				frame(b, s)
			}
		}
	}
	b.Run("own", alone(flow.NewAccount(32<<20)))
	b.Run("joined", alone(flow.NewBudget(32<<20).NewAccount()))

	// b.Loop is for one goroutine, and RunParallel has as many as there are cores.
	atOnce := func(b *testing.B, open func() *flow.Account) {
		b.ReportAllocs()
		const goroutines = 4
		var running sync.WaitGroup
		for i := range goroutines {
			s := open()
			n := (b.N + i) / goroutines
			running.Go(func() {
				for range n {
					frame(b, s)
				}
			})
		}
		running.Wait()
	}
	b.Run("own/goroutines=4", func(b *testing.B) {
		s := flow.NewAccount(32 << 20)
		atOnce(b, func() *flow.Account { return s })
	})
	b.Run("joined/goroutines=4", func(b *testing.B) {
		atOnce(b, flow.NewBudget(32<<20).NewAccount)
	})
}

// BenchmarkLimiter is the cost of a frame for a rate limit; none is the nil Limiter.
func BenchmarkLimiter(b *testing.B) {
	for _, rate := range []float64{1e12, 0} {
		l := flow.NewLimiter(flow.Rate{BytesPerSecond: rate, Burst: 1 << 20})
		b.Run(map[bool]string{true: "none", false: "limit"}[l == nil], func(b *testing.B) {
			b.ReportAllocs()
			now := time.Now()
			for b.Loop() {
				now = now.Add(time.Microsecond)
				if d := l.Reserve(benchFrame, now); d != 0 {
					b.Fatalf("the limit, which is not reached, asks to wait %v", d)
				}
			}
		})
	}
}
