package session

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/smuxkit/smuxkit/wire"
)

var (
	// ErrIDsExhausted is why a stream cannot be opened once the session has used all
	// the stream ids of its side. The open streams go on.
	ErrIDsExhausted = errors.New("stream ids exhausted")
	// ErrShutdown is why a stream cannot be opened after Shutdown was called.
	ErrShutdown = errors.New("session is shutting down")
	// ErrNotFlushed is why Close fails if it could not send all that had been written.
	ErrNotFlushed = errors.New("session closed before everything written was sent")
	// ErrStreamParity is the violation of a SYN with an id that is this side's to
	// open: a client opens odd ids, a server even ones.
	ErrStreamParity = errors.New("SYN with a stream id of the receiver's parity")
	// ErrStreamInUse is the violation of a SYN with the id of an open stream.
	ErrStreamInUse = errors.New("SYN with a stream id in use")
)

// ErrKeepAlive is why a session ends whose peer was given up by the keep-alive
// policy. It is a net.Error with Timeout() true. It does not match os.ErrDeadlineExceeded: a call that
// is made again after a deadline would get it for ever.
var ErrKeepAlive error = timeoutError("keep-alive timeout: nothing was received from the peer")

// ErrWriteTimeout is why a session ends whose transport has taken no byte for
// Config.WriteTimeout. It is a net.Error as ErrKeepAlive is.
var ErrWriteTimeout error = timeoutError("write timeout: the transport takes no data")

// ErrLingerTimeout is why a session ends that has thrown away data of closed streams, as its transport had
// taken no byte for Config.LingerTimeout. The session ends when the transport takes data again. The
// error is a net.Error as ErrKeepAlive is.
var ErrLingerTimeout error = timeoutError("linger timeout: data of closed streams was thrown away while the transport took none")

// ErrAnswerTimeout is why a session ends whose peer opens streams that are refused, and lets 1,024 refusals wait
// for 30 s while the transport takes no byte. It is a net.Error as ErrKeepAlive is.
var ErrAnswerTimeout error = timeoutError("answer timeout: the peer opens streams and takes no refusals")

// A ProtocolError is why a session ends whose peer broke the protocol.
type ProtocolError struct {
	// Header is that of the offending frame.
	Header wire.Header
	// Err is what is wrong with it: an error of package wire or flow, or one that wraps
	// such an error; ErrStreamParity or ErrStreamInUse.
	Err error
}

func (e *ProtocolError) Error() string {
	var h *wire.HeaderError
	if errors.As(e.Err, &h) {
		return "peer broke the protocol: " + e.Err.Error()
	}
	return fmt.Sprintf("peer broke the protocol: %v: %v", e.Header, e.Err)
}

// Unwrap returns e.Err.
func (e *ProtocolError) Unwrap() error { return e.Err }

// A timeoutError ends a session whose peer or transport has let a time pass. It is a net.Error, as
// syscall.ETIMEDOUT is.
type timeoutError string

func (e timeoutError) Error() string { return string(e) }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return false }

// versionError returns err, which is about the version of a frame, with that version and the
// session's, if that is known.
func versionError(err error, got, have wire.Version) error {
	if have == 0 || !errors.Is(err, wire.ErrVersion) {
		return err
	}
	return fmt.Errorf("%w: the frame has version %d, this session has version %d", err, got, have)
}

// A silenceError is the end of a session whose peer never sent a frame, though this side opened
// streams. Several peers that are set to another version say nothing at all.
type silenceError struct {
	endError
	version wire.Version // this side's
}

func (e silenceError) Error() string {
	return fmt.Sprintf("%v: no frame was ever received: does the peer speak version %d?", e.error, e.version)
}

// explain returns err, with which the session or its way out ends, as a silenceError if it is one.
func (s *Session) explain(err error) error {
	if s.stats.framesReceived.Load() > 0 || s.stats.streamsOpened.Load() == 0 {
		return err
	}
	if err == net.ErrClosed || err == errScheduler {
		return err
	}
	var explained silenceError
	var protocol *ProtocolError
	if errors.As(err, &explained) || errors.As(err, &protocol) {
		return err
	}
	return silenceError{endError{err}, s.version()}
}

// isEOF reports whether err, why a session ended, is that the peer closed the transport between two frames.
func isEOF(err error) bool {
	if e, ok := err.(silenceError); ok {
		err = e.error
	}
	return err == io.EOF
}

// opError wraps err, which ended op, as package net does. io.EOF stays bare.
func (s *Session) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "smux", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}
