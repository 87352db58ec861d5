package session

import "time"

// sinceAcked returns how long ago the other end of the transport last acknowledged something, for
// [keepalive.Activity]. It returns false if that is unknown. It calls methods of the transport, so the caller holds no
// lock.
func (s *Session) sinceAcked() (ago time.Duration, known bool) {
	if c, ok := s.conn.(lastAcker); ok {
		at := c.LastAcked()
		return max(0, time.Since(at)), !at.IsZero()
	}
	return s.askKernel()
}

// A lastAcker is a transport that knows by itself when its other end last acknowledged something.
type lastAcker interface{ LastAcked() time.Time }
