package flow

import "time"

// A sizer decides how large a window should be, from the round trip and from how the
// reader keeps up. The package documentation has the rules.
type sizer struct {
	need    uint32 // what the application reads in a round trip, at its recent best; 0 if not known
	growth  growth // for the next update
	capped  bool   // the Granter gave less than was wanted
	samples uint8  // exact samples since the window grew, up to retrySamples

	readerDrained      bool // the reader has read all there was since the last update
	unreadSinceArrival bool // bytes came when it had, and nothing has been read since
	readerWasAway      bool // the last time it was like that, it lasted long

	// The trial of a larger window on a near path.
	trial     trial
	chunkRead uint32 // what had been read when the chunk of samples began,
	chunkTime time.Duration
	best      uint32 // the best rate of a chunk, in 1/1024 bytes a microsecond
}

// growth is how much larger a window should be.
type growth uint8

const (
	noGrowth growth = iota
	growTwice
	growFourfold
)

// trial is the state of a larger window. Below nearRTT a round trip may be work and
// not distance: two processes that take turns on one core look just like a path that
// the window limits. But there a larger window brings nothing. So each growth beyond
// maxUntested, the first by half and later ones to the double, is a trial: the rate of
// every chunk of samples must beat the best one before by a fifth.
//
//	noTrial --- the window grows --> onTrial
//	onTrial --- all its chunks were better --> noTrial
//	onTrial --- a chunk was not --> trialFailed
//	trialFailed --- the window goes back at the next update --> trialRefused
//	trialRefused --- retrySamples later --> noTrial
type trial uint8

const (
	noTrial trial = iota
	onTrial
	trialFailed
	trialRefused
)

const (
	// minWindow is what a window never falls below, promised or not: a stream
	// without a window could never show that it needs one. A window of this size is
	// not promised.
	minWindow = 16<<10 - 1
	// maxWindow keeps the signed comparisons of both ends right.
	maxWindow = 1 << 30
	// maxUntested is how far a window grows before the round trip is known well, and
	// what a window may always have: more than that does not fit in the cache beside
	// its sender's, and slows down a path without delay.
	maxUntested = 512 << 10
	// firstTrial is what a near path's window grows to first beyond maxUntested.
	firstTrial = maxUntested + maxUntested/2
	// maxPathRate bounds a window to what a path of 32 Gbit/s holds, in bytes a
	// microsecond: a faster path is the inside of this machine.
	maxPathRate = 4000
)

const (
	// maxFirstFill: a sender that takes longer than this for three quarters of the
	// first window is not held up by it on any path of less than 250 ms.
	maxFirstFill micros = 200_000
	// nearRTT is the round trip below which scheduling, not distance, is most of what
	// is measured.
	nearRTT micros = 10_000
	// shortRTT is the round trip below which half a window covers it amply, and the
	// cost of an update counts.
	shortRTT micros = 1_000
)

const (
	// A round trip is known well after sampleTime of samples, or trialSamples.
	sampleTime   micros = 32_000
	trialSamples        = staleSamples + 3*chunkSamples
	// staleSamples: so many samples after a growth still show the window before.
	staleSamples = 2
	// chunkSamples: the rate of so many samples together is not chance.
	chunkSamples = 8
	// maxChunk: a chunk of more bytes begins anew, before 32 bits cannot count them.
	maxChunk = 1 << 31
	// retrySamples: after so many a failed trial may be repeated.
	retrySamples = 255
)

// attend is called when the application reads, this long after bytes came last that
// it had to wait for.
func (z *sizer) attend(lag, rtt micros) {
	if z.unreadSinceArrival {
		z.unreadSinceArrival = false
		z.readerWasAway = rtt != 0 && lag > max(nearRTT, rtt)/8
	}
}

// wantsMore reports whether an update should be sent for a larger window alone.
func (z *sizer) wantsMore() bool { return z.growth != noGrowth && !z.capped }

// starve is called when reader and sender both wait for an update that was sent this long
// ago. If it cannot have taken effect yet, the window is too small for the path.
func (z *sizer) starve(elapsed, rtt micros, size int) {
	if rtt == 0 {
		if elapsed < maxFirstFill {
			z.grow(growFourfold, rtt, size)
		}
		return
	}
	slack := rtt / 32
	if rtt < shortRTT {
		slack = rtt / 4
	}
	switch {
	case elapsed < rtt/2:
		z.grow(growFourfold, rtt, size)
	case elapsed+slack < rtt:
		z.grow(growTwice, rtt, size)
	}
}

// grow asks for a larger window at the next update, if one makes sense. A reader that
// was away while bytes lay there was not held up, though it then takes all of them
// at once.
func (z *sizer) grow(by growth, rtt micros, size int) {
	if !z.readerWasAway && z.grown(by, rtt, size) > size {
		z.growth = max(z.growth, by)
	}
}

