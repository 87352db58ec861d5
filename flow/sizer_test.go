package flow_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/simnet"
)

// Without configuration a stream reaches this part of the path's rate, over the whole transfer
// and over its second half.
func TestReceiveWindowFillsThePath(t *testing.T) {
	for _, tt := range []struct {
		rate       float64
		rtt        time.Duration
		size       int
		whole      float64
		secondHalf float64
	}{
		{1 * simnet.Gbit, 100 * time.Millisecond, 256 << 20, 0.80, 0.95},
		{1 * simnet.Gbit, 10 * time.Millisecond, 256 << 20, 0.95, 0.95},
		{100 * simnet.Mbit, 200 * time.Millisecond, 256 << 20, 0.90, 0.95},
		{10 * simnet.Mbit, 300 * time.Millisecond, 256 << 20, 0.95, 0.95},

		{1 * simnet.Gbit, 30 * time.Millisecond, 256 << 20, 0.90, 0.95},
		{1 * simnet.Gbit, 5 * time.Millisecond, 256 << 20, 0.85, 0.90},
		{1 * simnet.Gbit, 1 * time.Millisecond, 64 << 20, 0.95, 0.95},
		{10 * simnet.Gbit, 1 * time.Millisecond, 256 << 20, 0.75, 0.90},
		{10 * simnet.Gbit, 100 * time.Microsecond, 64 << 20, 0.95, 0.95},
		{50 * simnet.Mbit, 600 * time.Millisecond, 256 << 20, 0.90, 0.95},
		{1 * simnet.Mbit, 600 * time.Millisecond, 8 << 20, 0.95, 0.95},
	} {
		for _, buffer := range some(32<<10, 4<<20) { // bytes that wait in the sender's transport
			for _, piece := range some(1<<20, 4<<10) { // bytes that a Read takes
				name := fmt.Sprintf("%gMbit/s,%v/buffer=%dK,read=%dK", tt.rate/simnet.Mbit, tt.rtt, buffer>>10, piece>>10)
				t.Run(name, func(t *testing.T) {
					sim := &simulation{}
					x := newTransfer(t, sim, tt.rate, tt.rtt, flow.NewAccount(32<<20))
					x.link.buffer = buffer
					x.piece = piece
					x.write(tt.size)
					sim.run(24 * time.Hour)
					whole, second := x.rateShare(tt.rate, tt.size)
					t.Logf("%.3f of the rate, %.3f in the second half; window %d, round trip %v, %d updates",
						whole, second, x.in.Window(), x.in.RTT(), x.updates)
					if whole < tt.whole || second < tt.secondHalf {
						t.Errorf("want %.2f and %.2f", tt.whole, tt.secondHalf)
					}
				})
			}
		}
	}
}

// rateShare returns the part of a rate that the transfer reached, in all and in its second half.
func (x *transfer) rateShare(rate float64, size int) (whole, second float64) {
	x.t.Helper()
	if x.read != size {
		x.t.Fatalf("%d bytes of %d were read", x.read, size)
	}
	all, half := x.times[len(x.times)-1], x.times[len(x.times)/2-1]
	return float64(size) / rate / all.Seconds(), float64(size) / 2 / rate / (all - half).Seconds()
}

// The window fills the path whatever the size of frames.
func TestReceiveWindowFillsThePathWithAnyFrame(t *testing.T) {
	for _, frame := range some(16384, 1000, 4096, 32760, 32768, 65535) {
		sim := &simulation{}
		x := newTransfer(t, sim, simnet.Gbit, 100*time.Millisecond, flow.NewAccount(32<<20))
		x.frame = frame
		x.write(64 << 20)
		sim.run(time.Hour)
		if _, second := x.rateShare(simnet.Gbit, 64<<20); second < 0.80 {
			t.Errorf("frames of %d bytes: %.2f of the rate", frame, second)
		}
	}
}

