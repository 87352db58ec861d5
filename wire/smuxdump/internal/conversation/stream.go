package conversation

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// A State is where the life of a stream stands.
//
//	        FIN of one side              FIN of the other
//	Open ---------------------> HalfClosed -------------> Closed
//	  |                            |   |
//	  |  the mark of a refusal     |   |  second FIN: the side that sent both reads no more
//	  +----------------------------+---+----------------> Refused or Closed
//	  |                            |
//	  +------- the connection ends +--------------------> Cut
type State uint8

const (
	Open State = iota
	HalfClosed
	Closed
	Refused
	Cut
)

// String returns the state in words.
func (s State) String() string {
	return [...]string{"open", "half-closed", "closed", "refused", "cut"}[s]
}

func (s State) over() bool { return s >= Closed }

// A Stream is one stream of a connection.
type Stream struct {
	ID uint32
	// Opener is the direction of its SYN. If Opened is false, the SYN was not seen, and Opener is a guess by the id.
	Opener Dir
	Opened bool
	State  State
	// Begin is the time of its first frame, and End of its last one.
	Begin, End time.Time
	// Answer is the time from the SYN to the first data of the other side, 0 if there was none.
	Answer time.Duration
	// Half has what was counted in each direction.
	Half [2]Half
}

// A Half is one direction of a stream.
type Half struct {
	Bytes  int64 // of data
	Frames int64 // PSHs
	FINs   int
	// Window and Transport are the times in which the sender was blocked.
	Window, Transport Stall
	// Waits is since when the window is used up, or zero.
	Waits time.Time
	// Overrun is how many bytes were sent beyond the window.
	Overrun int64

	empties  int   // PSHs without data
	losses   int   // direction.losses when the stream began: no frame was lost since if it is the same
	consumed int64 // of the last UPD: bytes that the receiver has read
	window   int64 // of the last UPD
	limit    int64 // the most bytes that any UPD has allowed; maxInt if one may have been lost
	updates  int   // losses of the other direction when the last UPD came: none was lost since if it is the same
	unsure   time.Duration
}

// room returns how many bytes may be sent. It may be negative.
func (h *Half) room() int64 { return h.window - (h.Bytes - h.consumed) }

// initialWindow is how much may be sent before the first UPD in version 2.
const initialWindow = 262144

// handleFrame follows the streams by a frame, and hands it on.
func (c *Conn) handleFrame(e *Event) {
	c.begin()
	dir := c.dirs[e.Dir]
	if int(e.Header.Command) < len(dir.Frames) {
		dir.Frames[e.Header.Command]++
	}
	c.noteVersion(e)
	if e.Violation == nil {
		switch e.Header.Command {
		case wire.SYN:
			c.handleSYN(e)
		case wire.PSH:
			c.handlePSH(e)
		case wire.FIN:
			c.handleFIN(e)
		case wire.UPD:
			c.handleUPD(e)
		case wire.NOP:
		}
	}
	if e.Stream != nil && !e.Stream.State.over() {
		e.Stream.End = e.Time
	}
	c.set.handle(e)
}

// noteVersion compares the version of the frame with that of the connection.
func (c *Conn) noteVersion(e *Event) {
	switch {
	case c.Version == 0:
		c.Version = e.Header.Version
		c.set.Smux++
	case c.Version != e.Header.Version && e.Violation == nil:
		e.Violation = fmt.Errorf("%w: %v, the other direction has %v", wire.ErrVersionMismatch, e.Header.Version, c.Version)
	}
}

func (c *Conn) handleSYN(e *Event) {
	id := e.Header.StreamID
	client := e.Dir
	if id%2 == 0 {
		client = e.Dir.Other()
	}
	switch {
	case isReserved(e.Header):
		e.Meaning = "an id that smuxkit reserves for signals"
	case c.ClientKnown && client != c.Client:
		e.Violation = ErrParity
		return
	}
	c.Client, c.ClientKnown = client, true
	if s := c.streams[id]; s != nil {
		if !s.State.over() {
			if s.Opened {
				e.Violation, e.Stream = ErrInUse, s
				return
			}
			c.finish(s, e.Time, Closed) // an older stream whose end was lost
		}
		c.forget(s)
	}
	c.Opened[e.Dir]++
	c.highest[e.Dir] = max(c.highest[e.Dir], id)
	e.Stream = c.open(id, e.Dir, true, e.Time)
}

