package simnet

import (
	"fmt"
	"time"
)

// Op is the kind of an [Event].
type Op string

// The events of a direction.
const (
	OpWrite   Op = "write"   // a Write returned: N bytes, Err
	OpDeliver Op = "deliver" // N bytes arrived
	OpRead    Op = "read"    // a Read returned N bytes
	OpEOF     Op = "eof"     // the end of the stream arrived
	OpClose   Op = "close"   // the writer's end was closed
	OpStall   Op = "stall"
	OpUnstall Op = "unstall"
	OpCut     Op = "cut" // Err is the cut's
)

// Event is something that happened in a direction.
type Event struct {
	At        time.Duration // since the pair was made
	Direction string        // "a>b" or "b>a"
	Op        Op
	N         int
	Err       error
}

// String is one line for a test's log.
func (e Event) String() string {
	s := fmt.Sprintf("%v %s %s %d", e.At, e.Direction, e.Op, e.N)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (d *Direction) log(at time.Duration, op Op, n int, err error) {
	if d.link.Log != nil {
		d.link.Log(Event{At: at, Direction: d.name, Op: op, N: n, Err: err})
	}
}

// Counters count the bytes of a direction since it was made.
type Counters struct {
	Writes    int64 // calls of Write, with whatever result
	Reads     int64 // calls of Read, with whatever result
	Written   int64 // bytes that Write took, except those discarded by a break or the peer's Close
	Delivered int64 // bytes that arrived
	Read      int64 // bytes that Read returned or Close discarded
	Unsent    int64 // bytes now in the sender's buffer
	InFlight  int64 // bytes now on the wire
	Unread    int64 // bytes now in the receiver's buffer
}

// Counters returns the present values.
func (d *Direction) Counters() Counters {
	p := d.pair
	p.mu.Lock()
	defer p.unlock()
	p.now()
	return Counters{
		Writes:    d.writes,
		Reads:     d.reads,
		Written:   d.written,
		Delivered: d.arrived,
		Read:      d.read,
		Unsent:    d.written - d.departed,
		InFlight:  d.departed - d.arrived,
		Unread:    d.arrived - d.read,
	}
}
