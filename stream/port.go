package stream

import (
	"time"

	"github.com/smuxkit/smuxkit/internal/buffer"
	"github.com/smuxkit/smuxkit/wire"
)

// A Port is a session's side of a Stream: what the session calls when frames
// arrive, and when it is the stream's turn to send. Its methods do not block; they
// may be called concurrently with those of the Stream and with each other, but for
// the two pairs that are noted.
type Port struct {
	s Stream
}

// Init makes p the port of a new stream. opened says that this side opened it, so
// that a SYN is to be sent. It must be called once, before anything else. It reports whether
// the session is to call Control.
func (p *Port) Init(cfg *Config, link Link, id uint32, opened bool) (control bool) {
	s := &p.s
	s.cfg, s.link, s.id = cfg, link, id
	s.synDue = opened
	if s.windowed() {
		s.updateDue = s.window.Open(cfg.Budget)
	}
	s.controlQueued = opened || s.updateDue
	return s.controlQueued
}

// Stream returns the application's side of p.
func (p *Port) Stream() *Stream { return &p.s }

// Outcome is what became of data that arrived.
type Outcome uint8

const (
	// Queued: it was put where a Read finds it, or thrown away as nobody will read.
	Queued Outcome = iota
	// Filling: it was put into the buffer of a Read, which waits for more: for
	// what Deliver or Commit add, or for Wake.
	Filling
	// Filled: a Read that waited has enough now and goes on.
	Filled
	// Answered is Filled where this side has written since it last read, as in a conversation.
	Answered
)

// Deliver hands over data that has arrived; it is copied. If more says that more of it
// is about to follow, a Read that waits may go on waiting for that.
//
// If the peer has sent further beyond its window than [flow.Share.MaxOverrun] allows, the stream
// is closed: its Reads and Writes fail with [flow.ErrWindow]. The same is true of Commit.
func (p *Port) Deliver(data []byte, more bool) Outcome {
	s := &p.s
	now := s.now()
	s.mu.Lock()
	if s.overrun(len(data), now) {
		s.mu.Unlock()
		s.close(closedByOverrun)
		return Queued
	}
	if s.in == inEnded || s.over() {
		s.mu.Unlock()
		return Queued
	}
	if s.discard {
		s.mu.Unlock()
		s.consumed(len(data))
		return Queued
	}
	defer s.mu.Unlock()
	if s.reading != nil && s.unread == 0 {
		n := copy(s.reading.room(), data)
		s.reading.n += n
		data = data[n:]
	}
	kept := len(data)
	if kept == 0 && more {
		return s.filledMore()
	}
	for len(data) > 0 {
		tail := s.queue.Tail()
		if tail == nil || len(tail.Room()) == 0 {
			tail = buffer.Get(len(data))
			s.queue.Push(tail)
		}
		data = data[tail.Append(data):]
	}
	if kept > 0 {
		s.keep(kept)
	}
	s.readers.wake()
	return s.woken()
}

// keep accounts for n bytes that were put into the queue.
func (s *Stream) keep(n int) {
	if s.unread == 0 {
		s.touched = s.cfg.round.Load()
	}
	s.unread += n
	s.cfg.Budget.Take(n)
}

// woken is the outcome if waiting Reads have been woken.
func (s *Stream) woken() Outcome {
	switch {
	case s.reading == nil:
		return Queued
	case s.spoke:
		return Answered
	}
	return Filled
}

// filledMore has a Read whose buffer has been filled some more go on if it has enough.
func (s *Stream) filledMore() Outcome {
	if s.reading.n >= fillEnough || len(s.reading.room()) < lendMin || s.readErr() != nil || s.endErr() != nil {
		s.readers.wake()
		return s.woken()
	}
	if s.reading.n == 0 {
		return Queued
	}
	return Filling
}

// Lend returns memory for up to n bytes of data that are still to be read from the
// transport, for the caller to fill and Commit. If brief says that Commit follows
// without waiting, it may be the buffer of a Read that waits; otherwise it is
// memory of the stream's own. It is nil if the data would be thrown away: the caller
// then reads it elsewhere and calls Deliver. Lend, Commit and Deliver are called by one
// goroutine, and Commit follows Lend.
func (p *Port) Lend(n int, brief bool) []byte {
	s := &p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == inEnded || s.discard || s.over() {
		return nil
	}
	if room := s.reading.room(); brief && s.unread == 0 && len(room) >= min(n, lendMin) && len(room) > 0 {
		s.lent = lentReader
		return room[:min(n, len(room))]
	}
	tail := s.queue.Tail()
	if tail == nil || len(tail.Room()) < min(n, lendMin) {
		tail = buffer.Get(n)
		s.queue.Push(tail)
	}
	s.lent = lentQueue
	room := tail.Room()
	return room[:min(n, len(room))]
}

