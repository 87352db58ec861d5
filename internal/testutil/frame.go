package testutil

import (
	"fmt"

	"github.com/smuxkit/smuxkit/wire"
)

// Frame is a whole frame, for scripts and comparisons. The Data of a received frame without a payload is nil. The
// Header of a sent frame is sent unchanged, even if it does not fit Data.
type Frame struct {
	wire.Header
	Data []byte
}

// SYN returns the frame that opens a stream.
func SYN(v wire.Version, id uint32) Frame { return frame(v, wire.SYN, id, nil) }

// FIN returns the frame that ends a direction of a stream.
func FIN(v wire.Version, id uint32) Frame { return frame(v, wire.FIN, id, nil) }

// PSH returns a frame of data. It panics if data is too long for one frame.
func PSH(v wire.Version, id uint32, data []byte) Frame { return frame(v, wire.PSH, id, data) }

// NOP returns the keep-alive frame.
func NOP(v wire.Version) Frame { return frame(v, wire.NOP, 0, nil) }

// UPD returns the window update of a stream. Only version 2 has it.
func UPD(v wire.Version, id, consumed, window uint32) Frame {
	return frame(v, wire.UPD, id, wire.WindowUpdate{Consumed: consumed, Window: window}.Append(nil))
}

func frame(v wire.Version, c wire.Command, id uint32, data []byte) Frame {
	if len(data) > wire.MaxPayload {
		panic(fmt.Sprintf("testutil: %d bytes do not fit in a frame", len(data)))
	}
	if len(data) == 0 {
		data = nil
	}
	return Frame{Header: wire.Header{Version: v, Command: c, Length: uint16(len(data)), StreamID: id}, Data: data}
}

// Append appends the encoded frame to b.
func (f Frame) Append(b []byte) []byte { return append(f.Header.Append(b), f.Data...) }

// Update decodes a window update. It panics if the frame is none.
func (f Frame) Update() wire.WindowUpdate {
	u, err := wire.ParseWindowUpdate(f.Data)
	if f.Command != wire.UPD || err != nil {
		panic(fmt.Sprintf("testutil: %v is no window update: %v", f, err))
	}
	return u
}

// String returns the header and the first bytes of data in one line.
func (f Frame) String() string {
	const some = 16
	switch {
	case len(f.Data) == 0:
		return f.Header.String()
	case len(f.Data) > some:
		return fmt.Sprintf("%v %q...", f.Header, f.Data[:some])
	}
	return fmt.Sprintf("%v %q", f.Header, f.Data)
}
