package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// UpdateSize is the size in bytes of the payload of a [UPD] frame.
const UpdateSize = 8

// A WindowUpdate is the payload of a [UPD] frame. It tells the sender of a stream how much
// it may send: Window bytes beyond the Consumed bytes that the receiver's application has
// read. Any pair of values is well-formed; flow control, not this package, judges the
// values.
type WindowUpdate struct {
	Consumed uint32 // bytes of the stream that were read so far, modulo 2^32
	Window   uint32 // bytes allowed beyond Consumed; absolute, not a difference
}

// Append appends the update's 8 bytes to b and returns the extended slice. It
// allocates only if b has no room for 8 bytes more.
func (u WindowUpdate) Append(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(b, uint64(u.Consumed)|uint64(u.Window)<<32)
}

// ParseWindowUpdate decodes b, which must be the whole payload of a [UPD] frame. If b is
// shorter than [UpdateSize] the error is [io.ErrUnexpectedEOF]; if it is longer the error
// wraps [ErrUpdateLength]. ParseWindowUpdate keeps no reference to b, and allocates only
// for an error.
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
