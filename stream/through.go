package stream

import (
	"os"
	"time"
)

// In this file, calls wait until the transport has taken what they send, with Shared.WriteThrough. Then extras.given
// counts the calls of AppendData that have added something which the transport has not taken yet. Until it is 0 the stream
// is not finished, so that the end of the session reaches it and ends its calls.

// HandleTaken says that the transport has taken all that one call of AppendData has added to a batch. With WriteThrough of
// [Shared], the session calls it once for each call of AppendData that has added something, in order. If the transport
// fails, the session calls Abort instead.
func (c *Core) HandleTaken() {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	s.extras.given--
	if s.extras.given == 0 {
		s.send.writers.wake()
	}
}

// isGiven reports whether the transport has not taken yet all that is in batches.
func (s *Stream) isGiven() bool { return s.extras != nil && s.extras.given > 0 }

// awaitTaken waits, with WriteThrough, until the transport has taken the FIN and all data before it, for at most Linger.
func (s *Stream) awaitTaken() error {
	if !s.shared.WriteThrough {
		return nil
	}
	return s.waitTaken()
}

// waitTaken is awaitTaken with WriteThrough. It is apart because each call of a function with a defer in a loop pays for
// that.
func (s *Stream) waitTaken() error {
	s.settle()
	if s.needsFlush() {
		s.flush()
	}
	var timer *time.Timer
	late := false // guarded by s.mu
	for s.send.state.isFINDue() || s.isGiven() {
		switch {
		case !s.session.sends():
			return s.sessionErr()
		case late:
			return os.ErrDeadlineExceeded
		case timer == nil:
			timer = time.AfterFunc(s.shared.linger(), func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				late = true
				s.send.writers.wake()
			})
			defer timer.Stop()
		}
		s.wait(&s.send.writers)
	}
	return nil
}
