package stream

import (
	"time"

	"github.com/smuxkit/smuxkit/flow"
)

// SetSendRate limits the rate of the data that is written, without headers, to r. The zero Rate is no limit, which is the
// default. Writes that are blocked go on at the new rate. What the rate before would allow at once counts for the new
// one, up to its Burst, and what was sent beyond it counts, too.
//
// SetSendRate does not block, and may be called at any time. A BytesPerSecond below 0 is no limit, as 0 is.
func (s *Stream) SetSendRate(r flow.Rate) {
	s.mu.Lock()
	defer s.unlock()
	e := s.ensureExtras()
	e.limiter = e.limiter.Replace(r, time.Now())
	s.send.writers.wake()
}

// SetWeight sets the stream's share of the data that its session sends, relative to other streams that have data to
// send: a stream with twice the weight sends twice the bytes. The default is 1. Values below 1 count as 1, and values
// above 256 as 256. A session with a scheduler of its own may ignore the weight. SetWeight does not block.
func (s *Stream) SetWeight(weight int) { s.notifier.SetWeight(weight) }

// limiter returns the stream's rate limiter, or nil if there is no limit.
func (s *Stream) limiter() *flow.Limiter {
	if s.extras == nil {
		return nil
	}
	return s.extras.limiter
}

// waitForRate waits until the rate allows n bytes, and charges them to the rate.
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
		s.waitToSend(blockedOnRate)
		timer.Stop()
	}
}
