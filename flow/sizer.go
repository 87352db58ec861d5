package flow

import "time"

// A sizer decides how large a window should be, from the round trip and from how the
// reader keeps up. The package documentation has the rules.
type sizer struct {
	need    uint32 // bytes that the application reads in a round trip, recent maximum; 0 if not known
	growth  growth // for the next update
	refused bool   // the Allocator gave less than was wanted
	samples uint8  // exact samples since the window grew, at most retrySamples

	readerDrained      bool // since the last update the reader has had nothing left to read
	unreadSinceArrival bool // bytes arrived while it waited, and nothing has been read since
	readerWasAway      bool // the last such time was long

	// The span that is being measured: a chunk of samples on a near path, a round trip on a far one.
	spanRead  uint32        // bytes of the stream read when it began
	spanBegan time.Duration // when it began

	// The trial of a larger window on a near path.
	trial trial
	best  uint32 // the best rate of a chunk, in 1/1024 bytes a microsecond
}

// growth is the growth that a window needs.
type growth uint8

const (
	noGrowth growth = iota
	growTwice
	growToRound // to four times what is read in a round trip
	growFourfold
)

// trial is the state of a larger window. Below nearRTT a round trip may be processing
// time and not distance: two processes that take turns on one core look like a path that
// the window limits. But there a larger window gains nothing. So each growth beyond
// maxUntested is a trial: the first is by half, later ones double the window. In a trial
// the rate of every chunk of samples must exceed the best rate before by a fifth.
//
//	noTrial --- the window grows --> onTrial
//	onTrial --- all chunks were better --> noTrial
//	onTrial --- a chunk was not better --> trialFailed
//	trialFailed --- the next update restores the window --> trialRefused
//	trialRefused --- retrySamples later --> noTrial
type trial uint8

const (
	noTrial trial = iota
	onTrial
	trialFailed
	trialRefused
)

const (
	// MinWindow is the smallest window of a [ReceiveWindow]. A stream without a window
	// could never show that it needs one. A window of this size is not committed.
	MinWindow = 16<<10 - 1
	minWindow = MinWindow
	// maxWindow keeps the signed comparisons of both ends right.
	maxWindow = 1 << 30
	// maxUntested is the largest window until the round trip is known well. A larger
	// one does not fit in the cache together with the sender's data, and slows down a
	// path without delay.
	maxUntested = 512 << 10
	// firstTrial is the size of the first trial beyond maxUntested.
	firstTrial = maxUntested + maxUntested/2
	// maxPathRate, in bytes a microsecond, bounds a window to what a path of 32 Gbit/s
	// holds: a faster path lies within this machine.
	maxPathRate = 4000
)

const (
	// maxFirstFill: if a sender takes longer than this for three quarters of the first
	// window, the window does not limit it on a path of less than 250 ms.
	maxFirstFill micros = 200_000
	// nearRTT: a measured round trip below this may be mostly scheduling, not distance.
	nearRTT micros = 10_000
	// shortRTT: half a window covers a round trip below this amply, and the cost of
	// updates matters.
	shortRTT micros = 1_000
)

const (
	// The round trip is known well after samples of sampleTime in all, or after
	// trialSamples samples.
	sampleTime   micros = 32_000
	trialSamples        = staleSamples + 3*chunkSamples
	// staleSamples is how many samples after a growth still show the earlier window.
	staleSamples = 2
	// chunkSamples is how many samples together show a rate that is not chance.
	chunkSamples = 8
	// maxChunk is the most bytes of a chunk, as offsets have 32 bits. A longer chunk
	// begins again.
	maxChunk = 1 << 31
	// retrySamples is how many samples after a failed trial another one may begin.
	retrySamples = 255
)

// onRead is called when the application reads. lag is the time since bytes last ended its
// wait.
func (z *sizer) onRead(lag, rtt micros) {
	if z.unreadSinceArrival {
		z.unreadSinceArrival = false
		z.readerWasAway = rtt != 0 && lag > max(nearRTT, rtt)/8
	}
}

// wantsMore reports whether an update is due only because the window should grow.
func (z *sizer) wantsMore() bool { return z.growth != noGrowth && !z.refused }

// onBlocked is called when reader and sender both wait for an update that was sent elapsed
// ago. If that is less than a round trip, the window is too small for the path.
func (z *sizer) onBlocked(elapsed, rtt micros, size int) {
	if rtt == 0 {
		if elapsed < maxFirstFill {
			z.requestGrowth(growFourfold, rtt, size)
		}
		return
	}
	slack := rtt / 32
	if rtt < shortRTT {
		slack = rtt / 4
	}
	switch {
	case elapsed < rtt/2:
		z.requestGrowth(growFourfold, rtt, size)
	case elapsed+slack < rtt:
		z.requestGrowth(growTwice, rtt, size)
	}
}

// requestGrowth asks for a larger window at the next update if that is useful. A reader
// that did other work while bytes were unread was not held up, though it then reads all
// of them at once.
func (z *sizer) requestGrowth(by growth, rtt micros, size int) {
	if !z.readerWasAway && z.grownSize(by, rtt, size) > size {
		z.growth = max(z.growth, by)
	}
}

