package flow

import "time"

// A roundTrip measures the round-trip time of a stream's path without a ping.
//
// It times one update at a time: from the update, which moves the limit from L0 to L1,
// until the first byte beyond L0 arrives. The peer could not send that byte before. The
// sample is exact if a frame ended at L0: then the peer was blocked there. Windows have
// odd sizes, so that frames do not end there by chance. The first limit is a round number;
// there the reader must have waited as well. The smallest exact sample is the round trip.
// It includes the time that the peer takes to send.
//
// If the window is the limit, the updates of one round trip come close together, and only
// one of them ends the longest pause. A sample is complete right before the update at the
// same place in the next round trip. So after a sample that did not contain the longest
// pause, the next update to be timed is the first one after that pause.
type roundTrip struct {
	sentAt      time.Duration // when the timed update was sent; see also the states
	waitChanged time.Duration // when the reader last began to wait for bytes, or bytes ended its wait
	mark        uint32        // L0 of the timed update
	headroom    uint32        // limit - read when it was sent: bytes that the peer could send without it
	pause       micros        // the longest pause that the timed update does not explain
	minRTT      micros        // the round trip; 0 if it is not known
	transport   micros        // the transport's own round trip, from a PathReporter; 0 if it is not known
	slow        uint8         // exact samples in a row far above minRTT
	state       timing
}

// timing is the state of a roundTrip.
//
//	notTiming --- an update raises the limit --> timingUpdate
//	timingUpdate --- the reader has read up to mark --> timingWhileDrained
//	timingUpdate, timingWhileDrained --- a byte beyond mark --> notTiming, with a sample
//	any --- an update lowers the limit --> withdrawn
//	withdrawn --- two round trips later --> notTiming
//
// In notTiming with a pause, updates up to sentAt are not timed.
type timing uint8

const (
	notTiming          timing = iota
	timingUpdate              // the update of sentAt
	timingWhileDrained        // the same, and the reader has read all that the peer could send without it
	withdrawn                 // the limit was lowered at sentAt: for a while the peer uses the one before
)

// slowSamples is how many exact samples in a row far above the round trip raise it: the
// path has changed.
const slowSamples = 32

// A sample is the result of one timed update.
type sample struct {
	took  micros // from the update to the first byte that it allowed
	idle  micros // the part of took in which the reader waited for this byte
	exact bool   // the peer was blocked until the update came
}

func (r *roundTrip) timing() bool { return r.state == timingUpdate || r.state == timingWhileDrained }

// farRTT returns the round trip of the transport if the path is a far one, and 0 otherwise. If
// the stream's own is shorter, it returns that. If the stream's own is more than twice as long,
// something behind the transport relays the stream, and the transport does not know the whole path.
func (r *roundTrip) farRTT() micros {
	near := r.transport < nearRTT || r.minRTT != 0 && r.minRTT < nearRTT
	if near || r.minRTT > 2*r.transport {
		return 0
	}
	if r.minRTT != 0 {
		return min(r.transport, r.minRTT)
	}
	return r.transport
}

// onUpdate is called when an update is sent that moves the limit to next.
func (r *roundTrip) onUpdate(o *offsets, next uint32, now time.Duration) {
	limit := o.limit.value()
	switch {
	case after(limit, next):
		r.state, r.sentAt = withdrawn, now
	case r.state == withdrawn:
		if since(r.sentAt, now) > 2*r.minRTT {
			r.state = notTiming
		}
	case r.state == notTiming && after(next, limit) && !after(o.received, limit):
		if r.pause != 0 && now <= r.sentAt {
			break
		}
		r.pause = 0
		r.mark, r.sentAt, r.headroom = limit, now, limit-o.read
		r.state = timingUpdate
		if o.read == limit {
			r.state = timingWhileDrained
		}
	}
}

// onResumed is called when bytes arrive and the reader had read all bytes before.
func (r *roundTrip) onResumed(now time.Duration) {
	gap := since(r.waitChanged, now)
	switch r.state {
	case timingUpdate:
		r.pause = max(r.pause, gap)
	case notTiming, withdrawn:
		if gap >= r.pause-r.pause/4 {
			r.pause = 0
		}
	case timingWhileDrained: // the timed update explains the gap
	}
}

// onDrained is called when the reader has read all bytes that arrived. The first time that
// these are all that the peer could send without the timed update, blocked is true, and
// elapsed is the time since that update.
func (r *roundTrip) onDrained(read uint32, now time.Duration) (elapsed micros, blocked bool) {
	if r.state != timingUpdate || read != r.mark {
		return 0, false
	}
	r.state = timingWhileDrained
	return since(r.sentAt, now), true
}

// takeSample ends the timing. It is called when bytes from position before on have arrived
// that go beyond mark.
func (r *roundTrip) takeSample(o *offsets, before uint32, now time.Duration) sample {
	took := max(1, since(r.sentAt, now))
	idle := micros(0)
	if r.state == timingWhileDrained {
		idle = min(took, since(r.waitChanged, now))
		if r.headroom > 0 { // for a part of that time the frame was on its way, at the rate of those before
			busy := uint64(o.received-before) * uint64(took-idle) / uint64(r.headroom)
			idle -= micros(min(uint64(idle), busy))
		}
	}
	r.state = notTiming
	exact := before == r.mark && (r.mark != InitialWindow || idle > took/2)
	if exact && took >= shortRTT && r.pause > idle+took/16 {
		r.sentAt = now + 2*took.duration() // until then there will be another pause like this
	} else {
		r.pause = 0
	}
	return sample{took, idle, exact}
}

// addExact takes an exact sample into account.
func (r *roundTrip) addExact(s sample) {
	switch {
	case r.minRTT == 0 || s.took < r.minRTT:
		r.minRTT = s.took
		r.slow = 0
	case s.took > r.minRTT+r.minRTT/8 && s.took >= nearRTT && s.idle > s.took/32:
		// The reader waits: this is a longer path, not a queue filled by our own window.
		if r.slow++; r.slow == slowSamples {
			r.minRTT = min(s.took, 2*r.minRTT)
			r.slow = 0
		}
	default:
		r.slow = 0
	}
}

// micros is a length of time in microseconds, at most maxMicros.
type micros uint32

// maxMicros, 17 minutes, stands for any longer time. Twice as much fits in 32 bits.
const maxMicros = 1 << 30

// since returns the time from then to now, or 0 if now is earlier.
func since(then, now time.Duration) micros {
	return micros(min(max(0, (now-then)/time.Microsecond), maxMicros))
}

func (m micros) duration() time.Duration { return time.Duration(m) * time.Microsecond }
