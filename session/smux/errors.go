package smux

import (
	"context"
	"errors"
	"io"
	"net"
	"os"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/session"
	smuxkit "github.com/smuxkit/smuxkit/stream"
)

// The errors of sessions and streams. Calls return them bare, so that they can be compared with ==. After this side has
// closed the stream or the session, or the keep-alive has, calls return io.ErrClosedPipe. The error of a transport that
// has failed is returned as it is.
var (
	// ErrInvalidProtocol says that the peer broke the protocol, or speaks another version.
	ErrInvalidProtocol = errors.New("invalid protocol")
	// ErrConsumed says that the peer has acknowledged more than was sent.
	ErrConsumed = errors.New("peer consumed more than sent")
	// ErrGoAway is returned by OpenStream when the session opens no more streams: its ids are used up, or the peer, which
	// runs smuxkit, is shutting down. Use another session.
	ErrGoAway = errors.New("stream id overflows, should start a new connection")
	// ErrTimeout says that a deadline has passed.
	ErrTimeout net.Error = &timeoutError{}
	// ErrWouldBlock is here because the original has it. No call returns it.
	ErrWouldBlock = errors.New("operation would block on IO")
)

// timeoutError is a net.Error for which net/http and others try again later.
type timeoutError struct{}

func (*timeoutError) Error() string   { return "timeout" }
func (*timeoutError) Timeout() bool   { return true }
func (*timeoutError) Temporary() bool { return true }

// bare returns err without the *net.OpError in which smuxkit returns it.
func bare(err error) error {
	if op, ok := err.(*net.OpError); ok && op.Net == "smux" {
		return op.Err
	}
	return err
}

// cause returns the original's error for err, an error of s or of a stream of s.
func (s *Session) cause(err error) error {
	err = bare(err)
	var protocol *session.ProtocolError
	switch {
	case err == nil, err == io.EOF:
		return err
	case err == os.ErrDeadlineExceeded, err == context.DeadlineExceeded:
		return ErrTimeout
	case err == net.ErrClosed, errors.Is(err, session.ErrKeepAlive):
		return io.ErrClosedPipe
	case err == session.ErrIDsExhausted, err == session.ErrPeerShutdown, err == session.ErrShutdown:
		return ErrGoAway
	case errors.Is(err, flow.ErrConsumed):
		return ErrConsumed
	case errors.As(err, &protocol):
		return ErrInvalidProtocol
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && errors.Is(s.s.Err(), io.EOF):
		return io.EOF // the transport ended between two frames
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// writeCause is cause for calls that write. They do not return io.EOF, which a caller might take for the end of the data.
func (s *Session) writeCause(err error) error {
	err = s.cause(err)
	if err == io.EOF || err == io.ErrUnexpectedEOF || err == smuxkit.ErrPeerClosed {
		return io.ErrClosedPipe
	}
	return err
}
