package stream

import "time"

// bulk detects bulk data: large Writes that follow each other closely. Then bytes that do not fill a frame are held back
// until the next Write adds to them, for about a millisecond at most. So frames and transport writes have their
// full size, whatever the size of the Writes (docs/flow-control.md, "Budgets").
//
// If Writes follow each other at once, a Write leaves its copied data to the next one, until there is a full batch. And
// beside other streams with bulk data, a Write whose data would have to wait is not copied (isCrowded). docs/decisions.md says
// what both bring.
//
// A Read that takes data or waits for some ends bulk data, and so does a small Write, because then the peer may be
// waiting for the last byte.
type bulk struct {
	run   int       // bytes of the Writes that follow each other closely; counted up to minBulkRun
	last  time.Time // when the last of these Writes ended
	holds bool      // bytes that do not fill a frame are held back
	quick bool      // the last Write began within maxQuickGap of the one before
	armed bool      // timer runs
	timer *time.Timer
}

const (
	// minBulkWrite is the shortest Write that belongs to bulk data.
	minBulkWrite = 8 << 10
	// maxBulkGap is the longest time between two Writes of bulk data. Bytes are held back for as long.
	maxBulkGap = time.Millisecond
	// maxQuickGap is the longest time between two Writes that are collected to a full batch: another one is about to come.
	// With longer gaps, the session is told of each Write.
	maxQuickGap = 100 * time.Microsecond
	// minCrowd is from how many streams with bulk data on their frames fill batches together.
	minCrowd = 4
	// minBulkRun is how many bytes Writes must have had before any are held back, so that the end of a shorter
	// message is never late.
	minBulkRun = 256 << 10
)

// noteBulk notes a Write of n bytes that begins now, and reports whether it belongs to bulk data. If isRest, it may be
// the rest of the Write before, and then belongs to the same bulk data even if it is short.
func (s *Stream) noteBulk(n int, isRest bool) bool {
	if n < minBulkWrite && (!isRest || s.extras == nil) {
		s.endBulk()
		return false
	}
	b := &s.ensureExtras().bulk
	gap := time.Since(b.last)
	if !s.send.wroteSinceRead || gap > maxBulkGap {
		s.endBulk()
	}
	b.quick = gap <= maxQuickGap
	if b.run < minBulkRun {
		b.run += min(n, minBulkRun)
		return false
	}
	return s.shared.maxPending() >= s.fullBatch() // a smaller MaxSendBuffer has no room for what is held back
}

// endBulk notes that what follows is not bulk data. Bytes that are held back may be sent: the caller queues them.
func (s *Stream) endBulk() {
	if s.extras != nil {
		s.extras.bulk.run, s.extras.bulk.holds = 0, false
	}
}

// holds reports whether bytes that do not fill a frame are held back.
func (s *Stream) holds() bool { return s.extras != nil && s.extras.bulk.holds }

// isHeldBack reports whether the unsent data waits for the next Write to fill a frame.
func (s *Stream) isHeldBack() bool {
	return s.holds() && len(s.send.borrowed) == 0 && int(s.send.unsent) < s.framePayload()
}

// awaitsBatch reports whether the unsent data is left to the next Write, which is about to come, because it does not fill a
// batch. If the next Write does not come, the timer of hold has the data sent. A peer whose window has no room for a batch
// gets the data at once.
func (s *Stream) awaitsBatch() bool {
	h := &s.send
	return s.holds() && s.extras.bulk.quick && len(h.borrowed) == 0 && int(h.unsent) < s.fullBatch() &&
		(!s.isWindowed() || h.window.Available() >= s.fullBatch())
}

// isCrowded reports whether other streams carry bulk data, too, and data of a Write would have to wait: somebody sends, or
// the peer's window has no room for a batch.
func (s *Stream) isCrowded() bool {
	r := s.shared.rare.Load()
	return r != nil && r.bulk.Load() >= minCrowd && (r.sending.Load() || s.isWindowed() && s.send.window.Available() < s.fullBatch())
}

// hold begins to hold back the bytes that do not fill a frame.
func (s *Stream) hold() {
	b := &s.ensureExtras().bulk
	b.holds = true
	if b.armed {
		return
	}
	b.armed = true
	s.shared.ensureRare().bulk.Add(1)
	if b.timer == nil {
		b.timer = time.AfterFunc(maxBulkGap, s.endHold)
	} else {
		b.timer.Reset(maxBulkGap)
	}
}

// endHold is what the timer calls. It queues the bytes that are held back, unless there were Writes since.
func (s *Stream) endHold() {
	s.mu.Lock()
	defer s.unlock()
	b := &s.extras.bulk
	if wait := maxBulkGap - time.Since(b.last); b.holds && !s.send.writing && wait > 0 {
		b.timer.Reset(wait)
		return
	}
	b.armed, b.holds = false, false
	s.shared.ensureRare().bulk.Add(-1)
	s.queueData(SendSoon)
}