// open follows a stream from now on. It returns nil if there are too many.
func (c *Conn) open(id uint32, opener Dir, opened bool, t time.Time) *Stream {
	if c.set.streams >= c.set.maxStreams {
		c.set.Unfollowed++
		if !c.full {
			c.full = true
			c.tell(Problem, opener, t, "%d streams are open: further ones are not followed", c.set.maxStreams)
		}
		return nil
	}
	s := &Stream{ID: id, Opener: opener, Opened: opened, Begin: t, End: t}
	for i := range s.Half {
		h := &s.Half[i]
		h.window, h.limit, h.losses, h.updates = initialWindow, initialWindow, c.dirs[i].losses, c.dirs[1-i].losses
		if !opened {
			h.losses = -1
		}
	}
	c.streams[id] = s
	c.set.streams++
	c.Open++
	c.MaxOpen = max(c.MaxOpen, c.Open)
	return s
}

// stream returns the stream of a frame, also if it is over. If it is not known, it begins to follow it if its SYN may
// have been lost, and otherwise says what may be wrong.
func (c *Conn) stream(e *Event) *Stream {
	id := e.Header.StreamID
	if s := c.streams[id]; s != nil {
		e.Stream = s
		return s
	}
	if !c.ClientKnown && c.dirs[e.Dir].losses == 0 {
		// All SYNs of this side were seen, and none has this id: the stream is the other side's.
		c.Client, c.ClientKnown = e.Dir.Other(), true
		if id%2 == 0 {
			c.Client = e.Dir
		}
	}
	opener := c.Client
	if id%2 == 0 {
		opener = c.Client.Other()
	}
	if c.dirs[opener].losses == 0 || id <= c.highest[opener] {
		e.Meaning = "no such stream"
		if id <= c.highest[opener] {
			e.Meaning = "the stream is over"
		}
		return nil
	}
	if e.Header.Command == wire.FIN {
		return nil // it begins no stream that is worth to be followed
	}
	e.Stream = c.open(id, opener, false, e.Time)
	if e.Stream != nil {
		e.Meaning = "its SYN was not seen"
	}
	return e.Stream
}

func (c *Conn) handlePSH(e *Event) {
	n := int64(e.Header.Length)
	dir := c.dirs[e.Dir]
	dir.Data += n
	dir.lastStream = e.Header.StreamID
	s := c.stream(e)
	if s == nil {
		return
	}
	h := &s.Half[e.Dir]
	if n == 0 {
		h.empties++
		return
	}
	if h.Bytes == 0 && e.Dir != s.Opener && s.Opened && s.Answer == 0 {
		s.Answer = e.Time.Sub(s.Begin)
		c.Answer.add(s.Answer)
	}
	h.Bytes += n
	h.Frames++
	if s.State.over() {
		e.Meaning = "nobody reads it: the stream is over"
		return
	}
	if h.FINs > 0 {
		e.Violation = ErrAfterFIN
	}
	c.useWindow(e, s, h)
}

// useWindow counts the data of a frame against the window.
func (c *Conn) useWindow(e *Event, s *Stream, h *Half) {
	if !c.windowKnown(h, e.Dir) {
		return
	}
	if h.unsure > 0 {
		// The window opened again, and data followed: the sender had waited.
		h.Window.add(h.unsure)
		c.dirs[e.Dir].Window.add(h.unsure)
		if h.unsure >= MinStall {
			c.tellStall(s, e.Dir, e.Time, "blocked for %v by its window", h.unsure)
		}
		h.unsure = 0
	}
	if over := h.Bytes - h.limit; over > 0 {
		h.Overrun = max(h.Overrun, over)
		e.Meaning = fmt.Sprintf("%d bytes beyond the window", over)
	}
	if h.room() <= 0 && h.Waits.IsZero() {
		h.Waits = e.Time
	}
}

// bytesKnown reports whether all data of a half was seen, in version 2.
func (c *Conn) bytesKnown(h *Half, d Dir) bool {
	return c.Version == wire.V2 && h.losses == c.dirs[d].losses
}

// windowKnown reports whether all that counts for the window of a half was seen.
func (c *Conn) windowKnown(h *Half, d Dir) bool {
	other := c.dirs[d.Other()]
	return c.bytesKnown(h, d) && h.updates == other.losses && !other.behind
}