// A reader of 1 MB/s keeps the window below 1 MiB and still gets its rate.
func TestReceiveWindowStaysSmallForASlowReader(t *testing.T) {
	for _, rtt := range []time.Duration{50 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		for _, rate := range []float64{20 * simnet.Mbit, simnet.Gbit, 40 * simnet.Gbit} {
			for _, piece := range []int{4 << 10, 32 << 10, 128 << 10} {
				sim := &simulation{}
				x := newTransfer(t, sim, rate, rtt, knownPath{flow.NewAccount(32 << 20), rtt})
				x.piece = piece
				x.readTime = time.Duration(piece) * time.Second / 1e6 // 1 MB/s
				x.write(1 << 30)
				sim.run(time.Minute)
				if x.maxWindow >= 1<<20 {
					t.Errorf("%v, %g Mbit/s, read %d: the window grew to %d", rtt, rate/simnet.Mbit, piece, x.maxWindow)
				}
				if got := float64(x.read) / 60e6; got < 0.95 {
					t.Errorf("%v, %g Mbit/s, read %d: the reader got %.2f MB/s", rtt, rate/simnet.Mbit, piece, got)
				}
			}
		}
	}
}

// The window shrinks when the reader slows down, and grows when it is fast again.
func TestReceiveWindowShrinksWithTheReader(t *testing.T) {
	sim := &simulation{}
	account := flow.NewAccount(32 << 20)
	x := newTransfer(t, sim, simnet.Gbit, 100*time.Millisecond, account)
	x.write(1 << 30)
	sim.run(3 * time.Second)
	if x.in.Window() < 8<<20 {
		t.Fatalf("the window grew to %d only", x.in.Window())
	}
	x.readTime = 32 * time.Millisecond // 1 MB/s
	sim.run(2 * time.Minute)
	if x.in.Window() >= 1<<20 {
		t.Errorf("the window is still %d", x.in.Window())
	}
	if got := account.Budget().Committed(); got != x.in.Window() {
		t.Errorf("%d committed for a window of %d", got, x.in.Window())
	}
	x.readTime = 0
	before := x.read
	sim.run(sim.now + 2*time.Second)
	if rate := float64(x.read-before) / 2 / simnet.Gbit; rate < 0.6 {
		t.Errorf("%.2f of the rate once it reads again", rate)
	}
}

// A sender that has little to send does not make the window grow.
func TestReceiveWindowStaysSmallForLittleData(t *testing.T) {
	for _, rtt := range []time.Duration{50 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond} {
		for _, size := range some(1000, 1, 64, 1024, 4096, 32<<10, 64<<10) {
			for _, every := range []time.Duration{100 * time.Microsecond, 10 * time.Millisecond, 500 * time.Millisecond} {
				rate := float64(size) / every.Seconds()
				if rate*rtt.Seconds() > flow.InitialWindow/2 || rate > 100e6 {
					continue // the first window is indeed too small
				}
				sim := &simulation{}
				x := newTransfer(t, sim, simnet.Gbit, rtt, flow.NewAccount(32<<20))
				left := min(10_000, 16<<20/size)
				var tick func()
				tick = func() {
					x.write(size)
					if left--; left > 0 {
						sim.after(every, tick)
					}
				}
				tick()
				sim.run(24 * time.Hour)
				if x.maxWindow > 512<<10 {
					t.Errorf("%d bytes each %v, round trip %v: the window grew to %d", size, every, rtt, x.maxWindow)
				}
			}
		}
	}
}

// When the path gets longer, the window grows until it fills the path again.
func TestReceiveWindowFollowsALongerPath(t *testing.T) {
	sim := &simulation{}
	x := newTransfer(t, sim, simnet.Gbit, 20*time.Millisecond, flow.NewAccount(32<<20))
	x.write(math.MaxInt)
	sim.run(2 * time.Second)
	x.link.delay, x.back.delay = 50*time.Millisecond, 50*time.Millisecond
	sim.run(10 * time.Second)
	before := x.read
	sim.run(14 * time.Second)
	if rate := float64(x.read-before) / 4 / simnet.Gbit; rate < 0.95 {
		t.Errorf("%.2f of the rate, window %d", rate, x.in.Window())
	}
}

