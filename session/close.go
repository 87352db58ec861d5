package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/smuxkit/smuxkit/stream"
)

// Close closes the session: no call on it or its streams succeeds any more, and those that are blocked
// end, with net.ErrClosed. What had been written before is sent first, for at most
// Config.CloseTimeout; then the transport is closed, and the peer finds streams that were not
// closed ended without a FIN.
//
// Sent means, on Linux, that the peer's host has it if the transport is a
// TCP socket or has one below it that it tells of by a method NetConn, as *tls.Conn does. Elsewhere
// it means that the transport took it. Then, if the transport has a method CloseWrite, as TCP, TLS and Unix
// connections have, Close calls that, and reads and drops what arrives until the peer has closed the
// transport, too, or CloseTimeout has passed: a socket that is closed with unread data is reset, and what the
// peer has not read is lost. Sessions of this package close at once when their peer has; with a peer that does
// not, Close takes CloseTimeout.
//
// The error is ErrNotFlushed if not everything was sent, and otherwise that of closing the transport. Close waits
// for the transport's Close no longer than CloseTimeout, or 0.1 s if sending has used that up; the error is
// then os.ErrDeadlineExceeded.
// Closing again waits for the first Close and returns nil.
func (s *Session) Close() error {
	s.mu.Lock()
	if s.phase >= phaseClosing {
		s.mu.Unlock()
		<-s.done
		return nil
	}
	s.phase = phaseClosing
	s.closeBy = time.Now().Add(s.config.CloseTimeout)
	close(s.closing)
	s.err = net.ErrClosed
	s.backlog = nil
	streams := s.list()
	s.wakeAll()
	s.mu.Unlock()

	for _, st := range streams {
		st.core.Abort(net.ErrClosed, stream.AbortRead)
	}
	flushed := s.flush(streams)
	err := s.end(net.ErrClosed)
	if !flushed {
		err = ErrNotFlushed
	}
	return s.opError("close", err)
}

// Shutdown closes the session gracefully: no more streams can be opened, by either side; those that are
// open go on, and when all of them are closed, the session is. If ctx ends before, Shutdown returns
// its error and leaves the session so; Close ends it. A nil ctx panics and changes nothing.
func (s *Session) Shutdown(ctx context.Context) error {
	needContext(ctx)
	s.mu.Lock()
	if s.phase == phaseOpen {
		s.phase = phaseShutdown
		s.wakeAll()
	}
	for len(s.streams) > 0 && s.phase == phaseShutdown {
		if s.drained == nil {
			s.drained = make(chan struct{})
		}
		drained := s.drained
		s.mu.Unlock()
		select {
		case <-drained:
		case <-s.done:
		case <-ctx.Done():
			return s.opError("shutdown", ctx.Err())
		}
		s.mu.Lock()
	}
	s.mu.Unlock()
	return s.Close()
}

// flush waits until the streams' data was handed to the transport, and a socket's peer has
// acknowledged it, for at most CloseTimeout, and reports whether that was done.
func (s *Session) flush(streams []*sessionStream) bool {
	timeout := time.NewTimer(s.config.CloseTimeout)
	defer timeout.Stop()
	done := s.done
	for {
		freed, idle := s.out.idle()
		if idle {
			// What is left waits for the peer's window.
			if streams = unsent(streams); len(streams) == 0 || done == nil {
				break
			}
		}
		select {
		case <-freed:
		case <-done:
			// A peer may close the transport as soon as it has read everything, which a
			// write that is just about to return does not know.
			done = nil
		case <-timeout.C:
			return false
		}
	}
	if s.abrupt.Load() || s.out.incomplete() {
		return false
	}
	return s.transport.settle(s.done, timeout.C) || s.ended() && !s.abrupt.Load()
}

// endWriting has nothing more sent, and waits until nobody sends. It reports false if done or timeout
// came first.
func (s *Session) endWriting(done <-chan struct{}, timeout <-chan time.Time) bool {
	s.keepalive.stop()
	s.out.stop(net.ErrClosed)
	for {
		freed, idle := s.out.idle()
		if idle {
			return true
		}
		select {
		case <-freed:
		case <-done:
			return false
		case <-timeout:
			return false
		}
	}
}