// grown returns what a window of this size grows to.
func (z *sizer) grown(by growth, rtt micros, size int) int {
	want := 2 * size
	if by == growFourfold {
		want = max(4*size, maxUntested)
	}
	if z.samples < 2 && rtt > maxFirstFill {
		// So far even a slow reader may have waited for the first window.
		want = min(want, max(2*size, maxUntested))
	}
	if want > maxUntested && (!z.known(rtt) || rtt < nearRTT) {
		want = maxUntested
		if size >= maxUntested-1 && z.samples >= trialSamples && z.trial != trialRefused {
			want = 2 * size
			if size <= maxUntested {
				want = firstTrial
			}
		}
	}
	return max(size, odd(min(want, maxUseful(rtt))))
}

// known reports whether the round trip is known well.
func (z *sizer) known(rtt micros) bool {
	return z.samples >= trialSamples || uint64(z.samples)*uint64(rtt) >= uint64(sampleTime)
}

// maxUseful is the largest window that makes sense on a path, however fast it is.
func maxUseful(rtt micros) int {
	return int(min(maxWindow, max(maxUntested, uint64(rtt)*maxPathRate)))
}

// count counts an exact sample, taken when this much had been read. On a near path it
// judges the rate of every chunkSamples.
func (z *sizer) count(read uint32, rtt micros, now time.Duration) {
	if z.samples < retrySamples {
		z.samples++
	}
	if rtt >= nearRTT {
		return
	}
	switch n := z.samples; {
	case n == staleSamples:
		z.chunkTime, z.chunkRead = now, read
	case n > staleSamples && (n-staleSamples)%chunkSamples == 0:
		rate := uint32(uint64(read-z.chunkRead) << 10 / uint64(max(1, since(z.chunkTime, now))))
		z.chunkTime, z.chunkRead = now, read
		z.judge(rate)
	case n == retrySamples:
		if z.trial == trialRefused {
			z.trial = noTrial
		}
		z.samples, z.best = 0, 0
	}
}

// judge takes the rate of a chunk.
func (z *sizer) judge(rate uint32) {
	switch {
	case z.trial == noTrial || z.trial == trialRefused:
		z.best = max(z.best, rate)
	case rate < z.best+z.best/5:
		z.trial = trialFailed
	case z.trial == onTrial && z.samples == trialSamples:
		z.trial = noTrial
		z.best = rate
	}
}

// measure is called for each sample, exact or not: with where the application has read
// to, and what it has read in the time took since the update was sent.
func (z *sizer) measure(read, since uint32, took, rtt micros, now time.Duration) {
	if read-z.chunkRead >= maxChunk {
		z.chunkTime, z.chunkRead = now, read
	}
	if rtt == 0 {
		return
	}
	need := uint32(min(uint64(since)*uint64(rtt)/uint64(took), maxWindow))
	if z.readerDrained { // else the reader is what limits
		need = max(need, z.need/2)
	}
	z.need = max(1, need)
}

// next returns the size that a window of this size should have at the next update. The
// Granter decides whether it can be had.
func (z *sizer) next(size int, rtt micros, g Granter, now time.Duration) int {
	want := size
	switch {
	case z.trial == trialFailed:
		want = min(size, maxUntested-1)
		if size > firstTrial {
			want = odd(size / 2)
		}
		z.trial = trialRefused
		z.samples = 0
	case z.growth != noGrowth:
		want = z.grown(z.growth, rtt, size)
	case size > minWindow && z.need != 0:
		want = z.shrunk(size, rtt, g)
	}
	z.growth = noGrowth
	return min(want, z.cap(rtt, g, now))
}

// granted is called when the window was to go from size to want, and goes to got.
func (z *sizer) granted(size, want, got int, rtt micros) {
	z.capped = got < want
	if got > size && size >= maxUntested-1 && rtt < nearRTT {
		z.trial = onTrial
		z.samples = 0
	}
}

// shrunk is what is left of a window that is far larger than what the reader takes
// in a round trip. Windows shrink where the reader lags behind, or where promises are
// scarce; else a stream that pauses would start anew.
func (z *sizer) shrunk(size int, rtt micros, g Granter) int {
	if most := maxUseful(rtt); size > most && z.known(rtt) {
		return odd(most)
	}
	if size/4 <= int(z.need) {
		return size
	}
	if !z.readerDrained && size > InitialWindow {
		return odd(max(InitialWindow, size/2))
	}
	if p, ok := g.(PressureReporter); ok && p.Pressed() {
		return min(size, odd(max(4*minWindow, 2*int(z.need))))
	}
	return size
}

// cap is the largest window that a WindowCapper allows.
func (z *sizer) cap(rtt micros, g Granter, now time.Duration) int {
	if rtt != 0 && rtt < shortRTT {
		if c, ok := g.(WindowCapper); ok {
			if limit := c.WindowCap(now); limit > 0 {
				return odd(min(maxWindow, max(limit, minWindow, 2*int(z.need))))
			}
		}
	}
	return maxWindow
}
