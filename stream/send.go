package stream

import (
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/buffer"
	"github.com/smuxkit/smuxkit/wire"
)

// The way of a byte out of a stream:
//
//	Write       copies it to pending, or lends its buffer as borrowed (write.go)
//	queueData   queues the stream; unlock then calls Notifier.SendData (effects.go)
//	AppendData  adds a frame with the byte to the session's batch (this file)
//
// From there on, session/writer.go goes on. The way in is in recv.go.

// A sendHalf is the sending half of a stream. It sends SYN, if this side opened the stream, then the pending data, then
// the borrowed data, then FIN.
//
//	sendGivenUp
//	   ^
//	 Linger
//	   |
//	sendOpen --CloseWrite, Close--> sendFINDue --FIN--> sendFINSent
//	   |                                |                    |
//	 Refuse           FIN, FIN (closed by then)          Close
//	   v                                v                    v
//	sendRefusalDue --refusal------> sendDone <---FIN--- sendFINDueAgain
//
// After Close, the second FIN says that both directions are closed. It is not sent if the peer's FIN has arrived: then
// Close changes sendFINSent to sendDone. Two changes to sendDone send no FIN, because it would say that the stream was
// complete: Close or CloseWrite after the session has begun to end, and the giving up of unsent data (linger.go). An
// open stream that gives up changes sendOpen to sendGivenUp.
type sendHalf struct {
	state  sendState
	peer   peerState
	frames frameSet // the control frames that are due

	writing        bool // a Write is in progress, and other Writes wait for it
	wroteSinceRead bool // this side has written since it last read
	lost           bool // data that Write had accepted was thrown away
	lingering      bool // the timer of startLinger runs
	giveUpNext     bool // the next GiveUp throws the data away

	window   flow.SendWindow // what the peer allows; in this place the field needs no padding
	unsent   int32           // bytes in pending
	charged  int32           // the size of the buffers in pending, which is charged to SendBudget
	borrows  int32           // how often batches refer to the buffer of a Write
	pending  buffer.Queue    // data that Writes have copied
	borrowed []byte          // the unsent part of the buffer of a Write, which waits
	writers  *waiters        // Writes that wait for their turn, for room or for the window
}

type sendState uint8

const (
	sendOpen        sendState = iota // Write takes data
	sendFINDue                       // closed for writing: FIN is sent after the data
	sendFINSent                      // FIN was sent
	sendFINDueAgain                  // FIN was sent, then the stream was closed, and FIN is sent again
	sendRefusalDue                   // refused before Write took any data: the refusal is sent
	sendDone                         // nothing more is sent
	sendGivenUp                      // nothing more is sent, and Write fails with ErrPeerClosed
)

// isFINDue reports whether a FIN is sent after the data.
func (x sendState) isFINDue() bool {
	return x == sendFINDue || x == sendFINDueAgain || x == sendRefusalDue
}

// isOver reports whether there is nothing more to send, unless the stream is closed later.
func (h *sendHalf) isOver() bool {
	return (h.state == sendFINSent || h.state >= sendDone) && h.unsent == 0 && !h.frames.has(frameSYN)
}

// peerState says what the stream knows of its peer:
//
//	peerOpen --FIN--> peerSentFIN --UPD--> peerStillReads
//	                       |                     |
//	                      FIN                   FIN
//	                       v                     |
//	                  peerClosed <---------------+
//
// With NoHalfClose, peerOpen changes to peerClosed at FIN. endLinger changes peerSentFIN to peerClosed.
type peerState uint8

const (
	peerOpen       peerState = iota // the peer has closed nothing
	peerSentFIN                     // FIN has arrived: the peer has closed one direction, or both
	peerStillReads                  // an update has arrived after FIN: the peer has closed one direction
	peerClosed                      // the peer has closed both directions
)

func (p *peerState) handleFIN(noHalfClose bool) {
	if *p == peerOpen && !noHalfClose {
		*p = peerSentFIN
	} else {
		*p = peerClosed
	}
}

func (p *peerState) handleUpdate() {
	if *p == peerSentFIN {
		*p = peerStillReads
	}
}

// A frameSet is a set of control frames.
type frameSet uint8

const (
	frameSYN frameSet = 1 << iota
	frameUPD
)

func (f frameSet) has(g frameSet) bool { return f&g != 0 }

// AppendControl adds the control frames that are due, SYN and UPD, to b. After that the stream is not queued for them,
// until the next SendControl.
func (c *Core) AppendControl(b *wire.Batch) {
	if c.s.appendQueuedSYN(b) {
		c.s.appendUpdate(b, c.s.notifier.Now())
	}
}