// unsent returns those of the streams that have something to send.
func unsent(streams []*sessionStream) []*sessionStream {
	var rest []*sessionStream
	for _, st := range streams {
		if st.core.HasUnsent() {
			rest = append(rest, st)
		}
	}
	return rest
}

// snapshot returns the streams.
func (s *Session) snapshot() []*sessionStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list()
}

// list returns the streams. The caller holds s.mu.
func (s *Session) list() []*sessionStream {
	streams := make([]*sessionStream, 0, len(s.streams))
	for _, st := range s.streams {
		streams = append(streams, st)
	}
	return streams
}

// wakeAll wakes all who wait for the session. The caller holds s.mu.
func (s *Session) wakeAll() {
	s.accepting.Broadcast()
	s.opening.Broadcast()
}

// end ends the session for a reason, unless it has ended, and returns the error of closing
// the transport.
func (s *Session) end(reason error) error {
	s.mu.Lock()
	if s.phase == phaseEnded {
		s.mu.Unlock()
		return nil
	}
	if s.phase < phaseClosing {
		close(s.closing)
		s.closeBy = time.Now().Add(s.config.CloseTimeout)
	}
	s.phase = phaseEnded
	if s.err == nil {
		s.err = s.explain(reason)
	}
	err := s.err
	s.out.stop(err)
	cause := err
	if isEOF(err) {
		cause = s.explain(io.ErrUnexpectedEOF) // to a stream, io.EOF is FIN and nothing else
	}
	// A peer that closes the transport may be in the middle of a frame.
	abrupt := reason != io.EOF && !errors.Is(reason, io.ErrUnexpectedEOF)
	// With the lock held, so that whoever hears of the end finds it everywhere.
	for _, st := range s.streams {
		abrupt = abrupt || st.core.HasUnsent()
		st.core.Abort(cause, stream.AbortBoth)
	}
	s.abrupt.Store(abrupt)
	clear(s.streams)
	s.wakeAll()
	if s.graceTimer != nil {
		s.graceTimer.Stop()
	}
	close(s.done)
	s.mu.Unlock()

	s.keepalive.stop()
	s.out.watch.stop()
	s.budget.Leave()
	s.sendBudget.Leave()
	cerr := s.closeConn()
	s.log("session ends", "reason", err)
	if errors.Is(cerr, net.ErrClosed) {
		return nil
	}
	return cerr
}

// closeConn closes the transport, and waits for that until Close is to return, but at least for a moment.
func (s *Session) closeConn() error {
	closed := make(chan error, 1)
	go func() { closed <- s.conn.Close() }()
	timeout := time.NewTimer(max(time.Until(s.closeBy), closeGrace))
	defer timeout.Stop()
	select {
	case err := <-closed:
		return err
	case <-timeout.C:
		return fmt.Errorf("closing the transport: %w", os.ErrDeadlineExceeded)
	}
}

// writeFailed ends the session after a failed write, for reason err: the streams' writes at once, and
// the rest when what the peer had sent has been read.
func (s *Session) writeFailed(err error) {
	s.mu.Lock()
	if s.phase == phaseEnded {
		s.mu.Unlock()
		return
	}
	err = s.explain(err)
	s.writeErr, s.writeErrAt = err, s.now()
	streams := s.list()
	s.wakeAll()
	s.graceTimer = time.AfterFunc(writeGrace, s.graceExpired)
	s.mu.Unlock()
	for _, st := range streams {
		st.core.Abort(err, stream.AbortWrite)
	}
	s.transport.interrupt()
}

// graceExpired ends the session when nothing was read for writeGrace after writing has failed. While the
// application has yet to make room there may be more to read: for that it has CloseTimeout, from the
// last time on that something was read.
func (s *Session) graceExpired() {
	progress := max(s.writeErrAt, s.clock.lastReceived())
	if s.clock.quiet() >= writeGrace || s.now()-progress >= s.config.CloseTimeout {
		s.end(s.writeErr)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase < phaseEnded {
		s.graceTimer.Reset(writeGrace)
	}
}
