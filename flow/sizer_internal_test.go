package flow

import (
	"testing"
	"time"
)

// The rate of a chunk of samples is right, or at least not too low, however many bytes come between two
// samples that count.
func TestSizerJudgesAChunkOfManyBytes(t *testing.T) {
	const rate = 6 << 30 // bytes a second
	for _, each := range []uint64{1 << 20, 640 << 20, 1 << 30, 3 << 30} {
		const step = 250 << 20 // bytes between two samples
		z := sizer{}
		read, now := uint64(0), time.Duration(0)
		for n := 1; z.samples < trialSamples; n++ {
			read += min(step, each)
			now += time.Duration(min(step, each)) * time.Second / rate
			if uint64(n)*step >= uint64(z.samples+1)*each { // this one is exact
				z.countSample(uint32(read), 100, now)
			}
			z.measureNeed(uint32(read), step, 100, 100, maxUntested, now)
		}
		if got := float64(z.best) / 1024 * 1e6; got < 0.99*rate || got > 1.01*rate {
			t.Errorf("%d bytes a sample: %.2f GiB/s, want %.2f", each, got/(1<<30), float64(rate)/(1<<30))
		}
	}
}

// A window grows to four times what is read in a round trip, but neither shrinks nor exceeds what is useful, whatever that
// number is: it may have become smaller since growth was requested, and four times the largest one has more than 32 bits.
func TestSizerGrowsToARoundWithinBounds(t *testing.T) {
	const far = 100_000
	for _, tt := range []struct {
		need       uint32
		rtt        micros
		size, want int
	}{
		{100_000, far, InitialWindow, 399_999},
		{50_000, far, InitialWindow, InitialWindow},
		{0, far, InitialWindow, InitialWindow},
		{maxWindow / 2, far, InitialWindow, 4000*far - 1},
		{maxWindow, far, InitialWindow, 4000*far - 1},
		{maxWindow, far, 500 << 20, 500 << 20},
		{maxWindow, maxMicros, InitialWindow, maxWindow - 1},
		{maxWindow, nearRTT / 10, InitialWindow, 3_999_999},
	} {
		z := sizer{need: tt.need}
		if got := z.grownSize(growToRound, tt.rtt, tt.size); got != tt.want {
			t.Errorf("need %d, round trip %v: from %d to %d, want %d", tt.need, tt.rtt.duration(), tt.size, got, tt.want)
		}
	}
}
