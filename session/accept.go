package session

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// AcceptStream waits for the peer to open a stream and returns it, in the order in which they were
// opened. Streams that wait for AcceptStream receive data and count against Config.MaxStreams; one that
// its peer has closed meanwhile is still returned, with its data. AcceptStream fails with ctx's error; with
// net.ErrClosed once this side has closed the session or a [Session.Listener]; and when the session has ended for another
// reason, with that, after the streams that had arrived were accepted: with a bare io.EOF if the peer
// closed the transport between two frames. A nil ctx panics and changes nothing.
func (s *Session) AcceptStream(ctx context.Context) (*stream.Stream, error) {
	needContext(ctx)
	var st *sessionStream
	var err error
	ended := s.await(ctx, &s.accepting, func() bool {
		st, err = s.accept()
		return st != nil || err != nil
	})
	switch {
	case ended != nil:
		return nil, s.opError("accept", ended)
	case err != nil:
		return nil, s.opError("accept", err)
	}
	return st.core.Stream(), nil
}

// accept returns the first stream of the backlog, or why there will be none. The caller holds s.mu.
func (s *Session) accept() (*sessionStream, error) {
	if s.stopped || s.phase == phaseClosing || s.phase == phaseEnded && s.err == net.ErrClosed {
		return nil, net.ErrClosed
	}
	if len(s.backlog) > 0 {
		st := s.backlog[0]
		s.backlog[0] = nil
		s.backlog = s.backlog[1:]
		if len(s.backlog) == 0 {
			s.backlog = nil
		}
		return st, nil
	}
	switch {
	case s.phase != phaseEnded:
		return nil, nil
	case isEOF(s.err):
		return nil, io.EOF
	}
	return nil, endError{s.err}
}

// handleSYN opens a stream for the peer, or refuses it.
func (s *Session) handleSYN(h wire.Header) error {
	if s.isLocal(h.StreamID) {
		return &ProtocolError{Header: h, Err: ErrStreamParity}
	}
	s.mu.Lock()
	if _, ok := s.streams[h.StreamID]; ok {
		s.mu.Unlock()
		return &ProtocolError{Header: h, Err: ErrStreamInUse}
	}
	if s.phase != phaseOpen || s.stopped || s.isFull() {
		refuse := s.phase <= phaseShutdown
		s.mu.Unlock()
		if refuse {
			s.stats.streamsRefused.Add(1)
			s.out.refuse(h.StreamID)
		}
		return nil
	}
	st := s.newStream(h.StreamID, false)
	s.peerStreams++
	s.backlog = append(s.backlog, st)
	s.accepting.Signal()
	s.mu.Unlock()
	s.stats.streamsAccepted.Add(1)
	st.core.Start()
	return nil
}

// isFull reports whether a stream that the peer opens exceeds a limit. The caller holds s.mu.
func (s *Session) isFull() bool {
	limit := s.config.AcceptBacklog
	return s.peerStreams >= s.config.MaxStreams || limit > 0 && len(s.backlog) >= limit
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

// await waits until ready returns true, and returns nil; or until ctx ends, and returns its error. ready is called
// with s.mu held, which the caller does not hold, and again whenever c has been woken. ctx is the
// application's: its methods are called without the lock.
func (s *Session) await(ctx context.Context, c *sync.Cond, ready func() bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	ok := ready()
	s.mu.Unlock()
	if ok {
		return nil
	}

	var ended error // guarded by s.mu
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() {
			err := ctx.Err()
			s.mu.Lock()
			defer s.mu.Unlock()
			ended = err
			c.Broadcast() // so that nobody misses what this call alone may have been woken for
		})
		defer stop()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ended == nil && !ready() {
		c.Wait()
	}
	return ended
}
