package stream

import "time"

// bulk notices bulk data: large Writes that follow each other closely. Then the bytes that do
// not fill a frame are held back until the next Write adds to them, for about a millisecond at
// most. So frames and transport writes have their full size, whatever the size of the Writes
// (docs/performance.md).
//
// A Read that takes data, or waits for some, and a small Write end it: in a conversation the peer
// may be waiting for the very last byte.
type bulk struct {
	run   int       // bytes of the Writes that follow each other, up to minRun
	last  time.Time // when the last of them ended
	rest  bool      // the next Write is the rest of one, however short
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

// noteBulk notes a Write of n bytes that begins now, and reports whether it is one of bulk data.
func (s *Stream) noteBulk(n int) bool {
	if n < minBulkWrite && !s.bulk.joined() {
		s.bulk.end()
		return false
	}
	if s.bulk == nil {
		s.bulk = new(bulk)
	}
	b := s.bulk
	if !s.spoke || time.Since(b.last) > maxBulkGap {
		b.end()
	}
	if b.run < minBulkRun {
		b.run += min(n, minBulkRun)
		return false
	}
	return true
}

// joined reports whether the next Write is the rest of a large one.
func (b *bulk) joined() bool { return b != nil && b.rest }

// wrote notes that a Write ends now.
func (b *bulk) wrote() {
	if b != nil {
		b.last = time.Now()
	}
}

// end notes that what follows is not bulk data. What is held back may go: the caller submits it.
func (b *bulk) end() {
	if b != nil {
		b.run, b.holds = 0, false
	}
}

// holding reports whether bytes that do not fill a frame are held back.
func (b *bulk) holding() bool { return b != nil && b.holds }

// hold has the bytes that do not fill a frame held back.
func (s *Stream) hold() {
	b := s.bulk
	b.holds = true
	if b.armed {
		return
	}
	b.armed = true
	if b.timer == nil {
		b.timer = time.AfterFunc(maxBulkGap, s.holdOver)
	} else {
		b.timer.Reset(maxBulkGap)
	}
}

// holdOver is called by the timer. It lets go what is held back, unless Writes have come since.
func (s *Stream) holdOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bulk
	if wait := maxBulkGap - time.Since(b.last); b.holds && !s.writing && wait > 0 {
		b.timer.Reset(wait)
		return
	}
	b.armed, b.holds = false, false
	s.submit(Soon)
}
