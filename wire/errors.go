package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// What can be wrong with a frame by itself. They come wrapped in a
// [*HeaderError], so match them with errors.Is.
var (
	ErrVersion       = errors.New("wire: version is neither 1 nor 2")
	ErrCommand       = errors.New("wire: unknown command")
	ErrControlData   = errors.New("wire: control frame announces data")
	ErrUpdateLength  = errors.New("wire: length of a window update is not 8")
	ErrUpdateVersion = errors.New("wire: window update in version 1")
	ErrNOPStreamID   = errors.New("wire: NOP names a stream")
	ErrZeroStreamID  = errors.New("wire: stream id is 0")
)

// ErrVersionMismatch reports a frame whose version is spoken, but is not that
// of the connection's first frame. It comes wrapped in a [*HeaderError]. It is
// a kind of [ErrVersion]: errors.Is matches both.
var ErrVersionMismatch error = mismatchError{}

// ErrPayloadLength reports a payload that an [Encoder] was given with a header
// that announces another length, as is always so for more than [MaxPayload]
// bytes. It comes wrapped in a [*HeaderError].
var ErrPayloadLength = errors.New("wire: payload is not as long as the header says")

var (
	errReadCount  = errors.New("wire: io.Reader returned an impossible count")
	errWriteCount = errors.New("wire: io.Writer returned an impossible count")
)

// HeaderError is a frame that breaks the protocol: what is wrong with it, and
// the header as it was received (or, from an [Encoder], as it was given).
type HeaderError struct {
	Header Header
	Err    error // one of this package's Err values, or an error that wraps one
}

// Error says what is wrong and spells out the header, field by field and byte
// by byte.
func (e *HeaderError) Error() string {
	var b [HeaderSize]byte
	return fmt.Sprintf("%v: %v [%s]", e.Err, e.Header, hex.EncodeToString(e.Header.Append(b[:0])))
}

// Unwrap returns e.Err.
func (e *HeaderError) Unwrap() error { return e.Err }

type mismatchError struct{}

func (mismatchError) Error() string { return "wire: version is not that of the connection" }
func (mismatchError) Unwrap() error { return ErrVersion }
