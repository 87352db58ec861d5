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

// Close sends what was written, closes the transport, and ends the session. Calls on the session and its
// streams fail with [net.ErrClosed], also those that are blocked. Streams that are still open get no FIN: the
// peer reads io.ErrUnexpectedEOF from them. Streams that wait to be accepted are refused:
// see [stream.ErrRefused].
//
// Close waits until the data has arrived, for at most [Config].CloseTimeout. How it learns that depends on the transport:
//
//   - On Linux, over a TCP socket (unless Config.Portable is set), or over a transport whose method NetConn returns
//     one, such as a *tls.Conn: the peer's host has acknowledged the data.
//   - Over a Unix socket on Linux, and a net.Pipe: the transport has taken the data.
//   - Over another transport with a method CloseWrite, unless its network is UDP: Close calls CloseWrite, and waits
//     until the peer has closed the transport as well. It reads and drops what arrives meanwhile: a socket that is
//     closed with unread data is reset, and the peer loses what it has not read. A session of this package closes
//     as soon as its peer has. If the peer does not close, Close takes CloseTimeout, and returns nil.
//   - Over any other transport, such as KCP or WebSocket, whose own Close may throw data away: Close asks the peer's
//     session. A session of this package answers when it has read everything, which takes a round trip.
//
// Other implementations do not answer. Over a *kcp.UDPSession, Close waits until the peer's host has acknowledged the
// data, as long as it acknowledges anything; one that reads the data and closes KCP at once may not, and Close then
// returns [ErrNotFlushed]. Over the rest of these transports, Close waits until the peer has sent FIN for the stream
// that was written or closed last, or eight round trips have passed since data was last sent, but at least 0.2 s. The
// round-trip time comes from the windows of version 2, or from methods GetSRTT and GetRTO of the transport. If it is
// unknown, Close waits until a second has passed since data was last sent, and then returns ErrNotFlushed; if nothing
// was ever received from the peer, it waits for CloseTimeout.
//
// Close returns ErrNotFlushed if some of the data was not sent, or may not have arrived, and otherwise the error of
// closing the transport. It waits for the transport's Close method for the rest of CloseTimeout, or 0.1 s if less is
// left, and then returns os.ErrDeadlineExceeded. A second Close waits for the first one and returns nil.
// [Session.CloseNow] ends a Close that takes too long.
func (s *Session) Close() error { return s.close(net.ErrClosed) }

// close is Close. The reason is that of the session's end.
func (s *Session) close(reason error) error {
	s.mu.Lock()
	if s.phase >= phaseClosing {
		s.mu.Unlock()
		<-s.done
		return nil
	}
	s.phase, s.closeResult = phaseClosing, closePending
	s.closeBy = s.now() + s.closeTimeout
	s.err = reason
	waiting := s.takeBacklog()
	streams := s.listStreams()
	s.wakeAll()
	s.mu.Unlock()

	s.tracer.unbound()
	s.refuseAll(waiting)
	for _, st := range streams {
		st.core.Abort(reason, stream.AbortRead)
	}
	flushed := s.flush(streams)
	s.setCloseResult(flushed)
	err := s.end(reason)
	if !flushed {
		err = ErrNotFlushed
	}
	return s.opError("close", err)
}

// Shutdown closes the session gracefully. From the call on, this side opens no stream: [Session.OpenStream] fails
// with [ErrShutdown]. A peer of this package is told to open none either. Streams that are open go on. Once all
// are closed, Shutdown closes the session, as [Session.Close] does.
//
// Streams that the peer opens before it hears of the shutdown can still be accepted. If the peer is of this
// package, that ends after a round trip. Other peers cannot be told, and their streams can be accepted for
// Config.CloseTimeout: Shutdown takes at least that long. Streams that come later are refused
// ([stream.ErrRefused]). Streams that wait to be accepted are refused, too, when no stream was accepted for
// CloseTimeout.
//
// If ctx ends first, Shutdown returns its error and leaves the session in this state; Close or [Session.CloseNow] ends
// it. If ctx ends while Shutdown closes the session, Shutdown returns ctx's error, and the session ends within
// Config.CloseTimeout. A nil ctx panics and changes nothing.
func (s *Session) Shutdown(ctx context.Context) error {
	needContext(ctx)
	return s.shutdown(ctx, net.ErrClosed)
}

// shutdown is Shutdown. The reason is that of the session's end.
func (s *Session) shutdown(ctx context.Context, reason error) error {
	s.mu.Lock()
	ended := s.phase == phaseEnded
	if s.phase == phaseOpen {
		s.phase = phaseShutdown
		s.wakeAll()
	}
	s.mu.Unlock()
	s.startDrain()
	if !s.awaitDrained(ctx.Done(), func() bool {
		return s.phase == phaseShutdown && (len(s.streams) > 0 || s.drain != drainDone)
	}) {
		return s.opError("shutdown", ctx.Err())
	}
	err := s.closeWithin(ctx, reason)
	if err == nil && !ended && s.wasCutShort() {
		err = s.opError("shutdown", ErrNotFlushed)
	}
	return err
}

// closeWithin is close, but it returns ctx's error when ctx ends. Then the close goes on.
func (s *Session) closeWithin(ctx context.Context, reason error) error {
	if ctx.Done() == nil {
		return s.close(reason)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.close(reason) }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-closed:
		return err
	default:
		return s.opError("shutdown", ctx.Err())
	}
}

