package fuzz

import (
	"errors"
	"io"
	"net"
	"testing/synctest"
	"time"

	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// The checks of the model.

// mustHaveSent checks that everything that may be sent has been sent.
func (p *play) mustHaveSent(st *played) {
	if st.opened && !st.synSent {
		p.failf("stream %d was opened, and no SYN went out", st.id)
	}
	if st.dropped || st.givenUp {
		return
	}
	may := st.written
	if p.model.windows {
		may = min(may, st.edge)
	}
	if st.sent < may {
		p.failf("stream %d: %d bytes went out of %d that were written, %d of which may", st.id, st.sent, st.written, may)
	}
	if st.room() <= 0 && (st.readClosed && !st.closed || !st.readClosed && st.came == st.read) && st.fins == 0 {
		p.failf("stream %d: the peer has no window, and all %d bytes were taken", st.id, st.came)
	}
	if p.model.windows && st.finsSent == 1 && st.finsDue == 1 && st.fins == 0 && !st.updateSent {
		p.failf("stream %d: no update went out behind FIN, which could be the last word", st.id)
	}
	if st.writing == nil && st.sent == st.written && st.finsSent < st.finsDue {
		p.failf("stream %d: %d FINs went out, want %d", st.id, st.finsSent, st.finsDue)
	}
}

// mustHaveRefused checks that the peer has been told of each stream that was refused, and that the session has counted
// the streams that the peer has refused. It may not see the refusal of one that is closed.
func (p *play) mustHaveRefused() {
	for id, n := range p.refused {
		if n != 4 {
			p.failf("stream %d was refused, and its peer has got %d frames", id, n)
		}
	}
	if p.model.closed {
		return
	}
	least, most := 0, 0
	for _, st := range p.streams {
		switch {
		case st.refused && !st.closed:
			least, most = least+1, most+1
		case st.opened && st.empties >= 2 && st.fins >= 2:
			most++
		}
	}
	if n := int(p.s.Stats().StreamsRefusedByPeer); n < least || n > most {
		p.failf("Stats has %d streams that the peer has refused, want %d to %d", n, least, most)
	}
}

// check waits until everything waits, and compares it with the model.
func (p *play) check() {
	synctest.Wait()
	p.observe()
	if c := p.accepting; c != nil {
		want, done := p.model.accepting(), c.done.Load()
		switch {
		case !done && !want.waits:
			p.failf("AcceptStream does not return, want %v", want)
		case !done:
		case !want.allows(0, c.err):
			p.failf("AcceptStream: %v, want %v", c.err, want)
		case c.err == nil:
			p.accepted(c.st)
		}
		if done {
			p.accepting = nil
		}
	}
	for _, st := range p.streams {
		if st.reading != nil {
			p.checkRead(st)
		}
		if st.writing != nil {
			p.checkWrite(st)
		}
	}
	if n := p.s.Stats().Unread; n != p.model.unread() && p.s.Err() == nil {
		p.failf("%d bytes are unread, want %d", n, p.model.unread())
	}
	p.checkSignals()
	p.checkFlushes()
	p.checkEnd()
}

func (p *play) accepted(st *stream.Stream) {
	want := p.model.accept()
	if st.ID() != want.id {
		p.failf("accepted stream %d, want %d", st.ID(), want.id)
	}
	for _, known := range p.streams {
		if known.modelStream == want {
			known.st = st
		}
	}
}

func (p *play) checkRead(st *played) {
	c, done := st.reading, st.reading.done.Load()
	if c.sink != nil {
		// A sink takes everything until an error comes.
		if st.read = max(st.read, c.sink.taken()); done && c.err == nil {
			c.err = io.EOF
		}
	}
	want := st.modelStream.reading(c.size)
	switch {
	case c.sink != nil && done:
		if !want.allows(0, c.err) {
			p.failf("WriteTo of stream %d: %v, want %v", st.id, c.err, want)
		}
	case !done:
		if !want.waits {
			p.failf("%s of stream %d does not return, want %v", c.name, st.id, want)
		}
	case !want.allows(c.n, c.err):
		p.failf("Read of %d bytes of stream %d: %d, %v, want %v", c.size, st.id, c.n, c.err, want)
	case !pattern(st.id).matches(c.buf[:c.n], st.read):
		p.failf("Read gives wrong data of stream %d at %d", st.id, st.read)
	default:
		st.read += c.n
	}
	if done {
		st.reading = nil
	}
}

func (p *play) checkWrite(st *played) {
	c := st.writing
	want := st.modelStream.writing(c.size)
	switch {
	case !c.done.Load():
		if !want.waits {
			p.failf("%s of %d bytes to stream %d does not return, want %v", c.name, c.size, st.id, want)
		}
		return
	case !want.allows(c.n, c.err):
		p.failf("%s of %d bytes to stream %d: %d, %v, want %v", c.name, c.size, st.id, c.n, c.err, want)
	case c.n < 0 || c.n > c.size:
		p.failf("%s of %d bytes to stream %d returns %d", c.name, c.size, st.id, c.n)
	}
	st.written += c.n
	st.writing = nil
	if st.sent > st.written {
		p.failf("stream %d: %d bytes went out, of which %d were written", st.id, st.sent, st.written)
	}
}

// checkEnd compares the end of the session with the model.
func (p *play) checkEnd() {
	m := p.model
	err := p.s.Err()
	switch {
	case m.closed:
		if p.closing.done.Load() {
			p.checkClose()
		} else if p.flushes {
			p.failf("Session.Close does not return")
		}
	case !same(err, m.end):
		p.failf("Err is %v, want %v", err, m.end)
	}
}

func (p *play) checkClose() {
	err := p.closing.err
	if p.flushes && err != nil {
		p.failf("Session.Close: %v", err)
	}
	if err == nil && !p.cut {
		p.mustHaveRefused()
		for _, st := range p.streams {
			if !st.dropped && !st.givenUp && st.sent != st.written {
				p.failf("Session.Close has sent %d of %d bytes of stream %d, and returns nil", st.sent, st.written, st.id)
			}
		}
	}
	if !errors.Is(p.s.Err(), net.ErrClosed) {
		p.failf("Err is %v after Close", p.s.Err())
	}
}

// observe reads what the session has sent.
func (p *play) observe() {
	p.wire = append(p.wire, p.cable.written()...)
	for len(p.wire) >= wire.HeaderSize {
		h, err := wire.ParseHeader(p.wire)
		if err != nil || h.Version != p.version {
			p.failf("the session sends %v: %v", h, err)
		}
		end := wire.HeaderSize + int(h.Length)
		if len(p.wire) < end {
			break
		}
		p.frame(h, p.wire[wire.HeaderSize:end])
		p.wire = p.wire[end:]
	}
}

// frame checks one frame that the session has sent.
func (p *play) frame(h wire.Header, data []byte) {
	if h.Command == wire.NOP {
		return
	}
	if h.StreamID >= lowestSignalID {
		p.signalSent(h)
		return
	}
	if n, ok := p.refused[h.StreamID]; ok && h.Command != wire.UPD {
		want := [...]wire.Command{wire.PSH, wire.PSH, wire.FIN, wire.FIN}
		if n == len(want) || h.Command != want[n] || len(data) > 0 {
			p.failf("the session sends %v as frame %d of a refusal", h, n+1)
		}
		p.refused[h.StreamID] = n + 1
		return
	}
	var st *played
	for _, known := range p.streams {
		if known.id == h.StreamID {
			st = known
		}
	}
	if st == nil {
		p.failf("the session sends %v of a stream that does not exist", h)
	}
	if h.Command != wire.SYN && st.opened && !st.synSent {
		p.failf("the session sends %v before SYN", h)
	}
	switch h.Command {
	case wire.SYN:
		if st.synSent || !st.opened {
			p.failf("the session sends %v again", h)
		}
		st.synSent = true
	case wire.PSH:
		most := st.written
		if st.writing != nil {
			most += st.writing.size
		}
		switch {
		case !pattern(st.id).matches(data, st.sent):
			p.failf("the session sends %v at %d with wrong data", h, st.sent)
		case st.finsSent > 0:
			p.failf("the session sends %v after FIN", h)
		case len(data) == 0:
			p.failf("the session sends %v of a stream that is not refused", h)
		}
		if st.sent += len(data); st.sent > most {
			p.failf("the session sends %v to %d, and %d bytes were written", h, st.sent, most)
		}
		if p.model.windows && st.sent > st.maxEdge {
			p.failf("the session sends %v to %d, beyond the window's %d", h, st.sent, st.maxEdge)
		}
	case wire.FIN:
		st.finsSent++
		switch {
		case !st.writeClosed:
			p.failf("the session sends %v of a stream that is not closed", h)
		case st.finsSent > st.finsMost:
			p.failf("the session sends %v for the %d. time", h, st.finsSent)
		case st.writing == nil && st.sent < st.written && !st.dropped:
			p.failf("the session sends %v after %d of %d bytes", h, st.sent, st.written)
		}
	case wire.UPD:
		st.updateSent = st.updateSent || st.finsSent > 0
		u, err := wire.ParseWindowUpdate(data)
		st.told(int(u.Consumed), int(u.Window))
		if err != nil || p.version != wire.V2 || int(u.Consumed) > st.came+st.late || u.Window == 0 {
			p.failf("the session sends %v, %v, and %d bytes came: %v", h, u, st.came, err)
		}
	}
}

// finish ends everything, without errors if that is still possible.
func (p *play) finish() {
	p.act(step{operation: operation{name: "unstall"}})
	if p.model.end == nil && !p.cut {
		p.sendRest()
	}
	p.check()
	if p.model.end == nil && !p.model.closed {
		p.conclude()
	}
	// Everything else ends as well.
	time.Sleep(2 * closeTimeout)
	p.check()
	for _, st := range p.streams {
		if st.reading != nil && (p.model.end != nil || p.model.closed) {
			p.failf("a Read of stream %d does not end with the session", st.id)
		}
	}
	if p.closing == nil {
		p.shut()
		p.check()
	}
	time.Sleep(2 * closeTimeout)
	p.check()
	if !p.closing.done.Load() {
		p.failf("Session.Close does not return")
	}
	<-p.s.Done()
}

// conclude makes both sides send, read and close everything.
func (p *play) conclude() {
	for _, st := range p.streams {
		if p.version == wire.V2 {
			u := wire.WindowUpdate{Consumed: uint32(st.sent), Window: 1 << 20}
			p.send(wire.Header{Command: wire.UPD, StreamID: st.id}, u.Append(nil))
			st.update(st.sent, 1<<20)
		}
	}
	p.check()
	for len(p.model.waiting) > 0 {
		p.act(step{operation: operation{name: "accept"}})
		p.check()
	}
	for _, st := range p.streams {
		if st.writing != nil {
			p.failf("stream %d: a %s still waits, with a window", st.id, st.writing.name)
		}
		for st.fins == 0 || st.awaitsFIN() {
			p.send(wire.Header{Command: wire.FIN, StreamID: st.id}, nil)
			st.fin()
			p.check()
		}
		if st.reading != nil {
			p.failf("stream %d: a %s still waits, after FIN", st.id, st.reading.name)
		}
		if !st.closed {
			if err := st.st.SetDeadline(time.Time{}); err != nil {
				p.failf("SetDeadline: %v", err)
			}
			st.readDeadline, st.writeDeadline = time.Time{}, time.Time{}
		}
		if unread := st.came - st.read; unread > 0 {
			st.reading = p.start("Read", unread, func(c *call) (int, error) {
				c.buf = make([]byte, unread)
				return io.ReadFull(st.st, c.buf)
			})
			p.check()
		}
		if !st.readClosed {
			st.reading = p.start("Read", 1, func(c *call) (int, error) {
				c.buf = make([]byte, 1)
				return st.st.Read(c.buf)
			})
			p.check()
		}
		lossless := !st.dropped
		if err := st.st.Close(); err != nil && lossless {
			p.failf("Close: %v", err)
		}
		st.close()
	}
	p.sleep(10 * time.Millisecond)
	if n := p.s.NumStreams(); n != 0 {
		p.failf("%d streams are left", n)
	}
}
