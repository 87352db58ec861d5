package session

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// AcceptStream returns the next stream that the peer has opened, in the order in which the peer opened them. It
// blocks until there is one, ctx ends, or the session does.
//
// A stream that waits for AcceptStream receives data and counts against [Config].MaxStreams. If the peer closes it
// meanwhile, AcceptStream still returns it, with its data.
//
// AcceptStream fails with ctx's error; with [net.ErrClosed] after this side has closed the session or a
// [Session.Listener]; or with the reason for the session's end, once the waiting streams have been accepted. If the
// peer closed the transport between two frames, that reason is a bare io.EOF. A nil ctx panics and changes nothing.
func (s *Session) AcceptStream(ctx context.Context) (*stream.Stream, error) {
	needContext(ctx)
	var st *sessionStream
	var err error
	ctxErr := s.await(ctx, &s.accepting, func() bool {
		st, err = s.accept()
		return st != nil || err != nil
	})
	if s.tracer != nil {
		s.tell(st, false)
	}
	switch {
	case ctxErr != nil:
		return nil, s.opError("accept", ctxErr)
	case err != nil:
		return nil, s.opError("accept", err)
	}
	return st.core.Stream(), nil
}

// accept returns the first stream of the backlog, or why there will be none, or neither if the caller has to wait.
// The caller holds s.mu.
func (s *Session) accept() (*sessionStream, error) {
	if s.phase == phaseClosing || s.phase == phaseEnded && s.err == net.ErrClosed {
		return nil, s.closedErr()
	}
	if st := s.backlog.pop(); st != nil {
		s.acceptedOne = true
		s.tracer.pushAccepted(st)
		if s.backlog.n == 0 && s.acceptStopped && s.drain == drainDone {
			s.wakeAccepts() // it was the last one
		}
		return st, nil
	}
	switch {
	case s.acceptStopped && (s.drain == drainDone || s.phase == phaseEnded):
		return nil, net.ErrClosed
	case s.phase != phaseEnded:
		return nil, nil
	case isEOF(s.err):
		return nil, io.EOF
	}
	return nil, endError{s.err}
}

// handleSYN adds the stream that the peer opens to the backlog, or refuses it. Once the session is closing, it does
// neither. It returns the stream that it has added.
func (s *Session) handleSYN(h wire.Header) (*sessionStream, error) {
	if s.isLocal(h.StreamID) {
		return nil, &ProtocolError{Header: h, Err: ErrStreamParity}
	}
	s.mu.Lock()
	if _, ok := s.streams[h.StreamID]; ok {
		s.mu.Unlock()
		return nil, &ProtocolError{Header: h, Err: ErrStreamInUse}
	}
	if s.phase > phaseShutdown || s.drain == drainDone || s.isFull() {
		refuse := s.phase <= phaseShutdown
		cause := RefusedAtLimit
		if s.drain == drainDone {
			cause = RefusedDraining
		}
		if refuse {
			s.ensureRare().refused++
		}
		s.mu.Unlock()
		if refuse {
			s.tracer.streamRefused(h.StreamID, cause)
			s.out.refuse(h.StreamID)
		}
		return nil, nil
	}
	st, start := s.newStream(h.StreamID, false)
	s.peerStreams++
	s.backlog.push(st)
	s.accepting.signal()
	if p := s.place(); p != nil {
		p.handleChange()
	}
	s.stats.streamsAccepted.Add(1)
	s.mu.Unlock()
	st.core.NoteActive(s.clock.lastReceived())
	if start {
		st.core.Start()
	}
	return st, nil
}

// isFull reports whether one more stream of the peer would exceed a limit. The caller holds s.mu.
func (s *Session) isFull() bool {
	return s.peerStreams >= s.maxStreams || s.acceptBacklog > 0 && s.backlog.n >= int(s.acceptBacklog)
}

// Accept is [Session.AcceptStream] without a context. It makes the Session a net.Listener.
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

// An endError is what Accept returns when the session has ended. Its Temporary is always false, whatever that of its
// cause: net/http and others call Accept again, for ever, after an error that is temporary.
type endError struct{ error }

func (e endError) Unwrap() error { return e.error }

func (e endError) Timeout() bool {
	t, ok := e.error.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

func (e endError) Temporary() bool { return false }

// await waits until ready returns true, or ctx ends. It returns nil in the first case and ctx's error in the
// second. It calls ready with s.mu held, first at once and then each time c is woken. The caller does not hold
// s.mu. The application may have implemented ctx, so its methods are called without the lock.
func (s *Session) await(ctx context.Context, c *condition, ready func() bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	ok := ready()
	s.mu.Unlock()
	switch {
	case ok:
		return nil
	case ctx.Done() == nil: // ctx never ends
		s.mu.Lock()
		defer s.mu.Unlock()
		for !ready() {
			c.wait(&s.mu)
		}
		return nil
	}
	return s.awaitContext(ctx, c, ready)
}

// awaitContext is await for a ctx that may end. It is apart because it allocates memory.
func (s *Session) awaitContext(ctx context.Context, c *condition, ready func() bool) error {
	var ended error // guarded by s.mu
	stop := context.AfterFunc(ctx, func() {
		err := ctx.Err()
		s.mu.Lock()
		defer s.mu.Unlock()
		ended = err
		c.broadcast() // all: a Signal for a new stream may have woken this call, which will not take it
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for ended == nil && !ready() {
		c.wait(&s.mu)
	}
	return ended
}

// A condition is a sync.Cond that is allocated when a call first waits. The session's mu guards it.
type condition struct{ cond *sync.Cond }

// wait releases mu, the session's, until the condition is woken.
func (c *condition) wait(mu *sync.Mutex) {
	if c.cond == nil {
		c.cond = sync.NewCond(mu)
	}
	c.cond.Wait()
}

// signal wakes one call that waits, and broadcast all of them.
func (c *condition) signal() {
	if c.cond != nil {
		c.cond.Signal()
	}
}

func (c *condition) broadcast() {
	if c.cond != nil {
		c.cond.Broadcast()
	}
}
