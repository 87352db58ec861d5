package stream

import (
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// SetSendRate limits the data that is written, without headers, to rate r. The zero Rate is no
// limit, which is the default. Writes that are blocked go on at the new rate.
func (s *Stream) SetSendRate(r flow.Rate) {
	s.mu.Lock()
	defer s.unlock()
	s.rarely().limiter = flow.NewLimiter(r)
	s.send.writers.wake()
}

// SetWeight sets the stream's share of what its session sends, in relation to the other streams
// that have something to send: with twice the weight, twice the bytes. It is 1 by default and at
// most 256.
func (s *Stream) SetWeight(weight int) { s.notifier.SetWeight(weight) }

// limiter returns the stream's rate limit, or nil.
func (s *Stream) limiter() *flow.Limiter {
	if s.rare == nil {
		return nil
	}
	return s.rare.limiter
}

// waitForRate waits until n bytes may be written, and takes them off the rate.
func (s *Stream) waitForRate(n int) error {
	for {
		if err := s.writeErr(); err != nil {
			return err
		}
		l := s.limiter()
		d := l.Delay(n, time.Now())
		if d == 0 {
			l.Reserve(n, time.Now())
			return nil
		}
		timer := time.AfterFunc(d, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.send.writers.wake()
		})
		s.wait(&s.send.writers)
		timer.Stop()
	}
}
