package simnet

import (
	"io"
	"sync"
	"syscall"
	"time"
)

// Direction is one way of a pair, for the test to watch and disturb. See
// [Conn.Out] and [Conn.In]. Its methods may be called at any time by anybody.
//
// Its bytes are told apart by position:
//
//	read ≤ arrived ≤ departed ≤ written
//	     unread   in flight   unsent
//
// A segment is chosen and started when the one before has departed, stays unsent
// while it is being sent, and then travels on its own.
type Direction struct {
	pair *pair
	back *Direction // the other way
	name string
	link Link

	// The bytes.
	bytes                            ring
	read, arrived, departed, written int64
	window                           int64 // bounds departed - read

	// The serialiser.
	sending    bool          // a segment is being sent
	sendingTo  int64         // the position after it
	sentAt     time.Duration // when it departs, or the last one did
	burstAt    time.Duration // when the serialiser last began after a pause
	burstBytes int64         // what it took on since: keeps rounding from adding up

	// The wire.
	flight  flight
	stalled bool
	resumed time.Duration // the end of the last stall
	cut     *Cut          // armed and not yet happened

	// The end: fin follows the last byte. gone, the news that the writer's end was
	// closed in both directions, does not: it stops the peer's writes.
	finished    bool // the writer writes no more
	finDeparted bool
	finAt       time.Duration // when it arrives
	goneAt      time.Duration

	// The writer's side.
	writeErr      error // what Write reports from now on
	writeDeadline time.Duration
	writing       bool // a Write holds the turn; others wait for it
	need          int  // the room for which it waits
	writable      sync.Cond
	writers       int // who wait for writable

	// The reader's side.
	readErr      error // what Read reports after the bytes that arrived
	abandoned    bool  // the reader's end was closed: what arrives is thrown away
	readDeadline time.Duration
	readable     sync.Cond
	readers      int // who wait for readable

	writes, reads int64
}

func newDirection(p *pair, name string, l Link) *Direction {
	l = l.withDefaults()
	d := &Direction{
		pair: p, name: name, link: l, window: l.window(),
		finAt: never, goneAt: never, writeDeadline: never, readDeadline: never,
	}
	d.readable.L, d.writable.L = &p.mu, &p.mu
	return d
}

// next returns when something happens in this direction by itself.
func (d *Direction) next() time.Duration {
	at := never
	if d.sending {
		at = d.sentAt
	}
	if d.stalled {
		return at
	}
	if !d.flight.empty() {
		at = min(at, d.flight.first().at)
	}
	return min(at, d.finAt, d.goneAt)
}

// step lets the next thing happen; at is its time.
func (d *Direction) step(at time.Duration) {
	switch {
	case d.sending && at == d.sentAt:
		d.depart(at)
	case !d.flight.empty() && at == d.flight.first().at:
		d.arrive(max(at, d.resumed))
	case at == d.finAt:
		d.finAt = never
		d.log(max(at, d.resumed), OpEOF, 0, nil)
		d.endReads(io.EOF)
	default:
		d.goneAt = never
		d.back.endWrites(syscall.EPIPE)
	}
}

// begin starts sending the next segment, if there is one and it may go. It must be
// called at the moment (at) when that may have become true.
func (d *Direction) begin(at time.Duration) {
	for !d.sending && !d.stalled && d.departed < d.written {
		n := d.written - d.departed
		if !d.abandoned {
			n = min(n, d.window-(d.departed-d.read))
		}
		if n <= 0 {
			return
		}
		if d.cut != nil && d.departed < d.cut.After {
			n = min(n, d.cut.After-d.departed)
		}
		if d.link.Rate == 0 {
			d.sendingTo = d.departed + n
			d.depart(at)
			continue
		}
		n = min(n, int64(d.link.Segment))
		if at != d.sentAt {
			d.burstAt, d.burstBytes = at, 0
		}
		d.burstBytes += n
		d.sentAt = d.burstAt + d.link.sending(d.burstBytes)
		d.sendingTo = d.departed + n
		d.sending = true
	}
	if d.finished && !d.finDeparted && !d.sending && !d.stalled && d.departed == d.written {
		d.finDeparted = true
		d.finAt = at + d.link.Delay
	}
}

// depart puts the segment that was being sent on the wire, and begins the next.
func (d *Direction) depart(at time.Duration) {
	d.sending = false
	d.departed = d.sendingTo
	d.flight.push(segment{to: d.departed, at: at + d.link.Delay})
	if d.writers > 0 && d.room() >= d.need {
		d.writable.Broadcast()
	}
	if d.link.Rate > 0 {
		d.begin(at)
	}
}

// arrive hands the first segment in flight to the receiver.
func (d *Direction) arrive(at time.Duration) {
	before := d.arrived
	d.arrived = d.flight.pop().to
	cut := d.cut != nil && d.arrived >= d.cut.After
	if cut {
		d.arrived = d.cut.After // less than the segment's end if it was armed meanwhile
	}
	d.log(at, OpDeliver, int(d.arrived-before), nil)
	if cut {
		d.sever(at)
	}
	if d.abandoned {
		d.read = d.arrived
	}
	if d.readers > 0 {
		d.readable.Broadcast()
	}
}

// room returns how many bytes Write may take now.
func (d *Direction) room() int { return d.link.Buffer - int(d.written-d.departed) }

// attention returns when somebody who waits in this direction must look, if
// nothing else happens before.
func (d *Direction) attention() time.Duration {
	at := never
	if d.readers > 0 {
		at = min(d.nextArrival(), d.readDeadline)
	}
	if d.writers > 0 {
		at = min(at, d.writeDeadline)
		if d.sending {
			at = min(at, d.sentAt)
		}
		if !d.back.stalled {
			at = min(at, d.back.goneAt)
		}
	}
	if d.cut != nil && d.writers+d.back.readers+d.back.writers > 0 {
		at = min(at, d.nextArrival())
	}
	return at
}

// nextArrival returns when Read may find something new.
func (d *Direction) nextArrival() time.Duration {
	switch {
	case d.stalled:
		return never
	case !d.flight.empty():
		return d.flight.first().at
	case d.sending:
		return d.sentAt + d.link.Delay
	}
	return d.finAt
}

// endReads makes Read report err after what has arrived. The first reason stays.
func (d *Direction) endReads(err error) {
	if d.readErr == nil {
		d.readErr = err
	}
	d.readable.Broadcast()
}

// endWrites makes Write report err from now on, and forgets what is unsent. The
// first reason stays.
func (d *Direction) endWrites(err error) {
	if d.writeErr == nil {
		d.writeErr = err
	}
	d.sending = false
	d.written = d.departed
	d.writable.Broadcast()
}
