package session

import (
	"runtime"
	"sync/atomic"
	"time"
)

// # What this file is for
//
// This file, latency_cap.go, latency_traffic.go and latency_linux.go contain everything that is tuned to the Go
// scheduler and to connections within one machine. A session is correct without it. The build tag nolatency
// leaves it out, "go run . -latency" in internal/bench measures the difference, and docs/decisions.md has what
// each measure brings on which rows.
//
// # Why a Go program needs it
//
// A Go program runs its goroutines on as many processors as GOMAXPROCS says. Four habits of the scheduler
// add to the time that a message takes:
//
//   - A readable socket wakes nobody by itself. A processor asks the kernel which sockets are readable when
//     it has nothing else to run, and a thread in the background does so after 10 ms. While all
//     processors are busy, data lies in the socket.
//   - A goroutine that is made runnable waits in the queue of the processor that woke it. Another
//     processor may steal it once that one is idle and has found it, which takes microseconds.
//   - A goroutine keeps its processor until it blocks, or for 10 ms. One that writes bulk data to
//     a socket with room never blocks.
//   - The goroutine that was made runnable last is run first, and the one that woke it stays where it is: a
//     reader that finds more data each time runs on while those that it woke wait.
//
// # What is done about it
//
//	what                 when                                  does                                 costs
//	reading inline       after a batch, if nothing was read    the sender reads what has arrived    a system call in vain
//	                     for 15 us and nobody reads
//	yield for a reader   after an inline read that has         runs those that it has woken         -
//	                     woken a Read
//	coalescing           before the first batch of a caller,   lets others add their frames to      a yield in vain
//	                     and of a goroutine where callers do   the batch
//	                     not write, if a short one went out
//	                     within 5 us
//	giving way           after a Write of bulk data, each      runs those that wait in the          a fifth of small writes,
//	                     30 us, next to messages or bulk       processor's queue                    if it were done always
//	                     data that arrives
//	reader's yield       after a Read has got enough, and the  runs that Read while its data is     -
//	                     payload goes on; on a transport that  in the cache
//	                     is no socket after each 64 KiB
//	window cap           while messages go next to bulk data,   bounds what lies in the transport    half of the rate of the
//	                     within one machine                    in front of a message                bulk data
//
// A yield is runtime.Gosched. It is a bet that others need microseconds. If they compute for longer than a
// millisecond, the bet is lost, and is not repeated before four times as long has passed.

// latency decides when a session lets other goroutines run, reads in place of its own reader, and bounds the
// windows of bulk data. A nil latency does none of it.
type latency struct {
	clock     *activityClock
	windows   cappedWindows
	transport transport
	inline    bool   // the transport never waits in a write
	oneHost   bool   // as far as is known, the transport does not leave this machine
	gosched   func() // runtime.Gosched, but in tests

	inlineAfter time.Duration // for how long nothing was read when a sender reads inline

	// Guarded like the reader.
	traffic  trafficClassifier
	woken    *streamTraffic // the stream whose Read was woken since the last beforeRead or beforeWait
	staged   int            // bytes read since afterStaged last let others run
	answered bool           // the frame that arrives is a short one, for a stream that has sent since its last one

	// The writer role's.
	shortBatch bool          // the last batch was a short one
	lastInline time.Duration // when a sender last read inline

	// Times of clock, in nanoseconds.
	givingWay atomic.Int64 // callers that send much give way until then
	gaveWay   atomic.Int64 // when a caller last gave way
	busyUntil atomic.Int64 // no yield before then, because others ran for long
}

const (
	// maxShortBatch is the longest batch after which others are expected to join in, within coalesceFor.
	maxShortBatch = 4 << 10
	coalesceFor   = 5 * time.Microsecond
	// A caller that sends a batch of minBulkBatch or more keeps its processor for giveWayEvery.
	minBulkBatch = 32 << 10
	giveWayEvery = 30 * time.Microsecond
	// maxStaged is how much is read before the Reads that were woken run. It stays in the cache.
	maxStaged = 64 << 10
	// In a yield of less than noYield nobody else has run. One that takes longer than slowYield is
	// not repeated before busyFactor times as long has passed.
	noYield    = time.Microsecond
	slowYield  = time.Millisecond
	busyFactor = 4
)

// inlineAfter is the inlineAfter of new sessions.
var inlineAfter = 15 * time.Microsecond // a variable for tests

// newLatency returns nil if all of it is left out.
func newLatency(clock *activityClock, windows pathWindows, oneHost bool) *latency {
	if !withLatency {
		return nil
	}
	l := &latency{
		clock:       clock,
		oneHost:     oneHost,
		gosched:     runtime.Gosched,
		inlineAfter: inlineAfter,
		traffic:     newTrafficClassifier(),
	}
	l.windows.pathWindows = windows
	return l
}