// appendQueuedSYN adds the SYN if it is due, and reports whether an update has to follow.
func (s *Stream) appendQueuedSYN(b *wire.Batch) (updateDue bool) {
	s.mu.Lock()
	defer s.unlock()
	s.queued &^= controlQueue
	s.appendSYN(b)
	if !s.needsWindow() {
		s.send.frames &^= frameUPD
	}
	return s.send.frames.has(frameUPD)
}

// appendUpdate adds the update that is due.
func (s *Stream) appendUpdate(b *wire.Batch, now time.Duration) {
	s.mu.Lock()
	defer s.unlock()
	s.send.frames &^= frameUPD
	if s.needsWindow() {
		consumed, window := s.recv.window.Update(s.shared.windows(), now)
		b.Update(s.header(wire.UPD), wire.WindowUpdate{Consumed: consumed, Window: window})
		s.timed.Store(s.recv.window.UsesTime())
	}
}

// AppendData adds a SYN, if it is due, and a frame with at most n bytes of data to b. If at most 1 KiB of data is left
// then, another frame takes it. A FIN that is due follows the last byte. Until b is released, it may refer to memory of
// the stream and to the buffer of a Write, which waits for that.
//
// With WriteThrough, [Core.HandleTaken] follows each call that has added something.
//
// AppendData reports whether there is more to send now. If not, the stream is not queued for data, until the next
// SendData.
func (c *Core) AppendData(b *wire.Batch, n int) (more bool) {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	before := b.Len()
	s.appendSYN(b)
	s.appendFrame(b, n)
	if rest := s.send.waiting(); rest > 0 && rest <= maxShortRest && !b.Full() && !s.isHeldBack() {
		s.appendFrame(b, rest) // a short rest is not worth a turn of its own
	}
	if s.finDue() {
		s.appendFIN(b)
	}
	if s.shared.WriteThrough && b.Len() > before {
		s.ensureExtras().given++
	}
	more = s.canSend()
	if !more {
		s.queued &^= dataQueue
		s.noteBlocked()
	}
	return more
}

const (
	// maxShortRest is the longest rest of a stream's data that is sent together with the frame before it.
	maxShortRest = 1 << 10
	// minRest is the shortest rest of a stream's data that appendFrame leaves for the next batch.
	minRest = 4 << 10
)

// waiting returns how many bytes of data are not sent yet.
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
	return s.send.waiting() == 0 && s.send.state.isFINDue()
}

// header returns the header of a frame without a payload.
func (s *Stream) header(c wire.Command) wire.Header {
	return wire.Header{Version: s.shared.Version, Command: c, StreamID: s.id}
}

// appendSYN adds the SYN if it is due.
func (s *Stream) appendSYN(b *wire.Batch) {
	if s.send.frames.has(frameSYN) {
		s.send.frames &^= frameSYN
		b.Frame(s.header(wire.SYN), nil)
		s.due.opened = true
	}
}

// appendFIN adds the end that is due: one FIN, two FINs, or a refusal.
func (s *Stream) appendFIN(b *wire.Batch) {
	fin := s.header(wire.FIN)
	refuses := s.send.state == sendRefusalDue
	if refuses {
		b.Frame(s.header(wire.PSH), nil)
		b.Frame(s.header(wire.PSH), nil)
	}
	b.Frame(fin, nil)
	switch {
	case s.send.state == sendFINDueAgain:
		s.send.state = sendDone
	case s.closed == notClosed:
		s.send.state = sendFINSent
		if s.needsUpdates() {
			// An update after FIN tells a smuxkit peer that this side still reads.
			s.queueUpdate(SendSoon)
		}
	default:
		s.send.state = sendDone
		if !s.recv.hasFIN() || refuses {
			b.Frame(fin, nil)
		}
		s.recv.window.Finish(s.shared.windows())
	}
	s.send.writers.wake() // calls of Flush
	s.noteDone()
}

