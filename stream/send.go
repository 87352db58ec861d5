package stream

import (
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/buffer"
	"github.com/smuxkit/smuxkit/wire"
)

// A sendHalf is the sending half of a stream. What goes out is: SYN, if this side opened the stream; then
// what is pending; then what is borrowed; then FIN.
//
//	sendOpen --CloseWrite, Close--> sendFINDue --FIN--> sendFINSent
//	                                    |                    |
//	                        FIN, FIN if closed             Close
//	                                    v                    v
//	                                sendDone <---FIN--- sendFINDueAgain
//
// After Close the second FIN says that both directions are closed; it is left out if the peer's FIN has
// come. Every state goes to sendDone, without a FIN, when the session sends no more, or when a closed
// stream gives up what it has yet to send: FIN would say that the stream was complete.
type sendHalf struct {
	state  sendState
	peer   peerReader
	frames frameSet // control frames that are due

	writing        bool // a Write is under way, others wait for their turn
	wroteSinceRead bool // this side has written since it last read
	lost           bool // data that Write accepted was thrown away
	lingering      bool // the timer of startLinger runs
	marked         bool // the next GiveUp takes the stream

	window   flow.SendWindow // the peer's; here it leaves no gap in the memory
	unsent   int32           // bytes in pending
	held     int32           // bytes that the buffers of pending take, charged to SendBudget
	borrows  int32           // how often a batch refers to the buffer of a Write
	pending  buffer.Queue    // what Writes have copied
	borrowed []byte          // what is left of the buffer of a Write, which waits
	writers  *waiters        // for a turn, for room or for the window
}

type sendState uint8

const (
	sendOpen        sendState = iota // Write takes data
	sendFINDue                       // closed for writing: FIN goes out behind the data
	sendFINSent                      // FIN has gone out
	sendFINDueAgain                  // and is to go out again, as the stream was closed since
	sendDone                         // nothing more goes out
)

// isOver reports whether everything has gone out that will, unless the stream is closed later.
func (h *sendHalf) isOver() bool {
	return (h.state == sendFINSent || h.state == sendDone) && h.unsent == 0 && !h.frames.has(frameSYN)
}

// peerReader says what is known of the peer's reading side:
//
//	readerOpen --FIN--> readerUnknown --UPD--> readerStays
//	                         |                      |
//	                        FIN                    FIN
//	                         v                      |
//	                     readerGone <---------------+
type peerReader uint8

const (
	readerOpen    peerReader = iota // the peer has closed nothing
	readerUnknown                   // FIN has come: the peer has closed one direction, or both
	readerStays                     // an update came behind FIN: it has closed one direction
	readerGone                      // a second FIN has come: it has closed both
)

func (p *peerReader) handleFIN() {
	if *p == readerOpen {
		*p = readerUnknown
	} else {
		*p = readerGone
	}
}

func (p *peerReader) handleUpdate() {
	if *p == readerUnknown {
		*p = readerStays
	}
}

// A frameSet is a set of control frames.
type frameSet uint8

const (
	frameSYN frameSet = 1 << iota
	frameUPD
)

func (f frameSet) has(g frameSet) bool { return f&g != 0 }

// AppendControl adds to b what the stream has to say beside its data: SYN, UPD. The stream is out
// of the line for control frames then.
func (c *Core) AppendControl(b *wire.Batch) {
	s := &c.s
	now := s.now()
	s.mu.Lock()
	defer s.unlock()
	s.inLine &^= controlLine
	s.appendSYN(b)
	if s.send.frames.has(frameUPD) {
		s.send.frames &^= frameUPD
		if s.receives() {
			consumed, window := s.recv.window.Update(s.shared.Budget, now)
			b.Update(s.header(wire.UPD), wire.WindowUpdate{Consumed: consumed, Window: window})
		}
	}
}

// AppendData adds the stream's next frame to b, with about n bytes of data at the most,
// and reports whether there is more to send now: if not, the stream is out of the line for data. SYN goes
// before the data if it is due, FIN behind the last of it. AppendData is called by one goroutine at a time.
func (c *Core) AppendData(b *wire.Batch, n int) (more bool) {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	s.appendSYN(b)
	s.appendFrame(b, n)
	if rest := s.send.waiting(); rest > 0 && rest <= shortRest && !b.Full() && !s.isHeldBack() {
		s.appendFrame(b, rest) // a short end is not worth a turn of its own
	}
	if s.finDue() {
		s.appendFIN(b)
	}
	more = s.canSend()
	if !more {
		s.inLine &^= dataLine
	}
	return more
}