// use says which transport the session uses.
func (l *latency) use(t transport) {
	if l != nil {
		l.transport, l.inline = t, t.inline()
	}
}

// onFrame is called by the reader when a frame with size bytes of data for a stream begins.
func (l *latency) onFrame(st *streamTraffic, size int) {
	if l == nil {
		return
	}
	first := st.noteData()
	l.answered = false
	switch {
	case size >= minBulkFrame:
		l.noteBulk(st)
	case size <= maxMessage:
		l.answered = st.takeSent()
		if first {
			l.noteMessage(st)
		}
	}
}

// onFilled is called by the reader when the stream's Read, which waited, goes on.
func (l *latency) onFilled(st *streamTraffic) {
	if l == nil {
		return
	}
	l.woken = st
	if l.answered {
		l.answered = false
		l.noteMessage(st)
	}
}

// beforeRead is called by the reader when it is about to read more of the stream's payload. If the stream's Read
// has just been woken, it runs first: on a single core it would otherwise be served last, from a queue that has
// grown out of the cache.
func (l *latency) beforeRead(st *streamTraffic) {
	if l != nil && l.woken == st {
		l.woken = nil
		l.gosched()
	}
}

// afterStaged is called by the reader of a transport that is not inline, when it has handled the n bytes that it read last.
// The Reads that were woken run after each maxStaged bytes, for the same reason.
func (l *latency) afterStaged(n int) {
	if l == nil {
		return
	}
	l.staged += n
	if l.staged >= maxStaged {
		l.staged = 0
		if l.woken != nil {
			l.woken = nil
			l.gosched()
		}
	}
}

// beforeWait is called by the reader when it has nothing to read.
func (l *latency) beforeWait() {
	if l != nil {
		l.woken = nil
	}
}

// hasWoken reports whether a Read goes on since beforeWait or beforeRead.
func (l *latency) hasWoken() bool { return l != nil && l.woken != nil }

// onSent is called by the holder of the writer role when it has added data of the stream to a batch.
func (l *latency) onSent(st *streamTraffic) {
	if l != nil {
		st.noteSent()
	}
}

// beforeBatch is called by a caller of Write that has taken the writer role, and by a goroutine that is about to take it
// because callers do not write. It lets others join in that are about to send something short, too. There are some if
// something short went out just before.
func (l *latency) beforeBatch() {
	if l != nil && l.shortBatch && l.clock.now()-l.clock.lastSent() < coalesceFor {
		l.yield()
	}
}

// afterBatch is called by the holder of the writer role when it has written a batch of n bytes. It reads what has
// arrived, if nobody has done so for a while.
func (l *latency) afterBatch(n int) {
	if l == nil {
		return
	}
	l.shortBatch = n < maxShortBatch
	now := l.clock.lastSent()
	if !l.inline || now-max(l.clock.lastReceived(), l.lastInline) < l.inlineAfter {
		return
	}
	l.lastInline = now
	if l.transport.readInline() {
		l.yield() // on a single core a Read that was woken would otherwise run when all has been sent
	}
}

// afterWrite is called by a caller of Write that has given the writer role up, and wrote batches of up to n bytes.
// Bulk data lets others run now and then, next to messages or bulk data that arrives. A caller that always has more
// to write and never has to wait would keep its processor for 10 ms at a time, and in the scheduler's queue behind
// it may be the goroutine that a message has just come for, or one that would write the other way.
func (l *latency) afterWrite(n int) {
	if l == nil || n < minBulkBatch {
		return
	}
	now, last := int64(l.clock.lastSent()), l.gaveWay.Load()
	if now < l.givingWay.Load() && now-last >= int64(giveWayEvery) && l.gaveWay.CompareAndSwap(last, now) {
		l.yield()
	}
}

// yield lets other goroutines run. If they take long, it does nothing for a while after that.
func (l *latency) yield() {
	start := l.clock.now()
	if int64(start) < l.busyUntil.Load() {
		return
	}
	l.gosched()
	took := l.clock.now() - start
	if took < noYield {
		// Each 61st time the scheduler looks first where it has put this goroutine.
		l.gosched()
		took = l.clock.now() - start
	}
	if took > slowYield {
		l.busyUntil.Store(int64(start + took + busyFactor*took))
	}
}

// giveWay has callers that send much give way until then.
func (l *latency) giveWay(until time.Duration) {
	if int64(until) > l.givingWay.Load() {
		l.givingWay.Store(int64(until))
	}
}
