package stream

import (
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/buffer"
)

// A recvHalf is the receiving half of a stream. Unread data lies in its queue.
//
//	recvOpen -------FIN------> recvComplete
//	   |                           |
//	CloseRead, Close           CloseRead, Close
//	   v                           v
//	recvDiscarding ---FIN----> recvDone
//
// Of a session that is closing (sessionSends) nothing is read any more: its streams go the way of
// CloseRead.
type recvHalf struct {
	state   recvState
	memory  reservation
	window  flow.ReceiveWindow
	queue   buffer.Queue // unread bytes, all from before the peer's FIN
	unread  int          // how many
	touched uint64       // the round in which the queue was last read from, or was empty; see Stalled
	reading *reading     // a Read that found nothing, and waits
	readers *waiters     // for something to read
}

type recvState uint8

const (
	recvOpen       recvState = iota // data may arrive, and is for Read
	recvComplete                    // FIN has come: Read returns what is queued, then io.EOF
	recvDiscarding                  // nobody reads: data may arrive, and is thrown away
	recvDone                        // nobody reads, and FIN has come
)

// hasFIN reports whether the peer's FIN has come.
func (h *recvHalf) hasFIN() bool { return h.state == recvComplete || h.state == recvDone }

// discards reports whether this side reads no more.
func (h *recvHalf) discards() bool { return h.state == recvDiscarding || h.state == recvDone }

// handleFIN notes the peer's FIN.
func (h *recvHalf) handleFIN() {
	switch h.state {
	case recvOpen:
		h.state = recvComplete
	case recvDiscarding:
		h.state = recvDone
	case recvComplete, recvDone: // the peer's second FIN
	}
}

// discard ends reading, and returns how many unread bytes were thrown away.
func (h *recvHalf) discard() (dropped int) {
	switch h.state {
	case recvOpen:
		h.state = recvDiscarding
	case recvComplete:
		h.state = recvDone
	case recvDiscarding, recvDone:
	}
	dropped = h.unread
	h.unread = 0
	if h.memory == reservedQueue {
		// The session is filling the last buffer; Commit frees it.
		for h.queue.Head() != h.queue.Tail() {
			h.queue.Pop().Free()
		}
	} else {
		h.queue.Free()
	}
	h.readers.wake()
	return dropped
}

// A reservation is the memory that the session fills between Reserve and Commit.
type reservation uint8

const (
	notReserved    reservation = iota
	reservedReader             // the buffer of a waiting Read
	reservedQueue              // the free end of the queue's last buffer
)

const (
	// minReserve is the least free memory worth reading into: below it, another buffer
	// is better.
	minReserve = 4 << 10
	// fillEnough is how much is put into the buffer of a Read before it goes on: several
	// frames for one switch between goroutines, and less than a peer's window.
	fillEnough = 64 << 10
)

// Deliver hands over data that has arrived; it is copied. If more says that more of it
// is about to follow, a Read that waits may go on waiting for that.
//
// If the peer has sent further beyond its window than [flow.Share.MaxOverrun] allows, the stream
// is closed: its Reads and Writes fail with [flow.ErrWindow]. The same is true of Commit.
func (c *Core) Deliver(data []byte, more bool) Delivery {
	s := &c.s
	now := s.now()
	s.mu.Lock()
	defer s.unlock()
	h := &s.recv
	switch {
	case s.overruns(len(data), now):
		s.close(closedByOverrun, now)
		return Queued
	case h.hasFIN() || !s.session.receives():
		return Queued
	case h.discards():
		s.noteRead(len(data), now, SendSoon) // its sender need not wait for a reader
		return Queued
	}
	if h.reading != nil && h.unread == 0 {
		n := copy(h.reading.room(), data)
		h.reading.n += n
		data = data[n:]
	}
	if len(data) == 0 && more {
		return s.filledMore()
	}
	s.addUnread(len(data))
	for len(data) > 0 {
		tail := h.queue.Tail()
		if tail == nil || len(tail.Room()) == 0 {
			tail = buffer.Get(len(data))
			h.queue.Push(tail)
		}
		data = data[tail.Append(data):]
	}
	h.readers.wake()
	return s.wokenReader()
}

// addUnread accounts for n bytes that wait for their reader.
func (s *Stream) addUnread(n int) {
	if n == 0 {
		return
	}
	if s.recv.unread == 0 {
		s.noteTouched()
	}
	s.recv.unread += n
	s.shared.Budget.Take(n)
}

// noteTouched notes that the reader holds nobody up.
func (s *Stream) noteTouched() { s.recv.touched = s.shared.round.Load() }

// wokenReader returns the Delivery if waiting Reads have been woken.
func (s *Stream) wokenReader() Delivery {
	if s.recv.reading == nil {
		return Queued
	}
	return Filled
}

// filledMore has a Read whose buffer has been filled some more go on if it has enough.
func (s *Stream) filledMore() Delivery {
	r := s.recv.reading
	if r.n >= fillEnough || len(r.room()) < minReserve || s.readErr() != nil || s.endErr() != nil {
		s.recv.readers.wake()
		return s.wokenReader()
	}
	if r.n == 0 {
		return Queued
	}
	return Filling
}

