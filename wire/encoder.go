package wire

import (
	"fmt"
	"io"
	"slices"
)

// Encoder writes the frames of one direction of a connection, each with exactly
// one Write.
//
// It refuses to send what a [Decoder] would refuse to accept; then nothing is
// written and it can be used on. An error of the writer is final if the writer
// took any of the frame: the peer would take whatever follows for the rest of
// it, so from then on every call returns the same error.
//
// An Encoder must not be used by several goroutines at once.
type Encoder struct {
	w       io.Writer
	version Version
	err     error  // the writer's, once a frame was begun and failed
	buf     []byte // one frame, as long as the longest so far
}

// NewEncoder returns an Encoder that writes to w. It writes nothing yet.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: w} }

// Reset makes e as new, writing to w.
func (e *Encoder) Reset(w io.Writer) { *e = Encoder{w: w, buf: e.buf} }

// Version returns the version of the connection, and 0 before the first frame
// of which anything was written.
func (e *Encoder) Version() Version { return e.version }

// Encode writes a frame of h and payload, whose length must be h.Length. It
// blocks as the writer does. The payload is copied before it is written and is
// the caller's again when Encode returns. Encode does not allocate unless this
// frame is the longest so far.
//
// A [*HeaderError] around [ErrPayloadLength], [ErrVersionMismatch] or what
// [Header.Validate] finds means that nothing was written. Any other error is
// the writer's, or [io.ErrShortWrite]. After that the same frame may be encoded
// again, for example with a later deadline; if anything of it was written, that
// fails with the same error.
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
