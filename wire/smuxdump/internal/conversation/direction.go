package conversation

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/smuxkit/smuxkit/wire"
)

// Counts is what was counted in a direction.
type Counts struct {
	Bytes     int64 // of the connection, headers included
	Frames    [wire.UPD + 1]int64
	Data      int64 // bytes of payload of PSH
	Missing   int64 // bytes that the source did not have
	Undecoded int64 // bytes that were not decoded: before the first frame that was found, and after a fault
	// Transport is how often and how long the transport stopped. See MinStall.
	Transport Stall
	// Window is how often and how long streams waited for their windows. Several may wait at the same time.
	Window Stall
}

// MinStall is the shortest pause that counts as a stall by the transport: a pause within a frame, a TCP window of 0, or
// a Write of the proxy that blocks.
const MinStall = 10 * time.Millisecond

// A decodeState is where the decoder of a direction stands.
//
//	            first bytes are no frame
//	synced ------------------------------------> failed
//	  |  ^       or a frame has no known length     ^
//	  |  |                                          | no frame in maxSearch bytes
//	  |  +-- three frames in a row -- searching ----+
//	  |                                   ^
//	  +-- bytes are missing --------------+
//
// A direction whose first bytes are missing begins as searching.
type decodeState uint8

const (
	synced    decodeState = iota // the decoder is at a frame or in one
	searching                    // where the next frame begins is not known
	failed                       // nothing more is decoded
)

const midConnection = "the capture begins in the middle of the connection"

// errMore is what a direction's decoder gets when all bytes that have arrived were read.
var errMore = errors.New("conversation: more bytes are needed")

// A direction decodes the bytes of one direction of a connection.
type direction struct {
	Counts
	conn *Conn
	dir  Dir

	state decodeState
	why   string // why it is searching
	ended bool
	// behind: see Conn.Behind. losses counts how often frames may have been lost.
	behind bool
	losses int

	in      []byte // what has arrived and was not given to dec
	zeros   int    // bytes of the current payload that are missing and read as zeros
	dec     *wire.Decoder
	base    int64       // the offset of dec's first byte
	inFrame bool        // the header of the current frame was read
	header  wire.Header // of the current frame
	start   int64       // the offset of the current frame
	begun   time.Time   // when the first byte of the current frame arrived
	missing int         // bytes of the current frame that are missing
	broken  error       // what the header of the current frame breaks, or nil
	left    int         // bytes of a broken frame that are still to come
	payload []byte
	keeps   bool // the payload of the current frame is kept

	pending  []byte // while searching: bytes in which no frame was found yet
	dropped  int64  // while searching: bytes before pending
	nextScan int    // while searching: how many pending bytes the next scan waits for

	lastArrival  time.Time // of the last bytes
	countedUntil time.Time // up to where stalls were counted
	lastStream   uint32    // the stream of the last PSH
}

func newDirection(c *Conn, d Dir) *direction {
	dir := &direction{conn: c, dir: d}
	dir.dec = wire.NewDecoder(dir)
	return dir
}

// Read gives the decoder what has arrived. It implements io.Reader.
func (d *direction) Read(p []byte) (int, error) {
	if d.zeros > 0 {
		n := min(len(p), d.zeros)
		clear(p[:n])
		d.zeros -= n
		return n, nil
	}
	if len(d.in) == 0 {
		return 0, errMore
	}
	n := copy(p, d.in)
	d.in = d.in[n:]
	return n, nil
}

// feed decodes p, or searches it for frames.
func (d *direction) feed(t time.Time, p []byte) {
	switch d.state {
	case synced:
		d.in = p
		d.decode(t)
		d.in = nil
	case searching:
		d.search(t, p)
	case failed:
		d.Undecoded += int64(len(p))
	}
}

// offset returns how many bytes were decoded or passed over.
func (d *direction) offset() int64 { return d.base + d.dec.InputOffset() }

