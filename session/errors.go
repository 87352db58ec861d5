package session

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/smuxkit/smuxkit/wire"
)

var (
	// ErrIDsExhausted is returned by OpenStream once this side has used up its stream ids. Open streams go on.
	ErrIDsExhausted = errors.New("session: stream ids are used up")
	// ErrShutdown is returned by OpenStream after Shutdown was called.
	ErrShutdown = errors.New("session: shutting down")
	// ErrPeerShutdown is returned by OpenStream after the peer has said that it takes no more streams, see
	// [Session.Draining]. Open streams go on.
	ErrPeerShutdown = errors.New("session: the peer is shutting down")
	// ErrNotFlushed is returned by Close if some of the data that had been written was not sent or may not have
	// arrived, and by Close and Shutdown if CloseNow has ended them.
	ErrNotFlushed = errors.New("session: closed before all data is known to have arrived")
	// ErrStreamParity is the Err of a [ProtocolError]: a SYN has an id that is this side's to open.
	ErrStreamParity = errors.New("session: SYN with a stream id of the receiver's parity")
	// ErrStreamInUse is the Err of a [ProtocolError]: a SYN has the id of an open stream.
	ErrStreamInUse = errors.New("session: SYN with a stream id in use")
)

// The reasons for which a session ends after a time has passed. Each is a net.Error with Timeout() true. None
// matches os.ErrDeadlineExceeded: a caller that sets a new deadline and tries again would get it for ever.
var (
	// ErrKeepAlive says that the keep-alive policy has given up the peer.
	ErrKeepAlive error = timeoutError("session: keep-alive timeout: nothing was received from the peer")
	// ErrIdleTimeout says that no stream was open for Config.IdleTimeout.
	ErrIdleTimeout error = timeoutError("session: idle timeout: no stream was open")
	// ErrWriteTimeout says that the transport has taken no byte for Config.WriteTimeout.
	ErrWriteTimeout error = timeoutError("session: write timeout: the transport takes no data")
	// ErrLingerTimeout says that the session has thrown away data of closed streams, because the transport had
	// taken no byte for Config.LingerTimeout. The session ends when the transport takes data again.
	ErrLingerTimeout error = timeoutError("session: linger timeout: data of closed streams was thrown away while the transport took none")
	// ErrAnswerTimeout says that the peer opens streams and does not read the refusals: 1,024 of them have
	// waited while the transport took no byte for 30 s.
	ErrAnswerTimeout error = timeoutError("session: answer timeout: the peer opens streams and takes no refusals")
)

// A ProtocolError is the reason for a session's end if the peer broke the protocol.
type ProtocolError struct {
	// Header is the header of the frame that is wrong.
	Header wire.Header
	// Err says what is wrong. It is or wraps an error of package wire or flow, or it is [ErrStreamParity] or
	// [ErrStreamInUse].
	Err error
}

// Error returns the header of the frame, and what is wrong with it.
func (e *ProtocolError) Error() string {
	const prefix = "session: "
	cause := strings.TrimPrefix(e.Err.Error(), prefix)
	var h *wire.HeaderError
	if errors.As(e.Err, &h) { // its text has the header
		return prefix + "peer broke the protocol: " + cause
	}
	return fmt.Sprintf("%speer broke the protocol: %v: %v", prefix, e.Header, cause)
}

// Unwrap returns e.Err.
func (e *ProtocolError) Unwrap() error { return e.Err }

// A timeoutError is the reason for a session's end after a time has passed. It is a net.Error, as
// syscall.ETIMEDOUT is.
type timeoutError string

func (e timeoutError) Error() string { return string(e) }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return false }

// versionError adds the version of the frame and that of the session to err, if err is about versions and the
// session's is known.
func versionError(err error, got, have wire.Version) error {
	if have == 0 || !errors.Is(err, wire.ErrVersion) {
		return err
	}
	return fmt.Errorf("%w: the frame has version %d, this session has version %d", err, got, have)
}

// A silenceError wraps the reason for a session's end if this side has opened streams and the peer never sent a
// frame. Some peers do that if they are set to another version.
type silenceError struct {
	endError
	version wire.Version // this side's
}

func (e silenceError) Error() string {
	return fmt.Sprintf("%v: no frame was ever received: does the peer speak version %d?", e.error, e.version)
}

// explain returns err, the reason for which the session or its writing ends. It wraps err in a silenceError if the
// peer never sent a frame, and err does not say why by itself.
func (s *Session) explain(err error) error {
	if s.stats.framesReceived.Load() > 0 || s.stats.streamsOpened.Load() == 0 {
		return err
	}
	if err == net.ErrClosed || err == errScheduler || err == errGone {
		return err
	}
	var explained silenceError
	var protocol *ProtocolError
	if errors.As(err, &explained) || errors.As(err, &protocol) {
		return err
	}
	return silenceError{endError{err}, s.version()}
}

// isEOF reports whether err, the reason for a session's end, says that the peer closed the transport between two
// frames.
func isEOF(err error) bool {
	if e, ok := err.(silenceError); ok {
		err = e.error
	}
	return err == io.EOF
}

// opError returns err, with which op failed, in a *net.OpError, as package net does. io.EOF stays bare.
func (s *Session) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "smux", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}