// lendMin is the least free memory worth reading into: below it, another buffer
// is better.
const lendMin = 4 << 10

// fillEnough is how much is put into the buffer of a Read before it goes on: several
// frames for one switch between goroutines, and less than a peer's window.
const fillEnough = 64 << 10

// Commit says that the first n bytes of what Lend returned have been filled with
// data; n may be 0.
func (p *Port) Commit(n int) Outcome {
	s := &p.s
	now := s.now()
	s.mu.Lock()
	lent := s.lent
	s.lent = lentNone
	if s.overrun(n, now) {
		s.mu.Unlock()
		s.close(closedByOverrun)
		return Queued
	}
	result := Queued
	discarded := 0
	switch {
	case lent == lentReader:
		s.reading.n += n
		result = s.filledMore()
	case s.discard:
		s.queue.Free()
		discarded = n
	default:
		s.queue.Tail().W += n
		if n > 0 {
			s.keep(n)
			s.readers.wake()
			result = s.woken()
		}
		s.dropEmpty()
	}
	s.mu.Unlock()
	if discarded > 0 {
		s.consumed(discarded)
	}
	return result
}

// Wake ends the wait of a Read whose buffer Commit has partly filled.
func (p *Port) Wake() {
	s := &p.s
	s.mu.Lock()
	s.readers.wake()
	s.mu.Unlock()
}

// dropEmpty frees the queue's last buffer if it is empty, the only one, and not lent:
// an idle stream holds none.
func (s *Stream) dropEmpty() {
	if s.unread == 0 && s.lent != lentQueue {
		s.queue.Free()
	}
}

// End says that the peer's FIN has arrived.
func (p *Port) End() {
	s := &p.s
	s.mu.Lock()
	if s.in == inEnded {
		// The second FIN: the peer has closed both directions.
		s.peerClosed = true
		s.dropUnsent()
		s.writers.wake()
	}
	s.in = inEnded
	s.window.Finish(s.cfg.Budget)
	s.readers.wake()
	submit := s.finDue() && !s.dataQueued
	s.dataQueued = s.dataQueued || submit
	s.linger()
	done := s.finish()
	s.mu.Unlock()
	if submit {
		s.link.SendData(Lazily)
	}
	if done {
		s.link.Finished()
	}
}

// WindowUpdate says that an UPD has arrived. An error means that it makes no sense.
func (p *Port) WindowUpdate(u wire.WindowUpdate) error {
	s := &p.s
	s.mu.Lock()
	if err := s.credit.Update(u.Consumed, u.Window); err != nil {
		s.mu.Unlock()
		return err
	}
	s.halfClosed = s.in == inEnded
	submit := false
	if s.sendable() && !s.dataQueued {
		if len(s.lending) > 0 {
			// The Write that waits sends for itself.
			s.writers.wake()
		} else {
			s.dataQueued, submit = true, true
		}
	}
	s.mu.Unlock()
	if submit {
		s.link.SendData(Soon)
	}
	return nil
}

// An Ending says how much of a stream goes on after Abort.
type Ending uint8

const (
	// DropWritten: nothing. What arrived before can still be read.
	DropWritten Ending = iota
	// KeepWritten: what Write has accepted is still handed out by Data, and a FIN
	// behind it if the stream was closed before. What has not been read is thrown
	// away. Another Abort follows.
	KeepWritten
	// KeepReading: more may still arrive. Another Abort follows.
	KeepReading
)

// Abort says that the session is ending, for reason err: calls that are blocked end, and
// so will those to come. Reads first get what has arrived.
func (p *Port) Abort(err error, how Ending) {
	s := &p.s
	s.mu.Lock()
	if s.err == nil {
		s.err = err
		s.arriving = how == KeepReading
	} else if how != KeepReading {
		s.arriving = false
	}
	s.sending = how == KeepWritten
	dropped := 0
	submit := false
	if how == KeepWritten {
		dropped = s.dropUnread()
		s.bulk.end()
		submit = s.sendable() && !s.dataQueued
		s.dataQueued = s.dataQueued || submit
	} else {
		s.dropUnsent()
	}
	s.readers.wake()
	s.writers.wake()
	s.mu.Unlock()
	if dropped > 0 {
		s.cfg.Budget.Return(dropped)
	}
	if submit {
		s.link.SendData(Soon)
	}
}

