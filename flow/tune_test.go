package flow_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

const (
	kbit = 1000 / 8
	mbit = 1000 * kbit
	gbit = 1000 * mbit
)

func TestAStreamUsesThePathWithoutConfiguration(t *testing.T) {
	const size = 256 << 20
	for _, tt := range []struct {
		rate       float64
		rtt        time.Duration
		whole      float64
		secondHalf float64
	}{
		{1 * gbit, 100 * time.Millisecond, 0.80, 0.95},
		{1 * gbit, 10 * time.Millisecond, 0.95, 0.95},
		{100 * mbit, 200 * time.Millisecond, 0.90, 0.95},
		{10 * mbit, 300 * time.Millisecond, 0.95, 0.95},
	} {
		for _, buffer := range []int{32 << 10, 4 << 20} {
			t.Run(fmt.Sprintf("%gMbit/%v/buffer=%dK", tt.rate/mbit, tt.rtt, buffer>>10), func(t *testing.T) {
				sim := &simulation{}
				x := newTransfer(t, sim, tt.rate, tt.rtt, flow.NewShare(32<<20))
				x.link.buffer = buffer
				x.write(size)
				sim.run(time.Hour)
				if x.read != size {
					t.Fatalf("%d bytes of %d arrived", x.read, size)
				}
				all, half := x.times[len(x.times)-1], x.times[len(x.times)/2-1]
				whole := size / tt.rate / all.Seconds()
				second := size / 2 / tt.rate / (all - half).Seconds()
				t.Logf("share of the rate %.3f, second half %.3f, window %d, rtt %v, %d updates",
					whole, second, x.in.Window(), x.in.RTT(), x.updates)
				if whole < tt.whole || second < tt.secondHalf {
					t.Errorf("want %.2f and %.2f", tt.whole, tt.secondHalf)
				}
			})
		}
	}
}
