package service

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/smuxkit/smuxkit/stream"
)

// A Code says why a stream was refused. Codes below 64 are those of this package. Applications may use the others, up to
// 65,535, for reasons of their own.
type Code uint16

const (
	// CodeUnknown means that there is no service with that name.
	CodeUnknown Code = 1
	// CodeMalformed means that the header was malformed.
	CodeMalformed Code = 2
	// CodeTimeout means that the header did not arrive in time.
	CodeTimeout Code = 3
	// CodeUnavailable means that the service exists, and took this stream to no application: it is closing, for instance.
	// It is safe to send the request again, on a new stream, perhaps to another peer.
	CodeUnavailable Code = 4
)

// String returns what the code means, or its number.
func (c Code) String() string {
	switch c {
	case CodeUnknown:
		return "unknown service"
	case CodeMalformed:
		return "malformed header"
	case CodeTimeout:
		return "header time-out"
	case CodeUnavailable:
		return "unavailable"
	}
	return fmt.Sprintf("code %d", uint16(c))
}

// A RefusedError is what Read and Write of a stream return if the other side has refused it. If its Code is
// [CodeUnavailable], errors.Is finds stream.ErrRefused in it: it is safe to send the request again.
type RefusedError struct {
	Service string // the name that the stream was opened for
	Code    Code
	Text    string // for people; it comes from the peer
}

// Error returns all of e.
func (e *RefusedError) Error() string {
	s := fmt.Sprintf("service: %q refused by peer: %v", e.Service, e.Code)
	if e.Text != "" {
		s += fmt.Sprintf(": %q", e.Text)
	}
	return s
}

// Is reports whether target is stream.ErrRefused and no application has seen the stream.
func (e *RefusedError) Is(target error) bool {
	return target == stream.ErrRefused && e.Code == CodeUnavailable
}

// MaxText is the greatest length of a refusal's text, in bytes. [Stream.Refuse] cuts a longer one.
const MaxText = 1024

// An answer is what precedes the data of the side that accepts a stream. It is one byte, answerAccepted, or a refusal:
// answerRefused, code (2), length of the text (2), text. Nothing follows a refusal.
const (
	answerAccepted = 0
	answerRefused  = 1
	refusalSize    = 5 // without the text
)

// accepted is the answer that accepts a stream.
var accepted = []byte{answerAccepted}

// encodeRefusal returns the bytes of a refusal.
func encodeRefusal(code Code, text string) []byte {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	if len(text) > MaxText {
		text = strings.ToValidUTF8(text[:MaxText], "") // no half character at the end
	}
	b := append(make([]byte, 0, refusalSize+len(text)), answerRefused)
	b = binary.LittleEndian.AppendUint16(b, uint16(code))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}

// An answerParser collects an answer.
type answerParser struct{ got []byte }

// missing returns how many more bytes the answer has at least. 0 means that it is complete, or cannot be parsed.
func (p *answerParser) missing() int {
	switch n := len(p.got); {
	case n == 0:
		return 1
	case p.got[0] != answerRefused:
		return 0
	case n < refusalSize:
		return refusalSize - n
	default:
		text := int(binary.LittleEndian.Uint16(p.got[3:]))
		if text > MaxText {
			return 0
		}
		return refusalSize + text - n
	}
}

// result returns the refusal, nil if the stream was accepted, or errAnswer. The answer is complete.
func (p *answerParser) result(service string) error {
	switch {
	case p.got[0] == answerAccepted:
		return nil
	case p.got[0] != answerRefused:
		return fmt.Errorf("%w: it begins with %#02x", ErrAnswer, p.got[0])
	case binary.LittleEndian.Uint16(p.got[3:]) > MaxText:
		return fmt.Errorf("%w: its text is too long", ErrAnswer)
	}
	return &RefusedError{
		Service: service,
		Code:    Code(binary.LittleEndian.Uint16(p.got[1:])),
		Text:    strings.ToValidUTF8(string(p.got[refusalSize:]), string(utf8.RuneError)),
	}
}
