package conversation

import (
	"fmt"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// A Dir is a direction of a connection.
type Dir uint8

const (
	Forward  Dir = iota // from A to B
	Backward            // from B to A
)

// Other returns the other direction.
func (d Dir) Other() Dir { return 1 - d }

// String returns ">" for Forward and "<" for Backward.
func (d Dir) String() string {
	if d == Forward {
		return ">"
	}
	return "<"
}

// A Conn is a connection: two directions of bytes, and the streams in them.
type Conn struct {
	set *Set

	ID   int    // 1 for the first connection of the source
	A, B string // the addresses

	Start, Last time.Time // when the connection was opened, and of the last byte or end
	Version     wire.Version
	Problems    int

	// Client is the direction that the session's client sends in, if ClientKnown. A SYN shows it.
	Client      Dir
	ClientKnown bool

	// Opened is how many streams each side has opened, by the direction of its SYNs.
	Opened [2]int64
	// Closed and Refused are how many streams have ended that way.
	Closed, Refused int64
	// Open is how many streams are open now, and MaxOpen how many were open at the same time.
	Open, MaxOpen int

	// Handshake is the round trip of TCP's handshake, 0 if it is not known. Ping has the round trips of pings, by the
	// direction of the ping.
	Handshake time.Duration
	Ping      [2]Times
	// Answer has the times from a stream's SYN to the first data of the other side.
	Answer Times
	// Retransmitted is the number of TCP segments of each direction that brought nothing new.
	Retransmitted [2]int64

	dirs    [2]*direction
	begun   bool               // the Begin event was handled
	ended   bool               // the End event was handled
	streams map[uint32]*Stream // open, or one of over
	over    []*Stream          // ended, the oldest first; at most maxOver
	highest [2]uint32          // the highest id of a SYN, by direction
	pinged  [2]time.Time       // when a ping was sent that waits for its echo
	kept    []*Stream          // see Options.Keep
	full    bool               // a stream was not followed; said once
}

// A Times is a set of durations.
type Times struct {
	Count         int64
	Min, Max, Sum time.Duration
}

func (s *Times) add(d time.Duration) {
	if s.Count == 0 || d < s.Min {
		s.Min = d
	}
	s.Max = max(s.Max, d)
	s.Count++
	s.Sum += d
}

// Average returns the average of the durations, 0 if there is none.
func (s *Times) Average() time.Duration {
	if s.Count == 0 {
		return 0
	}
	return s.Sum / time.Duration(s.Count)
}

// From returns the address that sends in direction d.
func (c *Conn) From(d Dir) string {
	if d == Forward {
		return c.A
	}
	return c.B
}

// Direction returns what was counted in direction d.
func (c *Conn) Direction(d Dir) *Counts { return &c.dirs[d].Counts }

// Middle says that the bytes of direction d do not begin with the connection's first: they may begin within a frame.
// It must be called before any Data of d.
func (c *Conn) Middle(d Dir) {
	dir := c.dirs[d]
	dir.state, dir.why, dir.losses = searching, midConnection, 1
}

// Data handles bytes of direction d, which have arrived at time t. It keeps no reference to p.
func (c *Conn) Data(d Dir, t time.Time, p []byte) {
	if len(p) == 0 {
		return
	}
	c.touch(t)
	dir := c.dirs[d]
	dir.Bytes += int64(len(p))
	dir.noteArrival(t)
	dir.feed(t, p)
	dir.lastArrival = t
}

// Gap says that n bytes of direction d are missing before the next Data, or an unknown number if n is 0.
func (c *Conn) Gap(d Dir, t time.Time, n int64) {
	c.touch(t)
	c.dirs[d].gap(t, n)
}

// Behind says whether bytes of direction d wait for others that are missing before them. What the other side says about d
// is then not judged, because it may know more.
func (c *Conn) Behind(d Dir, behind bool) { c.dirs[d].behind = behind }

// An Ending is how a direction of a connection ends.
type Ending uint8

const (
	EndFIN    Ending = iota + 1 // its sender has ended it
	EndReset                    // the connection was reset
	EndSource                   // the source has no more of it
)

// EndDir says that no more bytes of direction d come.
func (c *Conn) EndDir(d Dir, t time.Time, how Ending) {
	c.touch(t)
	c.dirs[d].end(t, how)
}

// Blocked says that the transport took no data of direction d from one time to another, and why in words.
func (c *Conn) Blocked(d Dir, from, to time.Time, why string) {
	c.begin()
	c.dirs[d].blocked(from, to, why)
}

// Close says that the connection is over. It ends directions that have not ended yet.
func (c *Conn) Close(t time.Time) {
	if c.ended {
		return
	}
	c.EndDir(Forward, t, EndSource)
	c.EndDir(Backward, t, EndSource)
	c.ended = true
	for _, s := range c.streams {
		if !s.State.over() {
			c.Open--
			c.set.streams--
			s.finish(c.Last, Cut)
		}
		c.keep(s)
	}
	c.streams, c.over = nil, nil
	c.trimKept()
	if c.begun {
		c.set.handle(&Event{Kind: End, Time: c.Last, Conn: c})
	}
}

// touch notes that something of the connection was seen.
func (c *Conn) touch(t time.Time) {
	if t.After(c.Last) {
		c.Last = t
	}
}

// begin reports the connection with its first event.
func (c *Conn) begin() {
	if !c.begun {
		c.begun = true
		c.set.handle(&Event{Kind: Begin, Time: c.Start, Conn: c})
	}
}

func (c *Conn) tell(k Kind, d Dir, t time.Time, format string, args ...any) {
	c.begin()
	c.set.handle(&Event{Kind: k, Time: t, Conn: c, Dir: d, Text: fmt.Sprintf(format, args...)})
}