// flush sends the data of the streams, and waits until it counts as sent (see Close), for at most CloseTimeout.
// It reports whether all of it was sent.
func (s *Session) flush(streams []*sessionStream) bool {
	timeout := time.NewTimer(s.closeTimeout)
	defer timeout.Stop()
	done := s.done
	for {
		freed, idle := s.out.idle()
		if idle {
			// The data that is left waits for room in the peer's window.
			if streams = unsent(streams); len(streams) == 0 || done == nil {
				break
			}
		}
		select {
		case <-freed:
		case <-done:
			if s.abrupt.Load() {
				return false
			}
			// The peer may have read everything and closed the transport, while the last write is
			// about to return. So look once more whether the writer is idle.
			done = nil
		case <-timeout.C:
			return false
		}
	}
	if s.abrupt.Load() || s.out.incomplete() {
		return false
	}
	return s.transport.awaitDelivery(s.done, timeout.C) || s.ended() && !s.abrupt.Load()
}

// endWriting stops the writer and waits until nobody holds its role. It reports false if done or timeout came
// first.
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

// snapshot returns the streams that are open now.
func (s *Session) snapshot() []*sessionStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listStreams()
}

// listStreams is snapshot for a caller that holds s.mu.
func (s *Session) listStreams() []*sessionStream {
	streams := make([]*sessionStream, 0, len(s.streams))
	for _, st := range s.streams {
		streams = append(streams, st)
	}
	return streams
}

// wakeAll wakes the calls of AcceptStream and OpenStream. The caller holds s.mu.
func (s *Session) wakeAll() {
	s.wakeAccepts()
	s.opening.broadcast()
}

// end ends the session, for the given reason, and returns the error of closing the transport. If the session has
// ended already, it does nothing.
func (s *Session) end(reason error) error {
	s.mu.Lock()
	if s.phase == phaseEnded {
		s.mu.Unlock()
		return nil
	}
	if s.phase < phaseClosing {
		s.closeBy = s.now() + s.closeTimeout
	}
	s.phase = phaseEnded
	if s.err == nil {
		s.err = s.explain(reason)
	}
	err := s.err
	s.out.stop(err)
	cause := err
	if isEOF(err) {
		cause = s.explain(io.ErrUnexpectedEOF) // a stream reports io.EOF after a FIN alone
	}
	// The peer may close the transport in the middle of a frame, and still have read all that was sent to it.
	abrupt := reason != io.EOF && !errors.Is(reason, io.ErrUnexpectedEOF)
	// The streams end under the lock, so that a caller who learns of the end finds no stream that goes on.
	for _, st := range s.streams {
		abrupt = abrupt || st.core.HasUnsent()
		st.core.Abort(cause, stream.AbortBoth)
		st.removed.Store(true)
		s.countClosed(st.core.Outcome())
		s.tracer.pushClosed(st)
	}
	s.tracer.unbound()
	s.abrupt.Store(abrupt)
	clear(s.streams)
	s.wakeAll()
	if s.graceTimer != nil {
		s.graceTimer.Stop()
	}
	if s.drainTimer != nil {
		s.drainTimer.Stop()
	}
	close(s.done)
	place := s.place()
	if place != nil {
		place.handleEnd(s.backlog.n > 0)
	}
	s.mu.Unlock()
	if place != nil {
		place.remove()
	}

	s.keepalive.stop()
	s.out.watch.stop()
	s.stopIdleWatch()
	s.budget.Close()
	s.sendBudget.Close()
	s.lookLast(reason != net.ErrClosed)
	cerr := s.closeConn()
	s.tracer.sessionEnd(err)
	if errors.Is(cerr, net.ErrClosed) {
		return nil
	}
	return cerr
}

// closeConn closes the transport. It waits for that until closeBy, or for closeGrace if that is longer. CloseNow shortens
// the time.
func (s *Session) closeConn() error {
	closed := make(chan error, 1)
	go func() { closed <- s.conn.Close() }()
	s.mu.Lock()
	timeout := time.NewTimer(max(s.closeBy-s.now(), closeGrace))
	s.graceTimer = timeout
	s.mu.Unlock()
	defer timeout.Stop()
	select {
	case err := <-closed:
		return err
	case <-timeout.C:
		return fmt.Errorf("session: closing the transport: %w", os.ErrDeadlineExceeded)
	}
}

// writeFailed begins the end of the session after a failed write. Writes fail with err at once. Reading goes on, so
// that streams get what the peer had sent before; graceExpired then ends the session. It is called once at most.
func (s *Session) writeFailed(err error) {
	s.mu.Lock()
	if s.phase == phaseEnded {
		s.mu.Unlock()
		return
	}
	err = s.explain(err)
	s.writeErr, s.writeErrAt = err, s.now()
	streams := s.listStreams()
	s.wakeAll()
	s.graceTimer = time.AfterFunc(writeGrace, s.graceExpired)
	s.mu.Unlock()
	for _, st := range streams {
		st.core.Abort(err, stream.AbortWrite)
	}
	s.transport.interrupt()
}

// graceExpired ends the session when nothing has been received for writeGrace after writing failed. While reading
// is paused, there may be more to receive: then the session ends CloseTimeout after it last received something.
//
// It reads writeErr and writeErrAt without the lock: writeFailed, which alone sets them, did so before it started
// this timer.
func (s *Session) graceExpired() {
	progress := max(s.writeErrAt, s.clock.lastReceived())
	if s.clock.quiet() >= writeGrace || s.now()-progress >= s.closeTimeout {
		s.end(s.writeErr)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase < phaseEnded {
		s.graceTimer.Reset(writeGrace)
	}
}
