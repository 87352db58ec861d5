package simnet

import (
	"io"
	"syscall"
	"time"
)

// Cut says how and when a connection breaks.
type Cut struct {
	// After is how many bytes of the direction are delivered, counted from its
	// first; not one more is. The cut happens when the last of them has arrived, or
	// at once if so many have already.
	After int64
	// Err is what both sides are told, inside a *net.OpError: syscall.ECONNRESET, for
	// example. If it is nil, reads report io.EOF, as if the peer had closed, and
	// writes syscall.EPIPE.
	Err error
	// OneWay leaves the other direction as it is.
	OneWay bool
}

// Cut arms a cut in this direction, in place of any that was armed before.
//
// When it happens, what had arrived can still be read, both ways; what is in flight
// or unsent is lost. Then reads and writes on both sides fail, blocked ones at
// once, whether the direction is stalled or not. With OneWay that concerns only
// this direction's writer and reader. An end that was closed keeps reporting
// net.ErrClosed.
func (d *Direction) Cut(c Cut) {
	p := d.pair
	p.mu.Lock()
	defer p.unlock()
	now := p.now()
	d.cut = &c
	if d.arrived >= c.After {
		d.sever(now)
	}
}

// Break breaks the connection now, in both directions: a [Cut] with nothing to
// wait for. If err is nil, reads report io.EOF.
func (c *Conn) Break(err error) { c.out.Cut(Cut{Err: err}) }

// sever carries out the armed cut.
func (d *Direction) sever(at time.Duration) {
	c := *d.cut
	d.cut = nil
	d.log(at, OpCut, 0, c.Err)
	d.end(c.Err)
	if !c.OneWay {
		d.back.end(c.Err)
	}
}

// end breaks one direction.
func (d *Direction) end(err error) {
	readErr, writeErr := err, err
	if err == nil {
		readErr, writeErr = io.EOF, syscall.EPIPE
	}
	d.endReads(readErr)
	d.endWrites(writeErr)
	d.flight.clear()
	d.written, d.departed = d.arrived, d.arrived
	d.stalled = false
	d.finDeparted, d.finAt = true, never
	d.cut = nil
}
