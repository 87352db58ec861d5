package stream

import (
	"net"
	"time"
)

// SetDeadline sets the deadlines of Read and Write, as SetReadDeadline and
// SetWriteDeadline do.
func (s *Stream) SetDeadline(t time.Time) error { return s.setDeadlines(t, true, true) }

// SetReadDeadline sets the time after which Read and WriteTo fail with an error
// that is os.ErrDeadlineExceeded and a net.Error with Timeout() true. It applies at
// once to calls that are blocked. A time in the past fails them immediately, also
// if there is something to read; the zero time means no deadline. Nothing is lost:
// with a later deadline, Read goes on where it was.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.setDeadlines(t, true, false) }

// SetWriteDeadline does the same for Write and ReadFrom. A Write that fails so
// may have written some of its bytes, and says how many: these will be sent, and no
// others.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, false, true) }

func (s *Stream) setDeadlines(t time.Time, read, write bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.opError("set", net.ErrClosed)
	}
	if read {
		s.setDeadline(&s.readLimit, &s.readers, t)
	}
	if write {
		s.setDeadline(&s.writeLimit, &s.writers, t)
	}
	return nil
}
