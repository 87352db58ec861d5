package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// HeaderSize is the size in bytes of every frame's header.
	HeaderSize = 8
	// MaxPayload is the most bytes that fit in one frame behind its header.
	// Deployed peers accept less: 32,760 bytes are safe with all of them.
	MaxPayload = 65535
)

// Header is the start of every frame. It is a plain value of 8 bytes and
// comparable; it can hold any 8 bytes received, right or wrong.
type Header struct {
	Version  Version
	Command  Command
	Length   uint16 // bytes of payload behind the header
	StreamID uint32 // 0 for NOP, and for nothing else
}

// Append appends the header's 8 bytes to b and returns the extended slice. It
// does not validate, and allocates only if b has no room for 8 bytes more.
func (h Header) Append(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(b,
		uint64(h.Version)|uint64(h.Command)<<8|uint64(h.Length)<<16|uint64(h.StreamID)<<32)
}

// ParseHeader decodes and validates the header that b starts with; what follows
// it in b is not looked at. It keeps no reference to b and does not allocate
// unless the header is wrong.
//
// The error is [io.EOF] if b is empty, [io.ErrUnexpectedEOF] if b is shorter
// than [HeaderSize] (with either the Header is zero), and otherwise that of
// [Header.Validate], together with the header as it was received.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, errShort(len(b))
	}
	v := binary.LittleEndian.Uint64(b)
	h := Header{Version(v), Command(v >> 8), uint16(v >> 16), uint32(v >> 32)}
	// Nearly every frame is data, which is quickly seen to be right. (Validate is
	// not inlined so that this way through needs none of its stack.)
	if h.Command == PSH && h.StreamID != 0 && h.Version.known() {
		return h, nil
	}
	return h, h.Validate()
}

// errShort is what an input of n bytes means where a header should be.
func errShort(n int) error {
	if n == 0 {
		return io.EOF
	}
	return io.ErrUnexpectedEOF
}

// Validate returns nil if a conforming peer may send h, and else a
// [*HeaderError]. Where several things are wrong it reports the first of:
// [ErrVersion], [ErrCommand], [ErrUpdateVersion], [ErrNOPStreamID] or
// [ErrZeroStreamID], [ErrControlData] or [ErrUpdateLength].
//
//go:noinline
func (h Header) Validate() error {
	if err := h.fault(); err != nil {
		return &HeaderError{Header: h, Err: err}
	}
	return nil
}

// fault returns the sentinel for what is wrong with h, or nil.
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

// String returns the header in one line, as in "v1 PSH stream=3 length=512".
func (h Header) String() string {
	return fmt.Sprintf("%v %v stream=%d length=%d", h.Version, h.Command, h.StreamID, h.Length)
}