// grownSize returns the size to which a window of this size grows.
func (z *sizer) grownSize(by growth, rtt micros, size int) int {
	want := 2 * size
	switch by {
	case growToRound: // need may have changed since
		return max(size, odd(min(4*int(min(z.need, maxWindow/4)), maxUseful(rtt))))
	case growFourfold:
		want = max(4*size, maxUntested)
	case noGrowth, growTwice:
	}
	if z.samples < 2 && rtt > maxFirstFill {
		// So far a slow reader may have waited for the first window, too.
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

// maxUseful returns the largest window that is useful on a path with this round trip,
// however fast the path is.
func maxUseful(rtt micros) int {
	return int(min(maxWindow, max(maxUntested, uint64(rtt)*maxPathRate)))
}

// countSample counts an exact sample; read is the offset that the application has read to.
// On a near path it judges the rate of each chunk of samples.
func (z *sizer) countSample(read uint32, rtt micros, now time.Duration) {
	if z.samples < retrySamples {
		z.samples++
	}
	if rtt >= nearRTT {
		return
	}
	switch n := z.samples; {
	case n == staleSamples:
		z.spanBegan, z.spanRead = now, read
	case n > staleSamples && (n-staleSamples)%chunkSamples == 0:
		rate := uint32(uint64(read-z.spanRead) << 10 / uint64(max(1, since(z.spanBegan, now))))
		z.spanBegan, z.spanRead = now, read
		z.judgeChunk(rate)
	case n == retrySamples:
		if z.trial == trialRefused {
			z.trial = noTrial
		}
		z.samples, z.best = 0, 0
	}
}

// judgeChunk compares the rate of a chunk with the best one.
func (z *sizer) judgeChunk(rate uint32) {
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

// measureNeed is called for each sample, exact or not. read is the offset that the
// application has read to, and n is how many bytes it has read in the time took.
func (z *sizer) measureNeed(read, n uint32, took, rtt micros, size int, now time.Duration) {
	if read-z.spanRead >= maxChunk {
		z.spanBegan, z.spanRead = now, read
	}
	if rtt == 0 {
		return
	}
	need := uint32(min(uint64(n)*uint64(rtt)/uint64(took), maxWindow))
	if z.readerDrained { // else the reader is the limit
		if rtt >= nearRTT && int(need) >= size/2 {
			z.requestGrowth(growTwice, rtt, size) // a sender that has just begun needs twice as much next time
		}
		need = max(need, z.need/2)
	}
	z.need = max(1, need)
}

// measureRound is called on a far path whose round trip the transport knows, when the
// application has read all that has arrived, up to the offset read. What it reads within a
// round trip is what the sender had on its way. When a connection begins, TCP has up to three
// times as much on its way in the next round trip.
func (z *sizer) measureRound(read uint32, rtt micros, size int, now time.Duration) {
	if since(z.spanBegan, now) > rtt {
		z.spanRead, z.spanBegan = read, now
		return
	}
	if n := read - z.spanRead; int(n) >= size/8*3 {
		z.need = max(z.need, min(n, maxWindow/4))
		z.requestGrowth(growToRound, rtt, size)
	}
}

// nextSize returns the size that a window of this size should have from the next update
// on, if the Allocator grants it.
func (z *sizer) nextSize(size int, rtt micros, alloc Allocator, now time.Duration) int {
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
		want = z.grownSize(z.growth, rtt, size)
	case size > minWindow && z.need != 0:
		want = z.shrunkSize(size, rtt, alloc)
	}
	z.growth = noGrowth
	return min(want, z.maxSize(rtt, alloc, now))
}

// onResized is called when the window should go from size to want bytes, and goes to got.
func (z *sizer) onResized(size, want, got int, rtt micros) {
	z.refused = got < want
	if got > size && size >= maxUntested-1 && rtt < nearRTT {
		z.trial = onTrial
		z.samples = 0
	}
}

// shrunkSize returns the size of a window after it shrinks, if it is far larger than what
// the reader takes in a round trip. A window shrinks only if the reader lags behind, or if
// the budget is under pressure; otherwise a stream would start again after each pause.
func (z *sizer) shrunkSize(size int, rtt micros, alloc Allocator) int {
	if useful := maxUseful(rtt); size > useful && z.known(rtt) {
		return odd(useful)
	}
	if size/4 <= int(z.need) {
		return size
	}
	if !z.readerDrained && size > InitialWindow {
		return odd(max(InitialWindow, size/2))
	}
	if p, ok := alloc.(PressureReporter); ok && p.UnderPressure() {
		return min(size, odd(max(4*minWindow, 2*int(z.need))))
	}
	return size
}

// maxSize returns the largest window that a WindowCapper allows.
func (z *sizer) maxSize(rtt micros, alloc Allocator, now time.Duration) int {
	if rtt != 0 && rtt < shortRTT {
		if c, ok := alloc.(WindowCapper); ok {
			if limit := c.WindowCap(now); limit > 0 {
				return odd(min(maxWindow, max(limit, minWindow, 2*int(z.need))))
			}
		}
	}
	return maxWindow
}
