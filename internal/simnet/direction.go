package simnet

import (
	"io"
	"sync"
	"syscall"
	"time"
)

// Direction is one direction of a pair, which the test can watch and disturb. See [Conn.Out] and [Conn.In]. Its
// methods may be called concurrently.
//
// Positions tell its bytes apart:
//
//	read ≤ arrived ≤ departed ≤ written
//	     unread   in flight   unsent
//
// A segment starts when the one before it has departed. It is unsent while it is being sent, and then in flight.
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

	// The end. fin follows the last byte. gone, the news that the writer's end was closed in both directions, does
	// not wait for it, and stops the peer's writes.
	finished    bool // the writer writes no more
	finDeparted bool
	finAt       time.Duration // when it arrives
	goneAt      time.Duration

	// The writer's side.
	writeErr      error // what Write returns from now on
	writeDeadline time.Duration
	writing       bool // a Write is in progress; others wait for it
	need          int  // the room for which it waits
	writable      sync.Cond
	writers       int // calls that wait for writable and were not woken

	// The reader's side.
	readErr      error // what Read returns after the bytes that arrived
	abandoned    bool  // the reader's end was closed: bytes that arrive are discarded
	readDeadline time.Duration
	readable     sync.Cond
	readers      int // calls that wait for readable and were not woken

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

// next returns the time of the next event of this direction.
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

// step makes the next event happen; at is its time.
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

// begin starts to send the next segment, if there is one and the window has room. Call it at the time at when that
// may have become true.
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

// depart puts the segment that was being sent on the wire, and begins the next one.
func (d *Direction) depart(at time.Duration) {
	d.sending = false
	d.departed = d.sendingTo
	d.flight.push(segment{to: d.departed, at: at + d.link.Delay})
	if d.writers > 0 && d.room() >= d.need {
		d.wakeWriters()
	}
	if d.link.Rate > 0 {
		d.begin(at)
	}
}

// arrive delivers the first segment in flight.
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
		d.wakeReaders()
	}
}

// room returns the number of bytes that Write may take now.
func (d *Direction) room() int { return d.link.Buffer - int(d.written-d.departed) }

func (d *Direction) wakeReaders() {
	d.readers = 0
	d.readable.Broadcast()
}

func (d *Direction) wakeWriters() {
	d.writers = 0
	d.writable.Broadcast()
}

// attention returns the time at which a call that waits in this direction must check again, if nothing happens
// before.
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

// nextArrival returns the time at which Read may find more.
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

// endReads makes Read return err after the bytes that have arrived. The first error stays.
func (d *Direction) endReads(err error) {
	if d.readErr == nil {
		d.readErr = err
	}
	d.wakeReaders()
}

// endWrites makes Write return err from now on, and discards unsent bytes. The first error stays.
func (d *Direction) endWrites(err error) {
	if d.writeErr == nil {
		d.writeErr = err
	}
	d.sending = false
	d.written = d.departed
	d.wakeWriters()
}