// midFrame reports whether the last byte that was decoded is not the last one of a frame.
func (d *direction) midFrame() bool { return d.state == synced && d.offset() > d.start }

// decode decodes what has arrived.
func (d *direction) decode(t time.Time) {
	for {
		if d.offset() == d.start && len(d.in) > 0 {
			d.begun = t
		}
		if !d.inFrame {
			h, err := d.dec.Next()
			if err == errMore {
				return
			}
			d.header, d.inFrame, d.payload, d.missing, d.broken = h, true, d.payload[:0], 0, err
			if err != nil && !d.passOver(t, err) {
				return
			}
			d.keep()
		}
		if !d.readPayload() {
			return
		}
		d.finish(t)
	}
}

// readPayload reports whether the payload of the current frame is complete.
func (d *direction) readPayload() bool {
	if d.broken != nil {
		n := min(d.left, len(d.in))
		d.in = d.in[n:]
		d.left -= n
		d.base += int64(n)
		return d.left == 0
	}
	if d.keeps {
		var err error
		d.payload, err = d.dec.AppendPayload(d.payload)
		return err == nil
	}
	for d.dec.Unread() > 0 {
		if _, err := d.dec.Read(d.conn.set.scratch); err != nil {
			return false
		}
	}
	return true
}

// keep decides whether the payload of the current frame is kept.
func (d *direction) keep() {
	n := int(d.header.Length)
	set := d.conn.set
	d.keeps = d.broken == nil && (d.header.Command == wire.UPD || set.opts.Payloads && set.held+n <= set.maxHeld)
	if d.keeps {
		set.held += n
	}
}

// drop drops the payload of the current frame.
func (d *direction) drop() {
	if d.keeps {
		d.conn.set.held -= int(d.header.Length)
		d.keeps = false
	}
	if d.payload = d.payload[:0]; cap(d.payload) > maxSpare {
		d.payload = nil
	}
}

// maxSpare is the size of the largest buffer that a direction keeps for the next payload.
const maxSpare = 4 << 10

// finish handles the current frame, whose last byte has arrived.
func (d *direction) finish(t time.Time) {
	e := &Event{Kind: Frame, Time: t, Conn: d.conn, Dir: d.dir, Header: d.header, Offset: d.start,
		Took: t.Sub(d.begun), Missing: d.missing, Violation: d.broken}
	if d.header.Command == wire.UPD && d.broken == nil {
		e.Update, _ = wire.ParseWindowUpdate(d.payload) // the decoder has checked the length
	} else if d.keeps {
		e.Payload = d.payload
	}
	if d.conn.set.opts.Payloads && !d.keeps && d.broken == nil && d.header.Length > 0 {
		e.Meaning = "its data is not shown, because too many frames are incomplete"
	}
	d.inFrame = false
	d.start = d.offset()
	d.conn.handleFrame(e)
	d.drop()
}

// passOver begins to pass over the current frame, whose header breaks the protocol. If the length of the frame is not
// known, it reports false, and nothing more is decoded.
func (d *direction) passOver(t time.Time, err error) bool {
	unknown := errors.Is(err, wire.ErrCommand) || errors.Is(err, wire.ErrVersion) && !errors.Is(err, wire.ErrVersionMismatch)
	first := d.start == 0 && d.conn.Version == 0
	if unknown || first {
		d.fail(t, err)
		return false
	}
	// The decoder has ended. Another one goes on behind the frame.
	start := d.start
	d.reset(d.offset())
	d.start, d.inFrame, d.left = start, true, int(d.header.Length)
	return true
}

// reset has a new decoder begin at an offset.
func (d *direction) reset(offset int64) {
	d.drop()
	d.dec.Reset(d)
	d.base, d.start, d.inFrame, d.zeros = offset, offset, false, 0
}