// Reserve returns memory for up to n bytes of data that are still to be read from the
// transport, for the caller to fill and Commit. If brief says that Commit follows
// without waiting, it may be the buffer of a Read that waits; otherwise it is
// memory of the stream's own. It is nil if the data would be thrown away: the caller
// then reads it elsewhere and calls Deliver.
//
// Reserve, Commit and Deliver are called by one goroutine, and Commit follows Reserve.
func (c *Core) Reserve(n int, brief bool) []byte {
	s := &c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.recv
	if h.state != recvOpen || !s.session.receives() {
		return nil
	}
	if room := h.reading.room(); brief && h.unread == 0 && len(room) >= min(n, minReserve) && len(room) > 0 {
		h.memory = reservedReader
		return room[:min(n, len(room))]
	}
	tail := h.queue.Tail()
	if tail == nil || len(tail.Room()) < min(n, minReserve) {
		tail = buffer.Get(n)
		h.queue.Push(tail)
	}
	h.memory = reservedQueue
	room := tail.Room()
	return room[:min(n, len(room))]
}

// Commit says that the first n bytes of what Reserve returned have been filled with
// data; n may be 0.
func (c *Core) Commit(n int) Delivery {
	s := &c.s
	now := s.now()
	s.mu.Lock()
	defer s.unlock()
	h := &s.recv
	memory := h.memory
	h.memory = notReserved
	switch {
	case s.overruns(n, now):
		s.close(closedByOverrun, now)
		return Queued
	case memory == reservedReader:
		h.reading.n += n
		return s.filledMore()
	case h.discards():
		h.queue.Free()
		s.noteRead(n, now, SendSoon)
		return Queued
	}
	h.queue.Tail().W += n
	s.addUnread(n)
	s.dropEmpty()
	if n == 0 {
		return Queued
	}
	h.readers.wake()
	return s.wokenReader()
}

// Wake ends the wait of a Read whose buffer Commit has partly filled.
func (c *Core) Wake() {
	s := &c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recv.readers.wake()
}

// HandleFIN notes that the peer's FIN has arrived.
func (c *Core) HandleFIN() {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	s.recv.handleFIN()
	s.recv.window.Finish(s.shared.Budget)
	s.recv.readers.wake()
	if s.send.peer.handleFIN(); s.send.peer == readerGone {
		s.dropUnsent()
		s.send.writers.wake()
	}
	if s.finDue() {
		s.queueData(SendLazily)
	}
}

// Stalled returns how many bytes wait for their reader, if some did when the round began and the
// reader has taken nothing since; otherwise 0. [Shared.NextRound] begins a round.
func (c *Core) Stalled(round uint64) int {
	s := &c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recv.stalled(round)
}

func (h *recvHalf) stalled(round uint64) int {
	if h.touched >= round {
		return 0
	}
	return h.unread
}

// FailStalled closes the stream if it is Stalled, because what it holds is needed. Its Reads and Writes
// fail with [ErrStalled]. It returns how many unread bytes were thrown away.
func (c *Core) FailStalled(round uint64) (dropped int) {
	s := &c.s
	now := s.now()
	s.mu.Lock()
	defer s.unlock()
	if dropped = s.recv.stalled(round); dropped > 0 && s.closed == notClosed {
		s.close(closedByStall, now)
	}
	return dropped
}

// Reclaim lowers the receive window of a stream that does not use it, as
// [flow.ReceiveWindow.Reclaim] does. It reports whether a later call may lower the window that this one
// left.
func (c *Core) Reclaim() (later bool) {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	if !s.needsUpdates() {
		return false
	}
	due, later := s.recv.window.Reclaim(s.shared.Budget)
	if !due {
		return later
	}
	s.queueUpdate(SendSoon)
	return false
}

// overruns accounts for n bytes of data from the peer. It reports whether the stream is to be closed because
// they are too far beyond its window. A little beyond it are peers that send with several goroutines.
func (s *Stream) overruns(n int, now time.Duration) bool {
	if n == 0 || !s.receives() {
		return false
	}
	err := s.recv.window.Received(n, now, s.shared.Budget.MaxOverrun())
	return err != nil && s.closed == notClosed && s.session.receives()
}

// receives reports whether the peer needs a window. After Close it does as long as there is data
// that waits to be sent, although nobody reads: the peer may have closed the stream as well, and
// if neither made room, neither's FIN would get past its data.
func (s *Stream) receives() bool {
	return s.isWindowed() && !s.recv.hasFIN() && (s.closed == notClosed || s.send.unsent > 0)
}

// needsUpdates reports whether window updates are of use.
func (s *Stream) needsUpdates() bool { return s.receives() && s.session == sessionUp }

// noteRead tells the receive window that n bytes were taken, and has an UPD sent if one is due.
func (s *Stream) noteRead(n int, now time.Duration, u Urgency) {
	if s.needsUpdates() && s.recv.window.Read(n, now) && !s.send.frames.has(frameUPD) {
		s.queueUpdate(u)
	}
}

// queueUpdate has an UPD sent.
func (s *Stream) queueUpdate(u Urgency) {
	s.send.frames |= frameUPD
	s.queueControl(u)
}

// dropEmpty frees the queue's last buffer if it is empty, the only one, and not reserved:
// an idle stream holds none.
func (s *Stream) dropEmpty() {
	if s.recv.unread == 0 && s.recv.memory != reservedQueue {
		s.recv.queue.Free()
	}
}