// A queue in the path does not make the window grow.
func TestReceiveWindowTakesNoQueueForDistance(t *testing.T) {
	for _, rtt := range []time.Duration{time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond} {
		for _, alloc := range []flow.Allocator{flow.NewAccount(32 << 20), knownPath{flow.NewAccount(32 << 20), rtt}} {
			sim := &simulation{}
			x := newTransfer(t, sim, 10*simnet.Mbit, rtt, alloc)
			x.link.buffer = 64 << 20 // the sender never has to wait
			x.write(1 << 30)
			sim.run(10 * time.Minute)
			if x.in.Window() > 1<<20 {
				t.Errorf("round trip %v, %T: the window grew to %d where %d are needed", rtt, alloc, x.in.Window(), int(10*simnet.Mbit*rtt.Seconds()))
			}
		}
	}
}

// In a steady flow there is at most one update for each quarter of the window, or for each 512 KiB of a large one.
func TestUpdateComesOncePerQuarterWindow(t *testing.T) {
	for _, rtt := range []time.Duration{50 * time.Microsecond, 10 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond} {
		for _, most := range some(16<<20, 1<<20, flow.InitialWindow) {
			sim := &simulation{}
			x := newTransfer(t, sim, simnet.Gbit, rtt, flow.MaxWindow(most))
			x.write(math.MaxInt)
			sim.run(6 * time.Second) // it has found its size
			updates, read, window := x.updates, x.read, x.in.Window()
			sim.run(10 * time.Second)
			updates, read = x.updates-updates, x.read-read
			if updates > read/min(window/4, 512<<10)+1 {
				t.Errorf("%v, up to %d: %d updates for %d bytes with a window of %d", rtt, most, updates, read, window)
			}
		}
	}
}

// A window that cannot grow is used in full in each round trip.
func TestReceiveWindowAtItsMaximumIsUsedInFull(t *testing.T) {
	const rtt, most = 100 * time.Millisecond, 1 << 20
	for _, piece := range []int{4 << 10, 32 << 10, 64 << 10, 1 << 20} {
		sim := &simulation{}
		x := newTransfer(t, sim, simnet.Gbit, rtt, flow.MaxWindow(most))
		x.piece = piece
		x.write(1 << 30)
		sim.run(5 * time.Second)
		before := x.read
		sim.run(25 * time.Second)
		if got := float64(x.read-before) / 20 * rtt.Seconds() / most; got < 0.9 {
			t.Errorf("reads of %d: %.2f of a window a round trip", piece, got)
		}
	}
}

// A raised Allocator grants more from some time on.
type raised struct{ flow.MaxWindow }

func (r *raised) Resize(have, want int) int { return r.MaxWindow.Resize(have, want) }

// A window that the Allocator held down grows once the Allocator allows more.
func TestReceiveWindowGrowsOnceItMay(t *testing.T) {
	for _, size := range some(3_129_751, 600_001, 1<<20, 2_000_001, 4<<20, 5_000_001, 7_340_051) {
		for _, piece := range some(32<<10, 4<<10, 64<<10, 1<<20) {
			sim := &simulation{}
			g := &raised{flow.MaxWindow(size)}
			x := newTransfer(t, sim, simnet.Gbit, 100*time.Millisecond, g)
			x.piece = piece
			x.write(math.MaxInt)
			sim.run(5 * time.Second)
			g.MaxWindow = 16 << 20
			sim.run(8 * time.Second)
			before := x.read
			sim.run(10 * time.Second)
			if rate := float64(x.read-before) / 2 / simnet.Gbit; rate < 0.95 {
				t.Errorf("from %d, reads of %d: %.2f of the rate, window %d", size, piece, rate, x.in.Window())
			}
		}
	}
}

