package session

import "time"

// A mix notices what goes side by side in a session, from what arrives: short messages that somebody
// waits for, and bulk data of so many streams. It belongs to the reader, and is guarded by its mu.
//
// Time is cut into epochs. A stream carries bulk data in those in which a large frame has come for it,
// and in the one after that.
type mix struct {
	epoch   uint64 // counts up from firstEpoch
	began   time.Duration
	streams int // that carry bulk data: in this epoch,
	before  int // and in the one before

	last time.Duration // when the last large frame came
	calm time.Duration // since then they have come without a long gap
}

const (
	epochLength = 10 * time.Millisecond
	// bulkFrame is from what length a frame is large. shortMessage is up to what length a frame is taken
	// for a whole message, if it is a stream's first one or comes for a Read that waits for an answer.
	bulkFrame    = 4 << 10
	shortMessage = 1 << 10
	// shortCounts is for how long a short message counts.
	shortCounts = 100 * time.Millisecond
	// Within this machine, localWindows is what the windows of all bulk streams may then be in sum: a short
	// message has so many bytes before it. Each may be leastLocal, though, as below that the rate falls off.
	localWindows = 192 << 10
	leastLocal   = 24 << 10
	// A gap in bulk data of longGap says that processors are busy with something else: then a small
	// window is used up long before its goroutines run again. So windows are small only where there
	// was no such gap for calmFor.
	longGap = 2 * time.Millisecond
	calmFor = 2 * epochLength
)

// What a member's epoch is before a large frame comes, and firstEpoch, for which both are long past.
const (
	noData     = 0
	noBulk     = 1 // data has come
	firstEpoch = 4
)

func newMix() mix { return mix{epoch: firstEpoch} }

func (x *mix) advance(now time.Duration) {
	switch since := now - x.began; {
	case since < epochLength:
		return
	case since < 2*epochLength:
		x.epoch, x.before = x.epoch+1, x.streams
	default:
		x.epoch, x.before = x.epoch+2, 0
	}
	x.began, x.streams = now, 0
}

// large is told that a large frame has come for m. It reports whether it is the first in an epoch, and whether
// it came after a long gap.
func (x *mix) large(m *member, now time.Duration) (first, gap bool) {
	x.advance(now)
	if gap = now-x.last > longGap; gap {
		x.calm = now
	}
	x.last = now
	if m.epoch == x.epoch {
		return false, gap
	}
	m.epoch = x.epoch
	x.streams++
	return x.streams == 1, gap
}

// short is told that a short message has come for m. It reports whether that was no part of bulk data, and
// how many streams carry such data beside it.
func (x *mix) short(m *member, now time.Duration) (quiet bool, bulk int) {
	x.advance(now)
	return x.epoch-m.epoch > 1, max(x.streams, x.before)
}

// largeFrame deals with a large frame of m.
func (r *reader) largeFrame(m *member) {
	now := r.receivedAt()
	first, gap := r.mix.large(m, now)
	if first {
		r.s.giveWay(now + 2*epochLength)
	}
	if gap && r.s.budget.WindowCap(now) > 0 {
		r.s.budget.SetWindowCap(0, 0)
	}
}

// firstData reports whether no data has come for m before, and notes that some has now.
func (m *member) firstData() bool {
	if m.epoch != noData {
		return false
	}
	m.epoch = noBulk
	return true
}

// shortFrame deals with a short message of m.
func (r *reader) shortFrame(m *member) {
	now := r.receivedAt()
	quiet, bulk := r.mix.short(m, now)
	if !quiet {
		return
	}
	r.s.giveWay(now + shortCounts)
	if r.s.local && bulk > 0 && now-r.mix.calm >= calmFor {
		r.s.budget.SetWindowCap(max(localWindows/bulk, leastLocal), now+shortCounts)
	}
}

// receivedAt returns when what is being decoded was read.
func (r *reader) receivedAt() time.Duration { return r.s.clock.lastReceived() }

// giveWay has callers that send much give way until then.
func (s *Session) giveWay(until time.Duration) {
	if int64(until) > s.givingWay.Load() {
		s.givingWay.Store(int64(until))
	}
}
