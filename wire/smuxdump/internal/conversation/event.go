package conversation

import (
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// A Kind is the kind of an [Event].
type Kind uint8

const (
	// Begin: a connection was found. It is the first event of the connection.
	Begin Kind = iota + 1
	// Frame: the last byte of a frame has arrived.
	Frame
	// Note: something that is no fault, in Text.
	Note
	// Problem: something that is a fault or is missing, in Text.
	Problem
	// Stalled: a stream was blocked by the transport; see Text. Header.StreamID is the stream.
	Stalled
	// End: the connection is over. It is the last event of the connection.
	End
)

// An Event is something that happened on a connection. It and its Payload are valid until the call of Handle
// returns.
type Event struct {
	Kind Kind
	// Time is zero if the source has no times.
	Time time.Time
	Conn *Conn
	// Dir is the direction, for all events but Begin and End.
	Dir Dir

	// Offset is where the frame begins in the bytes of its direction.
	Offset int64
	Header wire.Header
	// Update is the payload of a UPD.
	Update wire.WindowUpdate
	// Payload is the payload of a PSH, if [Options].Payloads is set. Missing bytes of it are zero.
	Payload []byte
	// Missing is how many bytes of the payload the source did not have.
	Missing int
	// Took is the time from the first byte of the frame to its last one.
	Took time.Duration
	// Stream is the stream of the frame, or nil if none is known.
	Stream *Stream
	// Meaning says what the frame means if its header does not. It may be empty.
	Meaning string
	// Violation is what the frame breaks, or nil. It wraps an error of package wire, or one of this package's.
	Violation error

	// Text is that of a Note, Problem or Stalled.
	Text string
}

// Options say what a [Set] does.
type Options struct {
	// Handle is called for each event, one at a time, in order.
	Handle func(*Event)
	// Payloads says that events have the payloads of frames.
	Payloads bool
	// Keep is how many of the ended streams of a connection [Conn.Streams] returns: those that were blocked for the
	// longest time, and then those that carried the most. 0 keeps none.
	Keep int
	// KeepStream is the id of the streams that are kept, 0 for all.
	KeepStream uint32
}

const (
	// maxStreams is the most streams that a Set follows at the same time. Frames of further ones are shown, and the
	// streams are counted in Unfollowed: at about 400 bytes a stream, a capture cannot take more than 100 MB.
	maxStreams = 1 << 18
	// maxHeld is how many bytes all connections together hold, of payloads that are not complete, and of bytes in which
	// no frame was found yet. Beyond that, payloads are not kept, and the search ends.
	maxHeld = 64 << 20
	// maxOver is how many streams that are over a connection remembers for their late frames.
	maxOver = 64
)

// A Set is all connections of a source. Its connections share its limits. A Set and its connections are not safe for
// concurrent use.
type Set struct {
	opts    Options
	conns   int // that were opened
	streams int // that are followed now
	held    int // see maxHeld

	maxStreams, maxHeld int
	scratch             []byte // for payloads that nobody wants

	// Smux is the number of connections on which a frame was found.
	Smux int
	// NotSmux is the number of connections whose bytes are no frames.
	NotSmux int
	// Problems is the number of events of kind Problem and of frames that are violations.
	Problems int
	// Unfollowed is the number of streams that were not followed, because too many were open.
	Unfollowed int64
}

// NewSet returns a Set without connections.
func NewSet(opts Options) *Set {
	return &Set{opts: opts, maxStreams: maxStreams, maxHeld: maxHeld, scratch: make([]byte, 4<<10)}
}

// Open adds a connection between the addresses a and b. Bytes from a to b are of direction [Forward]. a is taken for the
// client of the session until a SYN shows which side is.
func (s *Set) Open(a, b string, t time.Time) *Conn {
	s.conns++
	c := &Conn{set: s, ID: s.conns, A: a, B: b, Start: t, Last: t, streams: make(map[uint32]*Stream)}
	for i := range c.dirs {
		c.dirs[i] = newDirection(c, Dir(i))
	}
	return c
}

func (s *Set) handle(e *Event) {
	if e.Kind == Problem || e.Violation != nil {
		s.Problems++
		e.Conn.Problems++
	}
	if s.opts.Handle != nil {
		s.opts.Handle(e)
	}
}

// Room returns how many bytes the sender of the data that a PSH or UPD is about may still send, if that is known. It may
// be negative.
func (e *Event) Room() (int64, bool) {
	if e.Kind != Frame || e.Stream == nil || e.Stream.State.over() || e.Violation != nil {
		return 0, false
	}
	d := e.Dir
	switch e.Header.Command {
	case wire.PSH:
		if e.Header.Length == 0 {
			return 0, false
		}
	case wire.UPD:
		d = d.Other()
	default:
		return 0, false
	}
	h := &e.Stream.Half[d]
	return h.room(), e.Conn.windowKnown(h, d)
}
