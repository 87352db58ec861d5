package stream

import "time"

// bulk notices bulk data: large Writes that follow each other closely. Then the bytes that do
// not fill a frame are held back until the next Write adds to them, for about a millisecond at
// most. So frames and transport writes have their full size, whatever the size of the Writes
// (docs/flow-control.md, "Budgets").
//
// A Read that takes data or waits for some ends it, and so does a small Write: in a conversation the
// peer may be waiting for the very last byte.
type bulk struct {
	run   int       // bytes of the Writes that follow each other, up to minBulkRun
	last  time.Time // when the last of them ended
	holds bool      // bytes that do not fill a frame are held back
	armed bool      // timer runs
	timer *time.Timer
}

const (
	// minBulkWrite is the shortest Write that belongs to bulk data.
	minBulkWrite = 8 << 10
	// maxBulkGap is how far apart the Writes of bulk data are, and for how long bytes are held back.
	maxBulkGap = time.Millisecond
	// minBulkRun is how many bytes must have come before any are held back: a message of less is
	// never late.
	minBulkRun = 256 << 10
)

// noteBulk notes a Write of n bytes that begins now, and reports whether it is one of bulk data. If isRest,
// the Write is the rest of the one before, however short.
func (s *Stream) noteBulk(n int, isRest bool) bool {
	if n < minBulkWrite && (!isRest || s.rare == nil) {
		s.endBulk()
		return false
	}
	b := &s.rarely().bulk
	if !s.send.wroteSinceRead || time.Since(b.last) > maxBulkGap {
		s.endBulk()
	}
	if b.run < minBulkRun {
		b.run += min(n, minBulkRun)
		return false
	}
	return true
}

// endBulk notes that what follows is not bulk data. What is held back may go: the caller queues it.
func (s *Stream) endBulk() {
	if s.rare != nil {
		s.rare.bulk.run, s.rare.bulk.holds = 0, false
	}
}

// holds reports whether bytes that do not fill a frame are held back.
func (s *Stream) holds() bool { return s.rare != nil && s.rare.bulk.holds }

// isHeldBack reports whether what waits to be sent waits for the next Write to fill a frame.
func (s *Stream) isHeldBack() bool {
	return s.holds() && len(s.send.borrowed) == 0 && int(s.send.unsent) < s.maxFrame()
}

// hold has the bytes that do not fill a frame held back.
func (s *Stream) hold() {
	b := &s.rarely().bulk
	b.holds = true
	if b.armed {
		return
	}
	b.armed = true
	if b.timer == nil {
		b.timer = time.AfterFunc(maxBulkGap, s.endHold)
	} else {
		b.timer.Reset(maxBulkGap)
	}
}

// endHold is called by the timer. It lets go what is held back, unless Writes have come since.
func (s *Stream) endHold() {
	s.mu.Lock()
	defer s.unlock()
	b := &s.rare.bulk
	if wait := maxBulkGap - time.Since(b.last); b.holds && !s.send.writing && wait > 0 {
		b.timer.Reset(wait)
		return
	}
	b.armed, b.holds = false, false
	s.queueData(SendSoon)
}