// A slow reader keeps the window small also if it reads much at once.
func TestReceiveWindowStaysSmallForLargeReads(t *testing.T) {
	for _, rtt := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		for _, piece := range []int{256 << 10, 512 << 10, 1 << 20, 2 << 20} {
			sim := &simulation{}
			x := newTransfer(t, sim, simnet.Gbit, rtt, flow.NewAccount(32<<20))
			x.piece = piece
			x.readTime = time.Duration(piece) * time.Second / 1e6 // at most 1 MB/s
			x.write(1 << 30)
			sim.run(time.Minute)
			if x.maxWindow >= 1<<20 {
				t.Errorf("%v, gulps of %d: the window grew to %d", rtt, piece, x.maxWindow)
			}
		}
	}
}

// A capped Allocator limits windows.
type capped struct {
	*flow.Account
	limit int
}

func (c capped) WindowCap(time.Duration) int { return c.limit }

// A window is no larger than its cap, or than what is needed. With a round trip of a millisecond
// or more the cap changes nothing.
func TestWindowCapBoundsWindowsOfShortPaths(t *testing.T) {
	const limit, size = 24 << 10, 64 << 20
	for _, tt := range []struct {
		rate     float64
		rtt      time.Duration
		readTime time.Duration // of 32 KiB
		most     int           // window; 0: no difference
	}{
		{0, 2 * time.Microsecond, 10 * time.Microsecond, limit},
		{0, 10 * time.Microsecond, 10 * time.Microsecond, 96 << 10},
		{0, 20 * time.Microsecond, 10 * time.Microsecond, 128 << 10},
		{0, 50 * time.Microsecond, 10 * time.Microsecond, 200 << 10},
		{0, 2 * time.Millisecond, 10 * time.Microsecond, 0},
		{1 * simnet.Gbit, 2 * time.Millisecond, 0, 0},
		{1 * simnet.Gbit, 100 * time.Millisecond, 0, 0},
	} {
		t.Run(fmt.Sprintf("%gGbit/s,%v,read=%v", tt.rate/simnet.Gbit, tt.rtt, tt.readTime), func(t *testing.T) {
			run := func(limited bool) (window int, took time.Duration) {
				sim := &simulation{}
				g := capped{Account: flow.NewAccount(32 << 20)}
				if limited {
					g.limit = limit
				}
				x := newTransfer(t, sim, tt.rate, tt.rtt, g)
				x.readTime = tt.readTime
				x.write(size)
				sim.run(time.Hour)
				if x.read != size {
					t.Fatalf("%d bytes of %d were read", x.read, size)
				}
				return x.in.Window(), x.times[len(x.times)-1]
			}
			window, took := run(false)
			limited, takes := run(true)
			t.Logf("window %d instead of %d, %v instead of %v", limited, window, takes, took)
			if tt.most == 0 && (limited != window || takes != took) {
				t.Error("want no difference")
			}
			if tt.most > 0 && (window <= tt.most || limited > tt.most) {
				t.Errorf("want a window of %d at most", tt.most)
			}
			if takes > 2*took {
				t.Error("it takes more than twice the time")
			}
		})
	}
}

// A path that is silent for any time, as behind a computer that sleeps, is afterwards as long as before,
// wherever a counter of microseconds with 32 bits would stand then.
func TestReceiveWindowKeepsItsSizeOverSilence(t *testing.T) {
	const rtt, wrap = 100 * time.Millisecond, time.Microsecond << 32         // 71 min 35 s
	for _, silence := range []time.Duration{wrap / 2, wrap, 73_500 * wrap} { // the last is ten years
		for more := -rtt; more < rtt; more += 10 * time.Millisecond {
			sim := &simulation{}
			x := newTransfer(t, sim, simnet.Gbit, rtt, flow.NewAccount(32<<20))
			x.write(math.MaxInt)
			sim.run(5 * time.Second)
			window, measured := x.in.Window(), x.in.RTT()
			x.back.delay = silence + more // no update arrives for so long
			sim.run(6 * time.Second)
			x.back.delay = rtt / 2
			sim.run(sim.now + silence + 2*time.Second)
			if x.in.RTT() != measured || x.in.Window() < window {
				t.Errorf("after a silence of %v the round trip is %v and the window %d, before it %v and %d",
					silence+more, x.in.RTT(), x.in.Window(), measured, window)
			}
		}
	}
}
