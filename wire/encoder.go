package wire

import (
	"fmt"
	"io"
	"slices"
)

// An Encoder writes the frames of one direction of a connection, each with exactly one
// Write.
//
// An Encoder refuses frames that a [Decoder] would not accept. Then it writes nothing and
// can still be used. An error of the writer is final if the writer took a part of the
// frame, because the peer would take the next bytes for the rest of that frame. From then
// on every call returns the same error.
//
// An Encoder is not safe for concurrent use.
type Encoder struct {
	w       io.Writer
	version Version
	err     error  // of the writer, after a part of a frame was written
	buf     []byte // one frame; its capacity is the longest frame so far
}

// NewEncoder returns an Encoder that writes to w. It writes nothing yet.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: w} }

// Reset makes e equal to a new Encoder that writes to w. It keeps e's buffer.
func (e *Encoder) Reset(w io.Writer) { *e = Encoder{w: w, buf: e.buf} }

// Version returns the version of the connection. It is 0 before anything was written.
func (e *Encoder) Version() Version { return e.version }

// Encode writes a frame of h and payload. The payload's length must be h.Length. Encode
// blocks while the writer blocks. It copies the payload first and keeps no reference to
// it. It allocates only if this frame is the longest so far.
//
// A [*HeaderError] means that nothing was written. It wraps [ErrPayloadLength],
// [ErrVersionMismatch] or an error of [Header.Validate]. Any other error is that of the
// writer, or [io.ErrShortWrite]. Then the caller may encode the same frame again, for
// example with a later deadline; if a part of the frame was written, that fails with the
// same error.
func (e *Encoder) Encode(h Header, payload []byte) error {
	if e.err != nil {
		return e.err
	}
	if err := e.check(h, payload); err != nil {
		return err
	}
	e.buf = slices.Grow(e.buf[:0], HeaderSize+len(payload))
	e.buf = append(h.Append(e.buf), payload...)
	n, err := e.w.Write(e.buf)
	switch {
	case n < 0 || n > len(e.buf):
		err = errWriteCount
	case n < len(e.buf) && err == nil:
		err = io.ErrShortWrite
	}
	if n != 0 {
		e.version = h.Version
		e.err = err
	}
	return err
}

func (e *Encoder) check(h Header, payload []byte) error {
	if e.version != 0 && h.Version != e.version && h.Version.known() {
		return &HeaderError{Header: h, Err: ErrVersionMismatch}
	}
	if err := h.Validate(); err != nil {
		return err
	}
	if len(payload) != int(h.Length) {
		return &HeaderError{Header: h, Err: fmt.Errorf("%w: %d bytes given", ErrPayloadLength, len(payload))}
	}
	return nil
}
