package smux

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/session"
)

// A Session carries many streams over one connection. All methods may be called concurrently. [Client] and [Server] return
// a Session.
type Session struct {
	conn     io.ReadWriteCloser
	s        *session.Session
	closed   atomic.Bool               // Close was called
	deadline atomic.Pointer[time.Time] // of AcceptStream; nil: none
}

// Client starts a session over conn as the side that dialed. A nil config means [DefaultConfig]. If Client succeeds, conn
// belongs to the session.
func Client(conn io.ReadWriteCloser, config *Config) (*Session, error) {
	return start(conn, config, session.Client)
}

// Server does what [Client] does, as the side that accepted.
func Server(conn io.ReadWriteCloser, config *Config) (*Session, error) {
	return start(conn, config, session.Server)
}

func start(conn io.ReadWriteCloser, config *Config, side func(io.ReadWriteCloser, *session.Config) (*session.Session, error)) (*Session, error) {
	if config == nil {
		config = DefaultConfig()
	}
	if err := VerifyConfig(config); err != nil {
		return nil, err
	}
	s, err := side(conn, config.sessionConfig(conn))
	if err != nil {
		return nil, err
	}
	return &Session{conn: conn, s: s}, nil
}

// Unwrap returns the session of smuxkit on which s runs. The original has no such method.
func (s *Session) Unwrap() *session.Session { return s.s }

// OpenStream opens a stream. The protocol has no answer to that, so the stream can be used at once. OpenStream blocks only
// while 1,024 opened streams wait for the transport, for at most 30 s: then it fails with [ErrTimeout]. It also fails with
// io.ErrClosedPipe, [ErrGoAway], [ErrInvalidProtocol], or the error of the transport, which is io.EOF if the peer has
// closed it.
func (s *Session) OpenStream() (*Stream, error) {
	if s.closed.Load() {
		return nil, io.ErrClosedPipe
	}
	limit := limitPool.Get().(*timeLimit)
	st, err := s.s.OpenStream(limit)
	limit.free()
	if err != nil {
		return nil, s.cause(err)
	}
	return newStream(s, st), nil
}

// Open is [Session.OpenStream] for interfaces that have such a method. It returns a *Stream.
func (s *Session) Open() (io.ReadWriteCloser, error) {
	st, err := s.OpenStream()
	if err != nil {
		return nil, err
	}
	return st, nil
}

// AcceptStream returns the next stream that the peer has opened. It blocks until there is one. It fails with [ErrTimeout]
// at the deadline of [Session.SetDeadline], as that was when AcceptStream was called, and when the session ends, with the
// errors of [Session.OpenStream].
func (s *Session) AcceptStream() (*Stream, error) {
	if s.closed.Load() {
		return nil, io.ErrClosedPipe
	}
	ctx := context.Background()
	if at := s.deadline.Load(); at != nil {
		withDeadline, cancel := context.WithDeadline(ctx, *at)
		defer cancel()
		ctx = withDeadline
	}
	st, err := s.s.AcceptStream(ctx)
	if err != nil {
		return nil, s.cause(err)
	}
	return newStream(s, st), nil
}

// Accept is [Session.AcceptStream] for interfaces that have such a method. It returns a *Stream.
func (s *Session) Accept() (io.ReadWriteCloser, error) {
	st, err := s.AcceptStream()
	if err != nil {
		return nil, err
	}
	return st, nil
}

// Close closes the session, its streams and the transport at once. Calls fail with io.ErrClosedPipe, also those that are
// blocked. It returns the error of closing the transport, for which it waits 0.1 s at most. If Close was called before, or
// the keep-alive has closed the session, it returns io.ErrClosedPipe.
//
// Close of the session that [Session.Unwrap] returns waits until all data has arrived.
func (s *Session) Close() error {
	if s.closed.Swap(true) || s.gaveUp() {
		return io.ErrClosedPipe
	}
	return bare(s.s.CloseNow())
}

// gaveUp reports whether the keep-alive has closed the session.
func (s *Session) gaveUp() bool { return errors.Is(s.s.Err(), session.ErrKeepAlive) }

// isDead reports whether this side has closed the session.
func (s *Session) isDead() bool { return s.closed.Load() || s.gaveUp() }

// CloseChan returns a channel that is closed when the session has ended: by Close, by the keep-alive, with its transport,
// or because the peer broke the protocol.
func (s *Session) CloseChan() <-chan struct{} { return s.s.Done() }

// IsClosed reports whether the session has ended. See [Session.CloseChan].
func (s *Session) IsClosed() bool {
	select {
	case <-s.s.Done():
		return true
	default:
		return s.closed.Load()
	}
}

// NumStreams returns the number of open streams, those that wait for AcceptStream included. It is 0 if the session has
// ended.
func (s *Session) NumStreams() int {
	if s.IsClosed() {
		return 0
	}
	return s.s.NumStreams()
}

// SetDeadline sets the deadline of later calls of [Session.AcceptStream] and [Session.Accept]. The zero time means none.
// It always returns nil.
func (s *Session) SetDeadline(t time.Time) error {
	if t.IsZero() {
		s.deadline.Store(nil)
	} else {
		s.deadline.Store(&t)
	}
	return nil
}

// LocalAddr returns the local address of the transport, or nil if it has none.
func (s *Session) LocalAddr() net.Addr {
	if c, ok := s.conn.(interface{ LocalAddr() net.Addr }); ok {
		return c.LocalAddr()
	}
	return nil
}

// RemoteAddr returns the remote address of the transport, or nil if it has none.
func (s *Session) RemoteAddr() net.Addr {
	if c, ok := s.conn.(interface{ RemoteAddr() net.Addr }); ok {
		return c.RemoteAddr()
	}
	return nil
}

// A timeLimit is a context that ends openCloseTimeout after a call has begun to wait. Until then it has no timer.
type timeLimit struct {
	context.Context // context.Background, until Done is called
	cancel          context.CancelFunc
}

var limitPool = sync.Pool{New: func() any { return &timeLimit{Context: context.Background()} }}

func (l *timeLimit) Done() <-chan struct{} {
	if l.cancel == nil {
		l.Context, l.cancel = context.WithTimeout(context.Background(), openCloseTimeout)
	}
	return l.Context.Done()
}

// free ends the timer. l must not be used any more.
func (l *timeLimit) free() {
	if l.cancel == nil {
		limitPool.Put(l)
	} else {
		l.cancel()
	}
}
