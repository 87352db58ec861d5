package simnet

import (
	"io"
	"syscall"
	"time"
)

// Cut describes how and when a connection breaks.
type Cut struct {
	// After is the number of bytes that the direction delivers, counted from its first byte. The cut happens when
	// the last of them has arrived, or at once if it has arrived already.
	After int64
	// Err is the error that both sides get in a *net.OpError, for example syscall.ECONNRESET. If it is nil, Read
	// returns io.EOF, as if the peer had closed, and Write syscall.EPIPE.
	Err error
	// OneWay leaves the other direction open.
	OneWay bool
}

// Cut arms a cut in this direction. It replaces one that is armed.
//
// When the cut happens, bytes that have arrived can still be read in both directions. Bytes in flight and unsent
// bytes are lost. Reads and writes then fail on both sides, blocked ones at once, also during a stall. With OneWay
// this applies to the writer and the reader of this direction only. An end that was closed still returns
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

// Break breaks the connection now, in both directions, as a [Cut] does. If err is nil, Read returns io.EOF.
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
