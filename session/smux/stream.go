package smux

import (
	"io"
	"net"
	"sync/atomic"
	"time"

	smuxkit "github.com/smuxkit/smuxkit/stream"
)

// A Stream is one stream of a session, and a net.Conn. All methods may be called concurrently. OpenStream and AcceptStream
// of a [Session] return a Stream.
type Stream struct{ *stream }

// A stream is what the values of a Stream share.
type stream struct {
	st              *smuxkit.Stream
	sess            *Session
	closed, noWrite atomic.Bool // Close, CloseWrite was called
}

var (
	_ net.Conn    = (*Stream)(nil)
	_ net.Conn    = Stream{}
	_ io.WriterTo = (*Stream)(nil)
)

// newStream returns a Stream. It allocates both parts together.
func newStream(s *Session, st *smuxkit.Stream) *Stream {
	both := &struct {
		stream stream
		outer  Stream
	}{stream: stream{st: st, sess: s}}
	both.outer.stream = &both.stream
	return &both.outer
}

// Unwrap returns the stream of smuxkit on which s runs. The original has no such method.
func (s *stream) Unwrap() *smuxkit.Stream { return s.st }

// ID returns the stream's id.
func (s *stream) ID() uint32 { return s.st.ID() }

// String returns the id and the addresses of the stream.
func (s *stream) String() string { return s.st.String() }

// Read reads data of the stream into b. It blocks until data is available. It returns io.EOF after the peer's FIN or the
// end of the transport, once all data was read, io.ErrClosedPipe after Close, and [ErrTimeout] at its deadline. A Read of
// zero bytes returns 0 and nil.
func (s *stream) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err = s.st.Read(b)
	if err != nil {
		err = s.sess.cause(err)
	}
	return n, err
}

// WriteTo reads from the stream and writes to w until the end, for which it returns nil, or an error of either. w must not
// keep or change the data that it gets.
func (s *stream) WriteTo(w io.Writer) (n int64, err error) {
	n, err = s.st.WriteTo(w)
	if op, ok := err.(*net.OpError); ok && op.Net == "smux" && op.Op == "read" {
		err = s.sess.cause(err)
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// Write writes b to the stream. It returns when the transport has taken all of b, and blocks until then; in version 2 it
// also waits for the peer's window. It fails with io.ErrClosedPipe after Close or CloseWrite, or when the peer has closed
// both directions; with [ErrTimeout] at its deadline; and with the error of the transport. Then n bytes have been given to
// the session, which sends them if the transport goes on. A Write of zero bytes returns 0 and nil.
func (s *stream) Write(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err = s.st.Write(b)
	if err != nil {
		err = s.sess.writeCause(err)
	}
	return n, err
}

// Close closes both directions. Calls fail with io.ErrClosedPipe, also those that are blocked. Close waits until the
// transport has taken the FIN, for 30 s at most, and then returns [ErrTimeout]. It returns io.ErrClosedPipe if the stream
// has ended before: by Close, because both sides had called CloseWrite, or with the session.
func (s *stream) Close() error {
	if s.closed.Swap(true) {
		return io.ErrClosedPipe
	}
	ended := s.sess.isDead() || s.noWrite.Load() && isClosed(s.st.Ended())
	err := s.sess.writeCause(s.st.Close())
	if ended {
		return io.ErrClosedPipe
	}
	return err
}

// CloseWrite closes the sending direction: the peer reads io.EOF after the data. Reading goes on. CloseWrite waits as Close
// does. It returns io.ErrClosedPipe if CloseWrite or Close was called before, or the session has ended.
func (s *stream) CloseWrite() error {
	if s.closed.Load() || s.noWrite.Swap(true) || s.sess.isDead() {
		return io.ErrClosedPipe
	}
	return s.sess.writeCause(s.st.CloseWrite())
}

// GetDieCh returns a channel that is closed when the stream has ended: by Close, when both sides have ended their
// direction, or with the session. Unread data can still be read, except after Close. It starts no goroutine.
func (s *stream) GetDieCh() <-chan struct{} { return s.st.Ended() }

// SetDeadline sets both deadlines. The zero time means none. It always returns nil.
func (s *stream) SetDeadline(t time.Time) error {
	_ = s.st.SetDeadline(t) // it fails after Close, when deadlines do not matter
	return nil
}

// SetReadDeadline sets the time at which Read and WriteTo fail with [ErrTimeout]. It always returns nil.
func (s *stream) SetReadDeadline(t time.Time) error {
	_ = s.st.SetReadDeadline(t)
	return nil
}

// SetWriteDeadline sets the time at which Write fails with [ErrTimeout]. It always returns nil.
func (s *stream) SetWriteDeadline(t time.Time) error {
	_ = s.st.SetWriteDeadline(t)
	return nil
}

// LocalAddr returns the local address of the transport, or nil if it has none.
func (s *stream) LocalAddr() net.Addr { return s.sess.LocalAddr() }

// RemoteAddr returns the remote address of the transport, or nil if it has none.
func (s *stream) RemoteAddr() net.Addr { return s.sess.RemoteAddr() }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
