// Package wire is the frame codec of the smux protocol, versions 1 and 2.
//
// In each direction a connection is a sequence of frames and nothing else: there is no
// handshake and no trailer. A frame is a [Header] of 8 bytes, followed by a payload of
// header.Length bytes. Only [PSH] and [UPD] frames have a payload.
//
//	VERSION(1) COMMAND(1) LENGTH(2) STREAMID(4) PAYLOAD(LENGTH)
//
// All integers are little-endian.
//
// [Header.Append], [ParseHeader], [WindowUpdate.Append] and [ParseWindowUpdate] work on
// slices. [Decoder] and [Encoder] work on an [io.Reader] and an [io.Writer], for tools that
// need the codec alone. None of them allocates for a valid frame. A [Batch] collects
// frames for one write to a transport.
//
// Parsing is strict. A frame that no conforming peer sends is a [*HeaderError] that wraps
// one of the Err values of this package. Input that ends inside a frame is
// [io.ErrUnexpectedEOF], and input that ends between frames is [io.EOF]. This package
// does not check what depends on more than one frame: which ids are odd, which streams
// are open, how much a window allows. The exception is the version: a Decoder or Encoder
// accepts only the version of its first frame.
package wire
