package flow_test

import (
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// BenchmarkReceiveWindow is what a frame costs its stream, with its part of the
// updates: Received, Read, and Update when due.
func BenchmarkReceiveWindow(b *testing.B) {
	for name, n := range map[string]int{"frame=256": 256, "frame=32K": 32760} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			share := flow.NewShare(32 << 20)
			var w flow.ReceiveWindow
			w.Open(share)
			now := time.Duration(0)
			for b.Loop() {
				now += 6 * time.Microsecond
				if err := w.Received(n, now); err != nil {
					b.Fatal(err)
				}
				if w.Read(n, now) {
					w.Update(share, now)
				}
			}
		})
	}
}

func BenchmarkReceiveWindowOpenFinish(b *testing.B) {
	b.ReportAllocs()
	share := flow.NewShare(32 << 20)
	for b.Loop() {
		var w flow.ReceiveWindow
		w.Open(share)
		w.Finish(share)
	}
}

func BenchmarkSendWindow(b *testing.B) {
	b.ReportAllocs()
	var w flow.SendWindow
	total := uint32(0)
	for b.Loop() {
		n := min(w.Available(), 32760)
		w.Sent(n)
		total += uint32(n)
		if err := w.Update(total, flow.InitialWindow); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkShare is what a frame costs its session: Full, Take and Return.
func BenchmarkShare(b *testing.B) {
	frame := func(s *flow.Share) {
		if !s.Full() {
			s.Take(32760)
			s.Return(32760)
		}
	}
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		s := flow.NewShare(32 << 20)
		for b.Loop() {
			frame(s)
		}
	})
	b.Run("joined", func(b *testing.B) {
		b.ReportAllocs()
		s := flow.NewBudget(32 << 20).Join()
		for b.Loop() {
			frame(s)
		}
	})
	b.Run("joined by each", func(b *testing.B) {
		b.ReportAllocs()
		budget := flow.NewBudget(32 << 20)
		b.RunParallel(func(pb *testing.PB) {
			s := budget.Join()
			for pb.Next() {
				frame(s)
			}
		})
	})
	b.Run("own, taken and returned apart", func(b *testing.B) {
		b.ReportAllocs()
		s := flow.NewShare(32 << 20)
		queue := make(chan struct{}, 256)
		go func() {
			for range queue {
				s.Return(32760 * 64)
			}
		}()
		n := 0
		for b.Loop() {
			s.Full()
			s.Take(32760)
			if n++; n%64 == 0 {
				queue <- struct{}{}
			}
		}
		close(queue)
	})
}

func BenchmarkLimiter(b *testing.B) {
	b.Run("limit", func(b *testing.B) {
		b.ReportAllocs()
		l := flow.NewLimiter(1e12, 1<<20)
		now := time.Now()
		for b.Loop() {
			l.Reserve(32760, now)
		}
	})
	b.Run("none", func(b *testing.B) {
		b.ReportAllocs()
		var l *flow.Limiter
		now := time.Now()
		for b.Loop() {
			l.Reserve(32760, now)
		}
	})
}
