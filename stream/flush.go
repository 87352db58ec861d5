package stream

import (
	"context"
	"errors"
)

// A Deliverer is a [Notifier] that can tell what has reached the peer. [Stream.Flush] needs it. It is optional: in
// another session, Flush fails with errors.ErrUnsupported.
type Deliverer interface {
	Notifier
	// AwaitDelivery waits until the frames that the stream had added to batches before the call have reached the peer,
	// and returns nil then. It says in its documentation how it knows. If that cannot happen any more, it returns the
	// reason. If ctx ends first, it returns ctx's error. Several goroutines may call it at the same time.
	AwaitDelivery(ctx context.Context) error
}

// ErrLingerTimeout is returned by [Stream.Flush] if some of the data was thrown away after Close, because it could not
// be sent for [Shared].Linger: the transport took nothing, or the peer made no room while closed streams kept too much
// data for such peers.
var ErrLingerTimeout = errors.New("stream: linger timeout: data was thrown away after Close")

// Flush waits until what was written has reached the peer: the data of all Writes that returned before the call, and the
// FIN, if CloseWrite or Close was called before. If there is none of either, Flush returns nil at once.
//
// Call Flush before the program ends. Close of a stream does not wait, so if a program exits right after it, the data
// may never be sent. Flush works after Close, too. The methods Close and Shutdown of a session do the same for all of
// its streams.
//
// nil means, in a session of package session:
//
//   - Over a TCP socket on Linux (unless Portable of the session's Config is set), and over a transport whose method
//     NetConn returns one, such as a *tls.Conn: the peer's host has acknowledged everything up to the last byte. Data
//     that other streams write later does not matter. A transport with NetConn must hold nothing back, and must not
//     make the data shorter.
//   - Over a Unix socket on Linux: the host, which is the peer's, has taken the data.
//   - Over any other transport, toward a session of package session: the peer's session has read everything.
//   - Over any other transport, toward another implementation: the transport has taken everything. No more is known.
//
// In no case does it mean that the peer's application has read the data.
//
// Flush asks the peer's session to answer, as Ping of the session does. Another implementation does not answer. So in
// the last two cases, while the peer has never answered, Flush waits for its answer for at most CloseTimeout of the
// session's Config, counted from the first question. Later calls do not wait again, except over a transport such as KCP
// or WebSocket, whose own Close may throw data away: there each call waits for eight round trips, at least 0.2 s, or for a
// second if the round-trip time is unknown.
//
// Flush blocks as long as the data waits: for the peer's window, for the transport, or for the proof. It ends when ctx
// ends, with ctx's error. Deadlines of the stream do not end it, and neither do Close, CloseWrite and CloseRead.
//
// If some of the data was thrown away, Flush fails with the reason: [ErrPeerClosed], [ErrRefused], [ErrLingerTimeout] or
// the reason for the end of the session. The same holds if no FIN was sent, because Close came when the session was
// ending. If the session ends before it is known that the data has arrived, Flush fails with the reason for that, and the
// data may have arrived nevertheless. If Close of the session ends it and has delivered everything, Flush returns nil.
//
// Several goroutines may call Flush, also while others write. A nil ctx panics.
func (s *Stream) Flush(ctx context.Context) error {
	if ctx == nil {
		panic("stream: nil context")
	}
	return s.opError("flush", s.deliver(ctx))
}

// deliver is Flush with bare errors.
func (s *Stream) deliver(ctx context.Context) error {
	d, ok := s.notifier.(Deliverer)
	if !ok {
		return errors.ErrUnsupported
	}
	if written, err := s.awaitSent(ctx); err != nil || !written {
		return err
	}
	return d.AwaitDelivery(ctx)
}

// awaitSent waits until everything that was written is in batches. It reports whether anything was.
func (s *Stream) awaitSent(ctx context.Context) (written bool, err error) {
	m, sent, err := s.beginFlush()
	if err != nil || m.kind == flushNothing {
		return false, err
	}
	defer s.endFlush()
	if err = ctx.Err(); err == nil && !sent {
		err = s.awaitMark(ctx, m)
	}
	return true, err
}

// A flushing counts what is sent while Flush waits for that.
type flushing struct {
	calls int   // of Flush, which wait
	sent  int64 // bytes that were added to batches since the first of these calls
}

// A flushMark is what a call of Flush waits for. The zero value is nothing: nothing was written.
type flushMark struct {
	sent int64 // flushing.sent is at least that
	kind flushKind
}

type flushKind uint8

const (
	flushNothing flushKind = iota
	flushData              // the data
	flushFIN               // the data, and the FIN behind it
)

// beginFlush returns what a call of Flush has to wait for, and reports whether all of it is in batches already. Unless it
// fails or there is nothing to wait for, the caller calls endFlush later.
func (s *Stream) beginFlush() (m flushMark, sent bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.send
	switch {
	case h.lost, h.state == sendGivenUp && s.closed != notClosed: // the latter has lost its FIN
		return m, false, s.lostErr()
	case s.finLost:
		return m, false, s.sessionErr()
	case !s.sentData && h.unsent == 0 && h.state == sendOpen:
		return m, true, nil
	}
	f := &s.ensureExtras().flushing
	if f.calls == 0 {
		f.sent = 0
	}
	f.calls++
	m.kind, m.sent = flushData, f.sent+int64(h.unsent)
	if h.state.isFINDue() {
		m.kind = flushFIN
	}
	return m, s.isFlushed(m), nil
}

func (s *Stream) endFlush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extras.flushing.calls--
}

// isFlushed reports whether everything up to m is in batches.
func (s *Stream) isFlushed(m flushMark) bool {
	return s.extras.flushing.sent >= m.sent && (m.kind != flushFIN || !s.send.state.isFINDue())
}

// isFlushing reports whether a call of Flush waits until data is sent.
func (s *Stream) isFlushing() bool { return s.extras != nil && s.extras.flushing.calls > 0 }

// awaitMark waits until everything up to m is in batches. The methods of ctx are called without the lock, as the
// application may have implemented it.
func (s *Stream) awaitMark(ctx context.Context, m flushMark) error {
	var ended error // guarded by s.mu
	stop := context.AfterFunc(ctx, func() {
		err := ctx.Err()
		s.mu.Lock()
		defer s.mu.Unlock()
		ended = err
		s.send.writers.wake()
	})
	defer stop()
	s.mu.Lock()
	defer s.unlock()
	if s.needsFlush() {
		s.flush()
	}
	for {
		switch {
		case s.isFlushed(m):
			return nil
		case s.send.lost:
			return s.lostErr()
		case !s.session.sends():
			return s.sessionErr()
		case ended != nil:
			return ended
		}
		s.wait(&s.send.writers)
	}
}

// noteSent notes that n bytes of data were added to a batch.
func (s *Stream) noteSent(n int) {
	s.sentData = true
	if s.isFlushing() {
		s.extras.flushing.sent += int64(n)
	}
}

// lostErr returns why data that Write had accepted was thrown away.
func (s *Stream) lostErr() error {
	if err := s.sessionErr(); err != nil {
		return err
	}
	if s.send.peer == peerOpen || s.send.peer == peerStillReads {
		return ErrLingerTimeout
	}
	return s.peerClosedErr()
}
