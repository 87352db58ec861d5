package flow

import "time"

// A roundTrip measures the round-trip time of a stream's path without a ping.
//
// An update that moves the limit from L0 to L1 is timed until the first byte beyond
// L0 arrives, as that could not be sent without the update. The sample is exact if
// a frame ended right at L0: then the peer had stood still there. Windows have odd
// sizes, so that frames do not end there by chance. Only the first limit is a round
// number; there the pause has to show as well. The least exact sample is the round
// trip. It includes the time that the peer takes to send.
//
// Where the window is what limits, the updates of a round trip come close together,
// and just one of them ends the longest pause. But whichever is timed, its sample
// comes right before the update at the same place in the next round trip. So after a
// sample that did not show the longest pause, the first update after that pause is
// timed next.
type roundTrip struct {
	sent   time.Duration // when the update that is timed was sent; see also the states
	turned time.Duration // when the reader last ran out of bytes, or bytes came again after that
	mark   uint32        // L0 of the update that is timed
	credit uint32        // what the peer could send without that update when it was sent
	pause  micros        // the longest pause that the update does not explain
	least  micros        // the round trip; 0 if it is not known
	slow   uint8         // samples in a row that were far above least
	state  timing
}

// timing is what a roundTrip does.
//
//	notTiming --- an update raises the limit --> timing
//	timing --- the reader has read up to mark --> timingWhileDrained
//	timing, timingWhileDrained --- a byte beyond mark --> notTiming, with a sample
//	any --- an update lowers the limit --> withdrawn
//	withdrawn --- two round trips later --> notTiming
//
// While notTiming with a pause, updates up to the time sent are not timed.
type timing uint8

const (
	notTiming          timing = iota
	timingUpdate              // the update that was sent at sent
	timingWhileDrained        // the same, and the reader has read all that the peer could send without it
	withdrawn                 // the limit was lowered at sent: for a while the peer goes by the one before
)

// slowSamples in a row far above the round trip show that the path has changed.
const slowSamples = 32

// A sample is what one timed update has shown.
type sample struct {
	took  micros // from the update to the first byte that it allowed
	idle  micros // for how much of that the reader waited for this byte
	exact bool   // the peer stood still until the update came
}

func (r *roundTrip) timing() bool { return r.state == timingUpdate || r.state == timingWhileDrained }

// update is called when an update is sent that moves the limit to next.
func (r *roundTrip) update(a *account, next uint32, now time.Duration) {
	limit := a.limit.value()
	switch {
	case after(limit, next):
		r.state, r.sent = withdrawn, now
	case r.state == withdrawn:
		if since(r.sent, now) > 2*r.least {
			r.state = notTiming
		}
	case r.state == notTiming && after(next, limit) && !after(a.received, limit):
		if r.pause != 0 && now <= r.sent {
			break
		}
		r.pause = 0
		r.mark, r.sent, r.credit = limit, now, limit-a.read
		r.state = timingUpdate
		if a.read == limit {
			r.state = timingWhileDrained
		}
	}
}

// resume is called when bytes come again after the reader had read all there was.
func (r *roundTrip) resume(now time.Duration) {
	gap := since(r.turned, now)
	switch r.state {
	case timingUpdate:
		r.pause = max(r.pause, gap)
	case notTiming, withdrawn:
		if gap >= r.pause-r.pause/4 {
			r.pause = 0
		}
	case timingWhileDrained: // the update that is timed explains the gap
	}
}

// drain is called when the reader has read all there was. The first time that this is
// all that the peer could send without the update that is timed, waiting is true, and
// elapsed is the time since that update.
func (r *roundTrip) drain(read uint32, now time.Duration) (elapsed micros, waiting bool) {
	if r.state != timingUpdate || read != r.mark {
		return 0, false
	}
	r.state = timingWhileDrained
	return since(r.sent, now), true
}

// cross is called when bytes have come from position before on, if the update is timed
// and they go beyond mark. It ends the timing.
func (r *roundTrip) cross(a *account, before uint32, now time.Duration) sample {
	took := max(1, since(r.sent, now))
	idle := micros(0)
	if r.state == timingWhileDrained {
		idle = min(took, since(r.turned, now))
		if r.credit > 0 { // part of that time the frame was on its way like those before
			busy := uint64(a.received-before) * uint64(took-idle) / uint64(r.credit)
			idle -= micros(min(uint64(idle), busy))
		}
	}
	r.state = notTiming
	cut := before == r.mark
	if cut && took >= shortRTT && r.pause > idle+took/16 {
		r.sent = now + 2*took.duration() // a pause as long comes until then
	} else {
		r.pause = 0
	}
	return sample{took, idle, cut && (r.mark != InitialWindow || idle > took/2)}
}

// learn takes an exact sample.
func (r *roundTrip) learn(s sample) {
	switch {
	case r.least == 0 || s.took < r.least:
		r.least = s.took
		r.slow = 0
	case s.took > r.least+r.least/8 && s.took >= nearRTT && s.idle > s.took/32:
		// The reader waits: this is no queue that our own window fills, but a longer way.
		if r.slow++; r.slow == slowSamples {
			r.least = min(s.took, 2*r.least)
			r.slow = 0
		}
	default:
		r.slow = 0
	}
}

// micros is a length of time in microseconds, at most maxMicros.
type micros uint32

// maxMicros, 17 minutes, stands for any longer time. Its double fits in 32 bits.
const maxMicros = 1 << 30

// since is the time from then to now; 0 if now is earlier.
func since(then, now time.Duration) micros {
	return micros(min(max(0, (now-then)/time.Microsecond), maxMicros))
}

func (m micros) duration() time.Duration { return time.Duration(m) * time.Microsecond }