const (
	// shortRest is up to which length the rest of a stream's data goes with the frame before it.
	shortRest = 1 << 10
	// minRest is the least rest of a stream's data that is left for the next batch.
	minRest = 4 << 10
)

// waiting returns how many bytes wait to be sent.
func (h *sendHalf) waiting() int { return int(h.unsent) + len(h.borrowed) }

// canSend reports whether AppendData would find something to send.
func (s *Stream) canSend() bool {
	if s.send.waiting() > 0 {
		return !s.isHeldBack() && (!s.isWindowed() || s.send.window.Available() > 0)
	}
	return s.finDue()
}

// finDue reports whether a FIN is the next thing to send.
func (s *Stream) finDue() bool {
	return s.send.waiting() == 0 && (s.send.state == sendFINDue || s.send.state == sendFINDueAgain)
}

func (s *Stream) header(c wire.Command) wire.Header {
	return wire.Header{Version: s.shared.Version, Command: c, StreamID: s.id}
}

func (s *Stream) appendSYN(b *wire.Batch) {
	if s.send.frames.has(frameSYN) {
		s.send.frames &^= frameSYN
		b.Frame(s.header(wire.SYN), nil)
		s.due.opened = true
	}
}

// appendFIN adds the FIN that is due, or both.
func (s *Stream) appendFIN(b *wire.Batch) {
	fin := s.header(wire.FIN)
	b.Frame(fin, nil)
	switch {
	case s.send.state == sendFINDueAgain:
		s.send.state = sendDone
	case s.closed == notClosed:
		s.send.state = sendFINSent
		if s.needsUpdates() {
			// An update behind FIN tells a peer like this one that FIN was not the last word.
			s.queueUpdate(SendSoon)
		}
	default:
		s.send.state = sendDone
		if !s.recv.hasFIN() {
			b.Frame(fin, nil)
		}
		s.recv.window.Finish(s.shared.Budget)
	}
}

// appendFrame adds one PSH frame of at most n bytes, as the window allows.
func (s *Stream) appendFrame(b *wire.Batch, n int) {
	h := &s.send
	n = min(n, s.maxFrame(), h.waiting())
	if s.isWindowed() {
		n = min(n, h.window.Available())
	}
	if n <= 0 || s.isHeldBack() {
		return
	}
	if room := b.Room(); n > room {
		if room < n-n/4 || h.waiting()-room < minRest {
			b.SetFull() // rather than send a short frame, or leave a short rest
			return
		}
		n = room
	}
	b.Begin(s.header(wire.PSH))
	left := n
	for left > 0 && h.unsent > 0 && b.TakesPayload() {
		left -= s.appendPending(b, left)
	}
	if left > 0 && h.unsent == 0 && b.TakesPayload() {
		left -= s.appendBorrowed(b, left)
	}
	b.End()
	if left > 0 {
		b.SetFull() // it has no room for more pieces
	}
	h.window.Sent(n - left)
}

// appendPending adds at most n pending bytes, of one buffer, and returns how many.
func (s *Stream) appendPending(b *wire.Batch, n int) int {
	h := &s.send
	head := h.pending.Head()
	n = min(n, head.Len())
	b.Payload(head.Bytes()[:n])
	head.R += n
	s.noteSent(int32(n))
	if head.Len() == 0 {
		b.Retain(h.pending.Pop())
		s.release(int32(len(head.Data)))
	}
	if h.held > 2*h.unsent+buffer.Min {
		s.compact(b)
	}
	h.writers.wake()
	return n
}

// compact moves what is pending to smaller buffers. b gets the old ones: it may refer to them.
func (s *Stream) compact(b *wire.Batch) {
	h := &s.send
	var small buffer.Queue
	held := int32(0)
	for left := int(h.unsent); !h.pending.Empty(); {
		old := h.pending.Pop()
		for p := old.Bytes(); len(p) > 0; {
			tail := small.Tail()
			if tail == nil || len(tail.Room()) == 0 {
				tail = buffer.Get(left)
				held += int32(len(tail.Data))
				small.Push(tail)
			}
			k := tail.Append(p)
			p = p[k:]
			left -= k
		}
		b.Retain(old)
	}
	h.pending = small
	s.release(h.held - held)
}