// fail ends the decoding for an error of the decoder.
func (d *direction) fail(t time.Time, err error) {
	var b [wire.HeaderSize]byte
	bytes := append(d.header.Append(b[:0]), d.in...)
	d.Undecoded += int64(len(bytes))
	d.drop()
	d.state, d.in, d.inFrame = failed, nil, false
	if d.start == 0 && d.conn.Version == 0 {
		d.conn.set.NotSmux++
		d.conn.tell(Note, d.dir, t, "not smux: it begins with %x%s", bytes[:min(len(bytes), 12)], guess(bytes))
		d.conn.dirs[d.dir.Other()].giveUp()
		return
	}
	d.conn.tell(Problem, d.dir, t, "%v, at byte %d; the rest of this direction is not decoded", err, d.start)
}

// giveUp stops the decoding without a word, because the other direction is not smux.
func (d *direction) giveUp() {
	if d.state != synced || d.offset() == 0 {
		d.state = failed
		d.setPending(nil)
	}
}

// gap handles missing bytes.
func (d *direction) gap(t time.Time, n int64) {
	d.Missing += n
	d.behind = false // what waited comes now
	if d.state == failed || d.ended {
		return
	}
	if d.state == synced && d.inFrame && n > 0 && n <= int64(d.dec.Unread()) && d.header.Command == wire.PSH {
		// Where the payload ends is known: it has a hole, and all else is right.
		d.missing += int(n)
		d.zeros = int(n)
		d.conn.tell(Problem, d.dir, t, "%d bytes are missing in the data of stream %d", n, d.header.StreamID)
		d.decode(t)
		return
	}
	d.losses++
	count := "bytes are missing"
	if n > 0 {
		count = fmt.Sprintf("%d bytes are missing", n)
	}
	if d.state == searching {
		if d.why != midConnection || len(d.pending) > 0 {
			d.conn.tell(Problem, d.dir, t, "%s; still searching for a frame", count)
		}
		d.Undecoded += int64(len(d.pending))
		d.dropped += int64(len(d.pending)) + n
		d.setPending(nil)
		return
	}
	if d.midFrame() {
		count += fmt.Sprintf(" from byte %d on, within %s", d.offset(), d.partial())
	} else {
		count += fmt.Sprintf(" from byte %d on, between two frames", d.offset())
	}
	d.conn.tell(Problem, d.dir, t, "%s; searching for the next frame", count)
	d.drop()
	d.state, d.why, d.dropped = searching, "bytes are missing", d.offset()+n
}

// arrived returns how many bytes of data of a stream have arrived in the current frame, which is not complete.
func (d *direction) arrived(id uint32) int64 {
	if !d.inFrame || d.header.Command != wire.PSH || d.header.StreamID != id || d.broken != nil {
		return 0
	}
	return int64(d.header.Length) - int64(d.dec.Unread())
}

// partial says what of the current frame has arrived.
func (d *direction) partial() string {
	if !d.inFrame {
		return fmt.Sprintf("a header, of which %d of %d bytes have arrived", d.offset()-d.start, wire.HeaderSize)
	}
	have := int(d.header.Length) - d.dec.Unread() - d.left
	return fmt.Sprintf("a %v of stream %d, of which %d of %d bytes have arrived", d.header.Command, d.header.StreamID, have, d.header.Length)
}

// end handles the end of the direction.
func (d *direction) end(t time.Time, how Ending) {
	if d.ended {
		return
	}
	if d.state == searching {
		d.searchAtEnd(t)
	}
	d.ended = true
	defer d.drop()
	ends := map[Ending]string{EndFIN: "the connection ends", EndReset: "the connection was reset", EndSource: "the capture ends"}[how]
	switch {
	case d.midFrame():
		kind := Problem
		if how == EndReset {
			kind = Note
		}
		d.conn.tell(kind, d.dir, t, "%s within %s", ends, d.partial())
	case how == EndReset && d.conn.begun:
		d.conn.tell(Note, d.dir, t, "%s", ends)
	}
}

var _ io.Reader = (*direction)(nil)