// Unsent reports whether the stream has accepted data, or a close, that Data has
// not handed out yet.
func (p *Port) Unsent() bool {
	s := &p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsent > 0 || s.out == outFinishing
}

// over reports whether no more data will come because the session has ended.
func (s *Stream) over() bool { return s.err != nil && !s.arriving }

// Stalled returns how many bytes wait for their reader, if some did when the round began and the
// reader has taken nothing since; otherwise 0.
func (p *Port) Stalled(round uint64) int {
	s := &p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stalled(round)
}

func (s *Stream) stalled(round uint64) int {
	if s.touched >= round {
		return 0
	}
	return s.unread
}

// Fail closes the stream if it is Stalled, because what it holds is needed. Its Reads and Writes
// fail with [ErrStalled]. Fail returns how many unread bytes were thrown away.
func (p *Port) Fail(round uint64) int {
	s := &p.s
	s.mu.Lock()
	stalled := s.stalled(round) > 0
	if stalled {
		s.discard, s.closedBy = true, closedByStall // no Read gets in between
	}
	s.mu.Unlock()
	if !stalled {
		return 0
	}
	dropped, _ := s.close(closedByStall)
	return dropped
}

// Reclaim lowers the receive window of a stream that does not use it, as
// flow.ReceiveWindow.Reclaim does. It reports whether the session is to call Control, and
// whether a call later may lower the window that this one left.
func (p *Port) Reclaim() (control, later bool) {
	s := &p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.receives() || s.err != nil {
		return false, false
	}
	due, later := s.window.Reclaim(s.cfg.Budget)
	if !due {
		return false, later
	}
	return s.queueUpdate(), false
}

// sent says that n bytes of what Write has accepted need not be kept any more.
func (s *Stream) sent(n int32) {
	s.unsent -= n
	if s.closed {
		s.cfg.kept.Add(-int64(n))
	}
}

// dropUnsent throws away what Write has accepted.
func (s *Stream) dropUnsent() {
	if s.unsent > 0 {
		s.lost = true
		s.sent(s.unsent)
		// Not freed: a batch may refer to a part of the first buffer.
		s.pending = buffer.Queue{}
		s.release(s.held)
	}
}

// Control adds to b what the stream has to say beside its data: SYN, UPD. opened
// reports whether SYN was part of that.
func (p *Port) Control(b *Batch) (opened bool) {
	s := &p.s
	now := s.now()
	s.mu.Lock()
	s.controlQueued = false
	opened = s.takeSYN(b)
	if s.updateDue {
		s.updateDue = false
		if s.receives() {
			consumed, window := s.window.Update(s.cfg.Budget, now)
			b.update(s.header(wire.UPD, wire.UpdateSize), wire.WindowUpdate{Consumed: consumed, Window: window})
		}
	}
	s.mu.Unlock()
	return opened
}

// Data adds the stream's next frame to b, with about n bytes of data at the most,
// and reports whether there is more to send now. SYN goes before it if it is due,
// FIN behind the last data; opened reports whether SYN was. Data is called by one goroutine
// at a time.
func (p *Port) Data(b *Batch, n int) (more, opened bool) {
	s := &p.s
	control := false
	s.mu.Lock()
	opened = s.takeSYN(b)
	s.takeData(b, n)
	if rest := int(s.unsent) + len(s.lending); rest > 0 && rest <= copyMax && !b.Full() && !s.heldBack() {
		s.takeData(b, rest) // a short end is not worth a turn of its own
	}
	if s.finDue() {
		if s.out == outFinishing {
			b.Frame(s.header(wire.FIN, 0), nil)
			s.out = outFinished
			if s.closed {
				s.window.Finish(s.cfg.Budget)
			} else if s.receives() {
				// An update behind FIN tells a peer like this one that FIN was not the last word.
				control = s.queueUpdate()
			}
		}
		if s.finAgain {
			b.Frame(s.header(wire.FIN, 0), nil)
			s.finAgain = false
		}
	}
	more = s.sendable()
	s.dataQueued = more
	s.linger()
	done := s.finish()
	s.mu.Unlock()
	if control {
		s.link.SendControl(Soon)
	}
	if done {
		s.link.Finished()
	}
	return more, opened
}

