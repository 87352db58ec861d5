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
