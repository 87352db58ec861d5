package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// UpdateSize is the size in bytes of the payload of a [UPD] frame.
const UpdateSize = 8

// WindowUpdate is the payload of a [UPD] frame: it tells the sender of a stream
// how far it may go. The sender may have Window bytes outstanding past the
// Consumed bytes that the receiver's application has read. Any pair of values
// is well-formed; whether it makes sense, the stream's flow control knows.
type WindowUpdate struct {
	Consumed uint32 // all bytes of the stream read so far, modulo 2^32
	Window   uint32 // bytes allowed past Consumed; absolute, not a difference
}

// Append appends the update's 8 bytes to b and returns the extended slice. It
// allocates only if b has no room for 8 bytes more.
func (u WindowUpdate) Append(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(b, uint64(u.Consumed)|uint64(u.Window)<<32)
}

// ParseWindowUpdate decodes b, the whole payload of a [UPD] frame and nothing
// else. It keeps no reference to b and does not allocate unless b is of a wrong
// length: less than [UpdateSize] is [io.ErrUnexpectedEOF], more wraps
// [ErrUpdateLength].
func ParseWindowUpdate(b []byte) (WindowUpdate, error) {
	if len(b) != UpdateSize {
		return WindowUpdate{}, errUpdateSize(len(b))
	}
	v := binary.LittleEndian.Uint64(b)
	return WindowUpdate{Consumed: uint32(v), Window: uint32(v >> 32)}, nil
}

func errUpdateSize(n int) error {
	if n < UpdateSize {
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w but %d", ErrUpdateLength, n)
}
