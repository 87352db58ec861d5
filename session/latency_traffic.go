package session

import (
	"sync/atomic"
	"time"
)

// A trafficClassifier tells messages that somebody waits for from bulk data, by what arrives.
//
// Time is cut into epochs. A stream carries bulk data in those in which a large frame has come for it,
// and in the one after that.
type trafficClassifier struct {
	epoch   uint64 // counts up from firstEpoch
	began   time.Duration
	streams int // how many streams carry bulk data in this epoch
	before  int // how many did in the epoch before

	lastBulk    time.Duration // when the last large frame came
	steadySince time.Duration // large frames have come without a long gap since then
}

// streamTraffic is what is known of one stream's traffic.
type streamTraffic struct {
	// epoch is the last one in which a large frame came, or noData, or noBulk. It belongs to the reader.
	epoch uint64
	// sent says that data has been sent since the last message came.
	sent atomic.Bool
}

const (
	epochLength = 10 * time.Millisecond
	// A frame of minBulkFrame or more belongs to bulk data. A frame of at most maxMessage is taken for a whole
	// message if it is the first of its stream, or comes for a Read that waits for an answer.
	minBulkFrame = 4 << 10
	maxMessage   = 1 << 10
	// messageCounts is for how long a message counts.
	messageCounts = 100 * time.Millisecond
	// While windows are capped, those of all bulk streams together are about sumOfWindows: a message waits behind
	// about that many bytes. But no window is capped below minCappedWindow, because the rate falls off there.
	sumOfWindows    = 192 << 10
	minCappedWindow = 24 << 10
	// A gap in bulk data of longGap says that processors are busy with something else: then a small
	// window is used up long before its goroutines run again. So windows are capped only after steadyFor
	// without such a gap.
	longGap   = 2 * time.Millisecond
	steadyFor = 2 * epochLength
)

// What a stream's epoch is before a large frame comes, and firstEpoch, for which both are long past.
const (
	noData     = 0
	noBulk     = 1 // data has come
	firstEpoch = 4
)

func newTrafficClassifier() trafficClassifier { return trafficClassifier{epoch: firstEpoch} }

// advance begins a new epoch if it is time.
func (c *trafficClassifier) advance(now time.Duration) {
	switch since := now - c.began; {
	case since < epochLength:
		return
	case since < 2*epochLength:
		c.epoch, c.before = c.epoch+1, c.streams
	default:
		c.epoch, c.before = c.epoch+2, 0
	}
	c.began, c.streams = now, 0
}

// addBulk notes a large frame. It reports whether it is the first one in an epoch.
func (c *trafficClassifier) addBulk(st *streamTraffic, now time.Duration) (first bool) {
	c.advance(now)
	if now-c.lastBulk > longGap {
		c.steadySince = now
	}
	c.lastBulk = now
	if st.epoch == c.epoch {
		return false
	}
	st.epoch = c.epoch
	c.streams++
	return c.streams == 1
}

// isBulk reports whether the stream carries bulk data.
func (c *trafficClassifier) isBulk(st *streamTraffic) bool { return c.epoch-st.epoch <= 1 }

// bulkStreams returns how many streams carry bulk data.
func (c *trafficClassifier) bulkStreams() int { return max(c.streams, c.before) }

// noteData reports whether no data has come before, and notes that some has now.
func (st *streamTraffic) noteData() (first bool) {
	if st.epoch != noData {
		return false
	}
	st.epoch = noBulk
	return true
}

func (st *streamTraffic) noteSent() {
	if !st.sent.Load() {
		st.sent.Store(true)
	}
}

// takeSent reports whether data has been sent since it was last called.
func (st *streamTraffic) takeSent() bool { return st.sent.Load() && st.sent.Swap(false) }

// noteBulk deals with a large frame.
func (l *latency) noteBulk(st *streamTraffic) {
	now := l.clock.lastReceived()
	if l.traffic.addBulk(st, now) {
		l.giveWay(now + 2*epochLength)
	}
	if l.traffic.steadySince == now && l.windows.WindowCap(now) > 0 {
		l.windows.setCap(0, 0)
	}
}

// noteMessage deals with a message.
func (l *latency) noteMessage(st *streamTraffic) {
	now := l.clock.lastReceived()
	l.traffic.advance(now)
	if l.traffic.isBulk(st) {
		return // the short end of it
	}
	l.giveWay(now + messageCounts)
	if n := l.traffic.bulkStreams(); n > 0 && l.oneHost && now-l.traffic.steadySince >= steadyFor {
		l.windows.setCap(max(sumOfWindows/n, minCappedWindow), now+messageCounts)
	}
}
