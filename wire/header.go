package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// HeaderSize is the size in bytes of every frame's header.
	HeaderSize = 8
	// MaxPayload is the largest payload of a frame in bytes. Deployed peers accept
	// less: 32,760 bytes are safe with all of them.
	MaxPayload = 65535
)

// A Header is the start of every frame. It is a comparable value of 8 bytes, and can hold
// any 8 bytes, valid or not.
type Header struct {
	Version  Version
	Command  Command
	Length   uint16 // bytes of payload after the header
	StreamID uint32 // 0 for NOP, and only for NOP
}

// Append appends the header's 8 bytes to b and returns the extended slice. It does not
// validate h, and allocates only if b has no room for 8 more bytes.
func (h Header) Append(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(b,
		uint64(h.Version)|uint64(h.Command)<<8|uint64(h.Length)<<16|uint64(h.StreamID)<<32)
}

// ParseHeader decodes and validates the header at the start of b. It ignores the bytes
// after the header, keeps no reference to b, and allocates only for an invalid header.
//
// If b is empty, the error is [io.EOF]; if b is shorter than [HeaderSize], it is
// [io.ErrUnexpectedEOF]. The Header is then zero. Any other error is that of
// [Header.Validate], and the Header is as received.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, errShort(len(b))
	}
	v := binary.LittleEndian.Uint64(b)
	h := Header{Version(v), Command(v >> 8), uint16(v >> 16), uint32(v >> 32)}
	// Nearly every frame is data, which is quickly found valid. Validate is not
	// inlined, so this path needs none of its stack.
	if h.Command == PSH && h.StreamID != 0 && h.Version.known() {
		return h, nil
	}
	return h, h.Validate()
}

// errShort returns the error for an input of n bytes, fewer than a header has.
func errShort(n int) error {
	if n == 0 {
		return io.EOF
	}
	return io.ErrUnexpectedEOF
}

// Validate returns nil if a conforming peer may send h, and a [*HeaderError] otherwise. If
// several fields are wrong, it reports the first of [ErrVersion], [ErrCommand],
// [ErrUpdateVersion], [ErrNOPStreamID] or [ErrZeroStreamID], and [ErrControlData] or
// [ErrUpdateLength].
//
//go:noinline
func (h Header) Validate() error {
	if err := h.fault(); err != nil {
		return &HeaderError{Header: h, Err: err}
	}
	return nil
}

// fault returns the first Err value that applies to h, or nil.
func (h Header) fault() error {
	switch {
	case !h.Version.known():
		return ErrVersion
	case h.Command > UPD:
		return ErrCommand
	case h.Command == UPD && h.Version == V1:
		return ErrUpdateVersion
	case h.Command == NOP && h.StreamID != 0:
		return ErrNOPStreamID
	case h.Command != NOP && h.StreamID == 0:
		return ErrZeroStreamID
	case h.Command == UPD && h.Length != UpdateSize:
		return ErrUpdateLength
	case h.Command != UPD && h.Command != PSH && h.Length != 0:
		return ErrControlData
	}
	return nil
}

// String returns the header in one line, like "v1 PSH stream=3 length=512".
func (h Header) String() string {
	return fmt.Sprintf("%v %v stream=%d length=%d", h.Version, h.Command, h.StreamID, h.Length)
}
