package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// The faults of a single frame. A [*HeaderError] wraps them, so match them with
// [errors.Is].
var (
	ErrVersion       = errors.New("wire: version is neither 1 nor 2")
	ErrCommand       = errors.New("wire: unknown command")
	ErrControlData   = errors.New("wire: control frame announces data")
	ErrUpdateLength  = errors.New("wire: length of a window update is not 8")
	ErrUpdateVersion = errors.New("wire: window update in version 1")
	ErrNOPStreamID   = errors.New("wire: NOP names a stream")
	ErrZeroStreamID  = errors.New("wire: stream id is 0")
)

// ErrVersionMismatch means that the version of a frame is supported, but differs from the
// version of the connection's first frame. A [*HeaderError] wraps it. It is a kind of
// [ErrVersion]: [errors.Is] matches both.
var ErrVersionMismatch error = mismatchError{}

// ErrPayloadLength means that [Encoder.Encode] was called with a payload whose length is
// not the header's Length. That is always so for more than [MaxPayload] bytes. A
// [*HeaderError] wraps it.
var ErrPayloadLength = errors.New("wire: payload is not as long as the header says")

var (
	errReadCount  = errors.New("wire: io.Reader returned an impossible count")
	errWriteCount = errors.New("wire: io.Writer returned an impossible count")
)

// A HeaderError describes a frame that breaks the protocol. Header is as received or, in
// an error of an [Encoder], as passed to Encode.
type HeaderError struct {
	Header Header
	Err    error // one of this package's Err values, or an error that wraps one
}

// Error returns the fault, the header's fields and the header's bytes.
func (e *HeaderError) Error() string {
	var b [HeaderSize]byte
	return fmt.Sprintf("%v: %v [%s]", e.Err, e.Header, hex.EncodeToString(e.Header.Append(b[:0])))
}

// Unwrap returns e.Err.
func (e *HeaderError) Unwrap() error { return e.Err }

type mismatchError struct{}

func (mismatchError) Error() string { return "wire: version is not that of the connection" }
func (mismatchError) Unwrap() error { return ErrVersion }