// appendFrame adds one PSH frame with at most n bytes of data, if the window allows any.
func (s *Stream) appendFrame(b *wire.Batch, n int) {
	h := &s.send
	n = min(n, s.framePayload(), h.waiting())
	if s.isWindowed() {
		n = min(n, h.window.Available())
	}
	if n <= 0 || s.isHeldBack() {
		return
	}
	if room := b.Room(); n > room {
		if room < n-n/4 || h.waiting()-room < minRest {
			b.SetFull() // the next batch has room for a whole frame, and leaves no short rest
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
		b.SetFull() // the batch cannot take more parts
	}
	s.addSent(n - left)
	s.active = true
	s.noteSent(n - left)
}

// appendPending adds at most n pending bytes, from one buffer, and returns how many.
func (s *Stream) appendPending(b *wire.Batch, n int) int {
	h := &s.send
	head := h.pending.Head()
	n = min(n, head.Len())
	b.Payload(head.Bytes()[:n])
	head.R += n
	s.reduceUnsent(int32(n))
	if head.Len() == 0 {
		b.Retain(h.pending.Pop())
		s.uncharge(int32(len(head.Data)))
	}
	if h.charged > 2*h.unsent+buffer.Min {
		s.compact(b)
	}
	h.writers.wake()
	return n
}

// compact moves the pending data to smaller buffers, so that little data does not keep large ones. b retains the old
// ones, because it may refer to them.
func (s *Stream) compact(b *wire.Batch) {
	h := &s.send
	var small buffer.Queue
	charged := int32(0)
	for left := int(h.unsent); !h.pending.Empty(); {
		old := h.pending.Pop()
		for p := old.Bytes(); len(p) > 0; {
			tail := small.Tail()
			if tail == nil || len(tail.Room()) == 0 {
				tail = buffer.Get(left)
				charged += int32(len(tail.Data))
				small.Push(tail)
			}
			k := tail.Append(p)
			p = p[k:]
			left -= k
		}
		b.Retain(old)
	}
	h.pending = small
	s.uncharge(h.charged - charged)
}

// appendBorrowed adds n bytes from the buffer of the Write that waits, and returns n.
func (s *Stream) appendBorrowed(b *wire.Batch, n int) int {
	h := &s.send
	if b.Payload(h.borrowed[:n]) {
		h.borrows++
		b.Retain((*borrow)(s))
	}
	h.borrowed = h.borrowed[n:]
	if len(h.borrowed) == 0 {
		h.borrowed = nil // an empty slice would keep the caller's buffer in memory
		if h.borrows == 0 {
			h.writers.wake()
		}
	}
	return n
}

// A borrow is what a batch retains while it refers to the buffer of a Write. It is the Stream, by another type.
type borrow Stream

var _ wire.Releaser = (*borrow)(nil)

// Release says that the batch does not refer to the buffer any more.
func (b *borrow) Release() {
	s := (*Stream)(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.send
	h.borrows--
	if h.borrows == 0 && (len(h.borrowed) == 0 || s.limiter() != nil || s.writeErr() != nil) {
		h.writers.wake() // writeBorrowed returns in these cases
	}
}

// reduceUnsent accounts for n pending bytes that were sent or thrown away.
func (s *Stream) reduceUnsent(n int32) {
	s.send.unsent -= n
	if s.closed != notClosed {
		s.shared.closedUnsent.Add(-int64(n))
	}
}

// dropUnsent throws the pending data away.
func (s *Stream) dropUnsent() {
	if h := &s.send; h.unsent > 0 {
		h.lost = true
		s.reduceUnsent(h.unsent)
		// The buffers are not released, because a batch may refer to a part of the first one.
		h.pending = buffer.Queue{}
		s.uncharge(h.charged)
		h.writers.wake() // calls of Flush
	}
}

// uncharge returns n bytes of buffers to SendBudget.
func (s *Stream) uncharge(n int32) {
	s.send.charged -= n
	if b := s.shared.SendBudget; b != nil {
		b.Release(int(n))
	}
}

// HandleUpdate handles an UPD of the peer. It fails with a *[flow.ConsumedError] if the update breaks the protocol.
func (c *Core) HandleUpdate(u wire.WindowUpdate) error {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	if err := s.send.window.Update(u.Consumed, u.Window); err != nil {
		return err
	}
	s.send.peer.handleUpdate()
	s.active = true
	if s.recv.refusal == refusalLikely {
		s.ruleOutRefusal()
	}
	if len(s.send.borrowed) > 0 && s.queued&dataQueue == 0 && s.canSend() {
		s.send.writers.wake() // the Write that waits sends its data itself
		return nil
	}
	s.noteBlocked()
	if !s.awaitsBatch() {
		s.queueData(SendSoon)
	}
	return nil
}

// HasUnsent reports whether the stream has data, a FIN or a refusal that AppendData has not added to a batch yet.
func (c *Core) HasUnsent() bool {
	s := &c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send.unsent > 0 || s.send.state == sendFINDue || s.send.state == sendRefusalDue
}
