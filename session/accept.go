package session

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/smuxkit/smuxkit/stream"
)

// AcceptStream waits for the peer to open a stream and returns it, in the order in which they were
// opened. Streams that wait for AcceptStream receive data and count against Config.MaxStreams; one that
// its peer has closed meanwhile is still returned, with its data. AcceptStream fails with ctx's error; with
// net.ErrClosed once this side has closed the session or a [Session.Listener]; and when the session has ended for another
// reason, with that, after the streams that had arrived were accepted: with a bare io.EOF if the peer
// closed the transport between two frames. A nil ctx panics and changes nothing.
func (s *Session) AcceptStream(ctx context.Context) (*stream.Stream, error) {
	needContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			if len(s.backlog) > 0 {
				s.accepting.Signal() // in case the last one was for this call
			}
			return nil, s.opError("accept", err)
		}
		if s.stopped || s.phase == phaseClosing || s.phase == phaseEnded && s.err == net.ErrClosed {
			return nil, s.opError("accept", net.ErrClosed)
		}
		if len(s.backlog) > 0 {
			m := s.backlog[0]
			s.backlog[0] = nil
			s.backlog = s.backlog[1:]
			if len(s.backlog) == 0 {
				s.backlog = nil
			}
			return m.core.Stream(), nil
		}
		if s.phase == phaseEnded {
			if isEOF(s.err) {
				return nil, io.EOF
			}
			return nil, s.opError("accept", endError{s.err})
		}
		s.wait(ctx, &s.accepting)
	}
}

// Accept is AcceptStream without a context, as a net.Listener has it.
func (s *Session) Accept() (net.Conn, error) {
	st, err := s.AcceptStream(context.Background())
	if err != nil {
		return nil, err
	}
	return st, nil
}

var (
	_ net.Listener = (*Session)(nil)
	_ io.Closer    = (*Session)(nil)
)

// endError is the end of a session to Accept. It hides that its cause may say that it is
// temporary, as then net/http and others would call Accept again for ever.
type endError struct{ error }

func (e endError) Unwrap() error { return e.error }

func (e endError) Timeout() bool {
	t, ok := e.error.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

func (e endError) Temporary() bool { return false }

// wait waits for c, or for ctx to end. The caller holds s.mu.
func (s *Session) wait(ctx context.Context, c *sync.Cond) {
	if ctx.Done() == nil {
		c.Wait()
		return
	}
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.Broadcast()
	})
	defer stop()
	c.Wait()
}
