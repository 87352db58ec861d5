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

// Deliver hands over data that has arrived; it is copied. open is false if this side has
// closed the stream, so that the data was thrown away and its sender should know. An error
// means that the peer broke the rules of flow control.
func (p *Port) Deliver(data []byte) (open bool, err error) {
	s := &p.s
	now := s.now()
	s.mu.Lock()
	open, err = s.arrived(len(data), now)
	if !open || err != nil || s.in == inEnded || s.over() {
		s.mu.Unlock()
		return open, err
	}
	if s.discard {
		s.mu.Unlock()
		s.consumed(len(data))
		return true, nil
	}
	if s.reading != nil && s.unread == 0 && s.lent == lentNone {
		n := copy(s.reading[s.filled:], data)
		s.filled += n
		data = data[n:]
	}
	kept := len(data)
	for len(data) > 0 {
		tail := s.queue.Tail
		if tail == nil || s.lent == lentQueue || len(tail.Room()) == 0 {
			tail = buffer.Get(len(data))
			s.queue.Push(tail)
		}
		data = data[tail.Append(data):]
	}
	s.unread += kept
	if kept > 0 {
		s.cfg.Budget.Take(kept)
	}
	s.readers.wake()
	s.mu.Unlock()
	return true, nil
}

// Lend returns memory for up to n bytes of data that are still to be read from the
// transport, for the caller to fill and Commit. It is the buffer of a waiting Read if brief
// says that Commit follows without waiting, and otherwise memory of the stream's
// own. It is nil if the data would be thrown away: the caller then reads it
// elsewhere and calls Deliver. Lend and Commit are called by one goroutine, in
// turns, and no Deliver between them.
func (p *Port) Lend(n int, brief bool) []byte {
	s := &p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == inEnded || s.discard || s.over() {
		return nil
	}
	if free := s.reading[s.filled:]; brief && s.unread == 0 && len(free) >= min(n, lendMin) {
		s.lent = lentReader
		return free[:min(n, len(free))]
	}
	tail := s.queue.Tail
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

// Commit says that the first n bytes of what Lend returned have been filled with
// data, n may be 0. Its results are those of Deliver.
func (p *Port) Commit(n int) (open bool, err error) {
	s := &p.s
	now := s.now()
	s.mu.Lock()
	lent := s.lent
	s.lent = lentNone
	open, err = s.arrived(n, now)
	switch {
	case lent == lentReader:
		s.filled += n
		// A Read whose time is up waits for the loan to end.
		s.readers.wake()
	case s.discard:
		s.queue.Free()
	default:
		tail := s.queue.Tail
		tail.W += n
		s.unread += n
		if n > 0 {
			s.cfg.Budget.Take(n)
		}
		s.dropEmpty()
		s.readers.wake()
	}
	discarded := s.discard && !s.closed && n > 0
	s.mu.Unlock()
	if discarded {
		s.consumed(n)
	}
	return open, err
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
	done := s.finish()
	s.mu.Unlock()
	if submit {
		s.link.SendData(Lazily)
	}
	if done {
		s.link.Finished(true)
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
	// KeepWritten: what Write has accepted is still handed out by Data.
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
	}
	s.arriving = how == KeepReading
	if how != KeepWritten {
		s.dropUnsent()
	}
	s.readers.wake()
	s.writers.wake()
	s.mu.Unlock()
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

// dropUnsent throws away what Write has accepted.
func (s *Stream) dropUnsent() {
	if s.unsent > 0 {
		s.lost = true
		s.unsent = 0
		// Not freed: a batch may refer to a part of the first buffer.
		s.pending = buffer.Queue{}
	}
}

// Control adds to b what the stream has to say beside its data: SYN, UPD.
func (p *Port) Control(b *Batch) {
	s := &p.s
	now := s.now()
	s.mu.Lock()
	s.controlQueued = false
	s.takeSYN(b)
	if s.updateDue {
		s.updateDue = false
		if s.in == inOpen && !s.closed {
			consumed, window := s.window.Update(s.cfg.Budget, now)
			b.update(s.header(wire.UPD, wire.UpdateSize), wire.WindowUpdate{Consumed: consumed, Window: window})
		}
	}
	s.mu.Unlock()
}

// Data adds the stream's next frame to b, with about n bytes of data at the most,
// and reports whether there is more to send now. SYN goes before it if it is due,
// FIN behind the last data. Data is called by one goroutine at a time.
func (p *Port) Data(b *Batch, n int) (more bool) {
	s := &p.s
	s.mu.Lock()
	s.takeSYN(b)
	s.takeData(b, min(n, s.cfg.MaxFrame))
	if rest := s.unsent + len(s.lending); rest > 0 && rest <= copyMax && !b.Full() {
		// A short end is not worth a transport write of its own.
		s.takeData(b, min(rest, s.cfg.MaxFrame))
	}
	if s.finDue() {
		if s.out == outFinishing {
			b.Frame(s.header(wire.FIN, 0), nil)
			s.out = outFinished
		}
		if s.finAgain {
			b.Frame(s.header(wire.FIN, 0), nil)
			s.finAgain = false
		}
	}
	more = s.sendable()
	s.dataQueued = more
	done := s.finish()
	peerDone := s.in == inEnded
	s.mu.Unlock()
	if done {
		s.link.Finished(peerDone)
	}
	return more
}

// sendable reports whether Data would find something to send.
func (s *Stream) sendable() bool {
	if s.unsent > 0 || len(s.lending) > 0 {
		return !s.windowed() || s.credit.Available() > 0
	}
	return s.finDue()
}

// finDue reports whether a FIN is the next thing to send.
func (s *Stream) finDue() bool {
	return s.unsent == 0 && len(s.lending) == 0 && (s.out == outFinishing || s.finAgain)
}

func (s *Stream) takeSYN(b *Batch) {
	if s.synDue {
		s.synDue = false
		b.Frame(s.header(wire.SYN, 0), nil)
	}
}

// takeData moves one PSH frame of at most n bytes to b, as the window allows.
func (s *Stream) takeData(b *Batch, n int) {
	if s.windowed() {
		n = min(n, s.credit.Available())
	}
	if n <= 0 {
		return
	}
	switch {
	case s.unsent > 0:
		head := s.pending.Head
		n = min(n, head.Len())
		b.payload(s.header(wire.PSH, n), head.Bytes()[:n])
		head.R += n
		s.unsent -= n
		if head.Len() == 0 {
			b.buffers = append(b.buffers, s.pending.Pop())
		}
		s.writers.wake()
	case len(s.lending) > 0:
		n = min(n, len(s.lending))
		if b.payload(s.header(wire.PSH, n), s.lending[:n]) {
			s.loans++
			b.loans = append(b.loans, s)
		}
		s.lending = s.lending[n:]
		if len(s.lending) == 0 && s.loans == 0 {
			s.writers.wake()
		}
	default:
		return
	}
	s.credit.Sent(n)
}

// returnLoan ends one use of the buffer of a Write.
func (s *Stream) returnLoan() {
	s.mu.Lock()
	s.loans--
	if s.loans == 0 && (len(s.lending) == 0 || s.writeErr() != nil) {
		s.writers.wake()
	}
	s.mu.Unlock()
}

func (s *Stream) header(c wire.Command, n int) wire.Header {
	return wire.Header{Version: s.cfg.Version, Command: c, Length: uint16(n), StreamID: s.id}
}

// arrived accounts for n bytes of data from the peer and reports whether this side
// still has the stream open.
func (s *Stream) arrived(n int, now time.Duration) (open bool, err error) {
	if s.windowed() && s.in == inOpen && !s.closed && n > 0 {
		if err := s.window.Received(n, now); err != nil {
			return true, err
		}
	}
	return !s.closed, nil
}