// appendBorrowed adds n bytes from the buffer of a Write that waits, and returns n.
func (s *Stream) appendBorrowed(b *wire.Batch, n int) int {
	h := &s.send
	if b.Payload(h.borrowed[:n]) {
		h.borrows++
		b.Retain((*borrow)(s))
	}
	h.borrowed = h.borrowed[n:]
	if len(h.borrowed) == 0 {
		h.borrowed = nil // an empty slice would keep the caller's buffer from being freed
		if h.borrows == 0 {
			h.writers.wake()
		}
	}
	return n
}

// A borrow is a Stream to a batch that refers to the buffer of one of its Writes.
type borrow Stream

var _ wire.Releaser = (*borrow)(nil)

// Release ends one use of that buffer.
func (b *borrow) Release() {
	s := (*Stream)(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.send
	h.borrows--
	if h.borrows == 0 && (len(h.borrowed) == 0 || s.limiter() != nil || s.writeErr() != nil) {
		h.writers.wake()
	}
}

// noteSent notes that n bytes of what Write has copied need not be kept any more.
func (s *Stream) noteSent(n int32) {
	s.send.unsent -= n
	if s.closed != notClosed {
		s.shared.closedUnsent.Add(-int64(n))
	}
}

// dropUnsent throws away what Write has copied.
func (s *Stream) dropUnsent() {
	if h := &s.send; h.unsent > 0 {
		h.lost = true
		s.noteSent(h.unsent)
		// Not freed: a batch may refer to a part of the first buffer.
		h.pending = buffer.Queue{}
		s.release(h.held)
	}
}

// release gives n bytes of buffers back to SendBudget.
func (s *Stream) release(n int32) {
	s.send.held -= n
	if b := s.shared.SendBudget; b != nil {
		b.Return(int(n))
	}
}

// HandleUpdate notes that an UPD has arrived. An error means that the update makes no sense.
func (c *Core) HandleUpdate(u wire.WindowUpdate) error {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	if err := s.send.window.Update(u.Consumed, u.Window); err != nil {
		return err
	}
	s.send.peer.handleUpdate()
	if len(s.send.borrowed) > 0 && s.inLine&dataLine == 0 && s.canSend() {
		s.send.writers.wake() // the Write that waits sends for itself
		return nil
	}
	s.queueData(SendSoon)
	return nil
}

// HasUnsent reports whether the stream has accepted data, or a close, that AppendData has
// not handed out yet.
func (c *Core) HasUnsent() bool {
	s := &c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send.unsent > 0 || s.send.state == sendFINDue
}

// startLinger sees to it that a closed stream does not wait for ever for the window of a peer that has
// forgotten it, as xtaci/smux does when it closes a stream, or of one that means harm.
func (s *Stream) startLinger() {
	h := &s.send
	if s.closed == notClosed || h.unsent == 0 || h.lingering || s.session != sessionUp || s.canSend() {
		return
	}
	h.lingering = true
	waiting := h.unsent
	time.AfterFunc(s.shared.linger(), func() { s.endLinger(waiting) })
}

// endLinger is called when Linger has passed since so many bytes waited. If some have gone since, or the peer
// may read the rest some day, unlock starts again.
func (s *Stream) endLinger(waiting int32) {
	s.mu.Lock()
	defer s.unlock()
	h := &s.send
	h.lingering = false
	if h.unsent == waiting && !s.canSend() && s.session == sessionUp && !s.peerMayRead() {
		s.giveUp()
	}
}

// peerMayRead reports whether the peer may be one that reads on some day, and what closed streams keep for
// such peers is not too much.
func (s *Stream) peerMayRead() bool {
	p := s.send.peer
	return (p == readerOpen || p == readerStays) && s.shared.closedUnsent.Load() <= s.shared.maxClosedUnsent()
}

// GiveUp throws away what a stream that was closed has yet to send, and reports whether there was
// something: its session can send nothing. The first call only marks the stream, so that one that
// was closed a moment ago keeps its data until the next.
func (c *Core) GiveUp() bool {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	if s.closed == notClosed || s.send.unsent == 0 {
		return false
	}
	if !s.send.marked {
		s.send.marked = true
		return false
	}
	s.giveUp()
	return true
}

// giveUp does that for a closed stream.
func (s *Stream) giveUp() {
	s.dropUnsent()
	s.send.state = sendDone
	s.recv.window.Finish(s.shared.Budget)
}
