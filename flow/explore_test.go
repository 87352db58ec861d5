package flow_test

import (
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

func TestExplore(t *testing.T) {
	for _, p := range []struct {
		rate float64
		rtt  time.Duration
	}{{10 * gbit, time.Millisecond}, {10 * gbit, 200 * time.Microsecond}, {25 * gbit, 500 * time.Microsecond}, {gbit, 2 * time.Millisecond}, {gbit, 5 * time.Millisecond}, {10 * gbit, 5 * time.Millisecond}, {gbit, 30 * time.Millisecond}, {100 * mbit, 20 * time.Millisecond}, {100 * mbit, 50 * time.Millisecond}, {mbit, 600 * time.Millisecond}, {50 * mbit, 600 * time.Millisecond},{300 * mbit, 600 * time.Millisecond}} {
		for _, piece := range []int{1 << 10, 32 << 10, 1 << 20} {
			sim := &simulation{}
			x := newTransfer(t, sim, p.rate, p.rtt, flow.NewShare(32<<20))
			x.piece = piece
			size := 256 << 20
			if p.rate < 50*mbit {
				size = 16 << 20
			}
			x.write(size)
			sim.run(time.Hour)
			all, half := x.times[len(x.times)-1], x.times[len(x.times)/2-1]
			t.Logf("%gM %v piece %d: %.3f, 2nd %.3f, window %d rtt %v updates %d", p.rate/mbit, p.rtt, piece, float64(size)/p.rate/all.Seconds(), float64(size)/2/p.rate/(all-half).Seconds(), x.in.Window(), x.in.RTT(), x.updates)
		}
	}
	// slow reader
	for _, rtt := range []time.Duration{50 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond, time.Second} {
		for _, rate := range []float64{20 * mbit, gbit, 40 * gbit} {
			for _, piece := range []int{4 << 10, 32 << 10, 128 << 10} {
				sim := &simulation{}
				x := newTransfer(t, sim, rate, rtt, flow.NewShare(32<<20))
				x.piece = piece
				x.readTime = time.Duration(float64(piece) / 1e6 * 1e9)
				x.write(100 << 20)
				sim.run(time.Minute)
				t.Logf("slow reader %gM %v piece %d: max window %d read %.2f MB/s", rate/mbit, rtt, piece, x.maxWindow, float64(x.read)/60e6)
			}
		}
	}
	// source limited
	for _, rtt := range []time.Duration{50 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond} {
		for _, w := range []int{1, 64, 1000, 4096, 32768, 65536, 262144, 1 << 20, 1000003} {
			for _, every := range []time.Duration{100 * time.Microsecond, 10 * time.Millisecond, 500 * time.Millisecond} {
				if rate := float64(w) / every.Seconds(); rate > 50e6 {
					continue
				}
				sim := &simulation{}
				x := newTransfer(t, sim, gbit, rtt, flow.NewShare(32<<20))
				var tick func()
				n := 0
				tick = func() {
					x.write(w)
					if n++; n < 20000 {
						sim.after(every, tick)
					}
				}
				tick()
				sim.run(time.Minute)
				t.Logf("source %v: %d each %v: max window %d rtt %v", rtt, w, every, x.maxWindow, x.in.RTT())
			}
		}
	}
}