// sendable reports whether Data would find something to send.
func (s *Stream) sendable() bool {
	if s.unsent > 0 || len(s.lending) > 0 {
		return !s.heldBack() && (!s.windowed() || s.credit.Available() > 0)
	}
	return s.finDue()
}

// heldBack reports whether what waits to be sent waits for the next Write to fill a frame.
func (s *Stream) heldBack() bool {
	return s.bulk.holding() && len(s.lending) == 0 && int(s.unsent) < s.frame()
}

// finDue reports whether a FIN is the next thing to send.
func (s *Stream) finDue() bool {
	return s.unsent == 0 && len(s.lending) == 0 && (s.out == outFinishing || s.finAgain)
}

func (s *Stream) takeSYN(b *Batch) bool {
	if !s.synDue {
		return false
	}
	s.synDue = false
	b.Frame(s.header(wire.SYN, 0), nil)
	return true
}

// takeData moves one PSH frame of at most n bytes to b, as the window allows.
func (s *Stream) takeData(b *Batch, n int) {
	total := int(s.unsent) + len(s.lending)
	n = min(n, s.frame(), total)
	if s.windowed() {
		n = min(n, s.credit.Available())
	}
	if n <= 0 || s.heldBack() {
		return
	}
	if room := b.room(); n > room {
		if room < n-n/4 || total-room < leastRoom {
			b.full = true // rather than send a short frame, or leave a short rest
			return
		}
		n = room
	}
	start := b.begin(s.header(wire.PSH, n))
	left := n
	for left > 0 && s.unsent > 0 && b.takesData() {
		left -= s.takePending(b, left)
	}
	if left > 0 && s.unsent == 0 && b.takesData() {
		left -= s.takeLending(b, left)
	}
	if left > 0 {
		b.full = true // it has no room for so many parts
		n -= left
		b.end(start, s.header(wire.PSH, n))
	}
	s.credit.Sent(n)
}

// takePending moves at most n pending bytes, of one buffer, to the frame that b has begun, and
// returns how many.
func (s *Stream) takePending(b *Batch, n int) int {
	head := s.pending.Head()
	n = min(n, head.Len())
	b.data(head.Bytes()[:n])
	head.R += n
	s.sent(int32(n))
	if head.Len() == 0 {
		b.buffers = append(b.buffers, s.pending.Pop())
		s.release(int32(len(head.Data)))
	}
	if s.held > 2*s.unsent+buffer.Min {
		s.compact(b)
	}
	s.writers.wake()
	return n
}

// compact moves what is pending to smaller buffers. b gets the old ones: it may refer to them.
func (s *Stream) compact(b *Batch) {
	var small buffer.Queue
	held := int32(0)
	for left := int(s.unsent); !s.pending.Empty(); {
		old := s.pending.Pop()
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
		b.buffers = append(b.buffers, old)
	}
	s.pending = small
	s.release(s.held - held)
}

// takeLending does the same for the buffer of a Write that waits.
func (s *Stream) takeLending(b *Batch, n int) int {
	if b.data(s.lending[:n]) {
		s.loans++
		b.loans = append(b.loans, s)
	}
	s.lending = s.lending[n:]
	if len(s.lending) == 0 {
		s.lending = nil // an empty slice would keep the caller's buffer from being freed
		if s.loans == 0 {
			s.writers.wake()
		}
	}
	return n
}

// returnLoan ends one use of the buffer of a Write.
func (s *Stream) returnLoan() {
	s.mu.Lock()
	s.loans--
	if s.loans == 0 && (len(s.lending) == 0 || s.rate != nil || s.writeErr() != nil) {
		s.writers.wake()
	}
	s.mu.Unlock()
}

func (s *Stream) header(c wire.Command, n int) wire.Header {
	return wire.Header{Version: s.cfg.Version, Command: c, Length: uint16(n), StreamID: s.id}
}

// overrun accounts for n bytes of data from the peer. It reports whether the stream is to be closed because
// they are too far beyond its window: a little beyond it are those that send with several goroutines.
func (s *Stream) overrun(n int, now time.Duration) bool {
	if n == 0 || !s.receives() {
		return false
	}
	err := s.window.Received(n, now, s.cfg.Budget.MaxOverrun())
	return err != nil && !s.closed && !s.over()
}

// receives reports whether the peer needs a window. After Close it does as long as there is data
// that waits to be sent, although nobody reads: the peer may have closed the stream as well, and
// if neither made room, neither's FIN would get past its data.
func (s *Stream) receives() bool {
	return s.windowed() && s.in == inOpen && !(s.closed && s.unsent == 0)
}
