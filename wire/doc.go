// Package wire is the frame codec of the smux protocol, versions 1 and 2.
//
// A connection is a sequence of frames in each direction, and nothing else: no
// handshake, no trailer. A frame is a [Header] of 8 bytes and, for [PSH] and
// [UPD] alone, a payload of as many bytes as the header's Length says:
//
//	VERSION(1) COMMAND(1) LENGTH(2) STREAMID(4) PAYLOAD(LENGTH)
//
// All integers are little-endian. [Header.Append], [ParseHeader] and their
// namesakes of [WindowUpdate] work on slices, for those who own their buffers;
// [Decoder] and [Encoder] work on an io.Reader and an io.Writer, for tools that
// need the codec alone. None of them allocates for a frame that is right.
//
// Parsing is strict. What no conforming peer sends is a [*HeaderError] around
// one of the Err values of this package; input that ends inside a frame is
// [io.ErrUnexpectedEOF], and between frames [io.EOF]. What depends on more than
// one frame (whose ids are odd, which streams are open, how much a window
// allows) is not known here. The one exception is the version, which a Decoder
// and an Encoder hold to that of their first frame.
package wire