func (c *Conn) handleUPD(e *Event) {
	s := c.stream(e)
	if s == nil {
		return
	}
	if s.Half[e.Dir].FINs == 1 && !s.State.over() {
		e.Meaning = "its sender still reads"
	}
	d := e.Dir.Other() // the window is that of the other side's data
	h := &s.Half[d]
	if !c.bytesKnown(h, d) {
		return
	}
	sent := h.Bytes + c.dirs[d].arrived(s.ID) // the reader may have got a part of a frame
	ahead := int32(uint32(sent) - e.Update.Consumed)
	switch consumed := sent - int64(ahead); {
	case ahead < 0:
		if !c.dirs[d].behind {
			e.Violation = ErrConsumed
		}
		return
	case consumed < h.consumed:
		e.Meaning = "older than the last update"
		return
	default:
		h.consumed = consumed
	}
	h.window = int64(int32(e.Update.Window))
	h.limit = max(h.limit, h.consumed+h.window)
	if now := c.dirs[e.Dir].losses; h.updates != now {
		h.updates, h.limit, h.Waits, h.unsure = now, math.MaxInt64, time.Time{}, 0
	}
	if h.room() > 0 && !h.Waits.IsZero() {
		h.unsure += e.Time.Sub(h.Waits)
		h.Waits = time.Time{}
	}
}

func (c *Conn) handleFIN(e *Event) {
	if isReserved(e.Header) && c.streams[e.Header.StreamID] == nil {
		c.handleSignal(e)
		return
	}
	s := c.stream(e)
	if s == nil {
		return
	}
	h := &s.Half[e.Dir]
	h.FINs++
	h.unsure, h.Waits = 0, time.Time{}
	other := &s.Half[e.Dir.Other()]
	refused := h.FINs == 2 && h.Bytes == 0 && h.empties == 2 && e.Dir != s.Opener && s.Opened
	switch {
	case refused:
		if s.State == Closed {
			c.Closed-- // the opener had closed it before
			s.State = HalfClosed
			c.Open++
			c.set.streams++
		}
		if !s.State.over() {
			c.finish(s, e.Time, Refused)
		}
		e.Meaning = "refused: no application has seen the stream"
	case h.FINs > 2:
		e.Meaning = "the stream is over"
	case s.State == Closed && h.FINs == 1: // the answer to two FINs
		s.End = e.Time
		e.Meaning = s.summary()
	case s.State == Refused && h.FINs == 1: // the opener's, who did not know yet
	case other.FINs > 0 && !s.State.over():
		c.finish(s, e.Time, Closed)
		e.Meaning = s.summary()
	case h.FINs == 1:
		s.State = HalfClosed
	default:
		// The other side may answer with FIN, and need not.
		if !s.State.over() {
			c.finish(s, e.Time, Closed)
		}
		e.Meaning = "closed both directions"
	}
}

// summary says in words what the stream was.
func (s *Stream) summary() string {
	return fmt.Sprintf("closed after %v, > %d bytes, < %d bytes", s.End.Sub(s.Begin), s.Half[Forward].Bytes, s.Half[Backward].Bytes)
}

// finish ends the life of a stream that is not over. Late frames still find it.
func (c *Conn) finish(s *Stream, t time.Time, became State) {
	s.finish(t, became)
	if became == Refused {
		c.Refused++
	} else {
		c.Closed++
	}
	c.Open--
	c.set.streams--
	if !slices.Contains(c.over, s) {
		c.over = append(c.over, s)
	}
	if len(c.over) > maxOver {
		c.forget(c.over[0])
	}
}

func (s *Stream) finish(t time.Time, became State) {
	s.State = became
	if t.After(s.End) {
		s.End = t
	}
}

// forget forgets a stream that is over, except for the summary.
func (c *Conn) forget(s *Stream) {
	c.over = slices.DeleteFunc(c.over, func(o *Stream) bool { return o == s })
	if c.streams[s.ID] == s {
		delete(c.streams, s.ID)
	}
	c.keep(s)
}

func (c *Conn) tellStall(s *Stream, d Dir, t time.Time, format string, args ...any) {
	c.begin()
	e := &Event{Kind: Stalled, Time: t, Conn: c, Dir: d, Stream: s, Text: fmt.Sprintf(format, args...)}
	e.Header.StreamID = s.ID
	c.set.handle(e)
}
