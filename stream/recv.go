package stream

import (
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/buffer"
)

// The way of a byte into a stream, from session/reader.go on:
//
//	Deliver              copies it to a waiting Read or to the queue (this file),
//	Reserve and Commit   or have the session read it from the transport straight into one of the two
//	Read, WriteTo        take it from the queue (read.go)
//	noteRead             tells the receive window, which may queue an UPD for the peer
//
// The way out is in send.go.

// A recvHalf is the receiving half of a stream. Its queue holds the unread data.
//
//	recvOpen -------FIN------> recvComplete
//	   |                           |
//	CloseRead, Close           CloseRead, Close
//	   v                           v
//	recvDiscarding ---FIN----> recvDone
//
// When the session closes (sessionSends), nobody reads any more: its streams change state as with CloseRead.
type recvHalf struct {
	state       recvState
	refusal     refusal
	reserved    reservation
	openedAt    atomic.Uint32 // a tick, see NoteActive; not guarded by mu. In this place it needs no padding
	window      flow.ReceiveWindow
	queue       buffer.Queue // unread data; all of it arrived before the peer's FIN
	unread      int          // bytes in queue
	activeRound uint64       // the round in which the queue was last read from, or was empty; see Stalled
	waitingRead *waitingRead // a Read that waits for data
	readers     *waiters     // calls that wait for something to read
}

type recvState uint8

const (
	recvOpen       recvState = iota // data may arrive, and Read returns it
	recvComplete                    // FIN has arrived: Read returns the data that is queued, and then io.EOF
	recvDiscarding                  // nobody reads: data that arrives is thrown away
	recvDone                        // nobody reads, and FIN has arrived
)

// hasFIN reports whether the peer's FIN has arrived.
func (h *recvHalf) hasFIN() bool { return h.state == recvComplete || h.state == recvDone }

// discards reports whether this side has ended reading.
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

// discard ends reading, and throws the unread data away. It returns the number of bytes thrown away.
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
	if h.reserved == reservedQueue {
		// The session is filling the last buffer; Commit releases it.
		for h.queue.Head() != h.queue.Tail() {
			h.queue.Pop().Release()
		}
	} else {
		h.queue.Release()
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
	// minReserve is the least free memory that is worth reading into: if there is less, another buffer is better.
	minReserve = 4 << 10
	// maxFill is how much data a waiting Read gets before it returns. It is several frames, so that there are few
	// switches between goroutines, and less than a peer's window.
	maxFill = 64 << 10
)

// Deliver copies data that has arrived to the stream. more says that more data follows at once: then a waiting Read may
// wait for that, too.
//
// If the peer has sent further beyond the stream's window than [flow.Account.MaxOverrun] allows, the stream is closed:
// Read and Write fail with [flow.ErrWindow]. The same holds for Commit.
func (c *Core) Deliver(data []byte, more bool) Delivery {
	s := &c.s
	now := s.lock()
	defer s.unlock()
	h := &s.recv
	if h.refusal != refusalRuledOut {
		s.ruleOutRefusal()
	}
	switch {
	case s.noteReceived(len(data), now):
		s.close(closedByOverrun, now)
		return Queued
	case h.hasFIN() || !s.session.receives():
		return Queued
	case h.discards():
		s.noteRead(len(data), now, SendSoon) // so that the peer can send on
		return Queued
	}
	if h.waitingRead != nil && h.unread == 0 {
		n := copy(h.waitingRead.room(), data)
		h.waitingRead.n += n
		data = data[n:]
	}
	if len(data) == 0 && more {
		return s.handleFilled()
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
	return s.deliveryAfterWake()
}

// addUnread accounts for n more unread bytes.
func (s *Stream) addUnread(n int) {
	if n == 0 {
		return
	}
	if s.recv.unread == 0 {
		s.noteActive()
	}
	s.recv.unread += n
	s.shared.Budget.Charge(n)
}

// noteActive notes that in this round the reader has taken data, or there was none.
func (s *Stream) noteActive() { s.recv.activeRound = s.shared.currentRound() }

// deliveryAfterWake returns what Deliver and Commit return after the Reads were woken.
func (s *Stream) deliveryAfterWake() Delivery {
	if s.recv.waitingRead == nil {
		return Queued
	}
	return Filled
}

// handleFilled is called when data was added to the buffer of a Read. It wakes the Read if the Read has enough.
func (s *Stream) handleFilled() Delivery {
	r := s.recv.waitingRead
	if r.n >= maxFill || len(r.room()) < minReserve || s.readErr() != nil || s.endErr() != nil {
		s.recv.readers.wake()
		return s.deliveryAfterWake()
	}
	if r.n == 0 {
		return Queued
	}
	return Filling
}

// Reserve returns memory for up to n bytes of data that the caller is about to read from the transport. The caller
// fills it, and calls Commit next. brief says that the caller does not wait between the two calls. Then the memory may
// be the buffer of a waiting Read, which cannot return before Commit. Otherwise the memory belongs to the stream.
// Reserve returns nil if the data would be thrown away: the caller then reads the data elsewhere and calls Deliver.
func (c *Core) Reserve(n int, brief bool) []byte {
	s := &c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.recv
	if h.state != recvOpen || !s.session.receives() {
		return nil
	}
	if room := h.waitingRead.room(); brief && h.unread == 0 && len(room) >= min(n, minReserve) && len(room) > 0 {
		h.reserved = reservedReader
		return room[:min(n, len(room))]
	}
	tail := h.queue.Tail()
	if tail == nil || len(tail.Room()) < min(n, minReserve) {
		tail = buffer.Get(n)
		h.queue.Push(tail)
	}
	h.reserved = reservedQueue
	room := tail.Room()
	return room[:min(n, len(room))]
}

// Commit says that the first n bytes of the memory that Reserve returned hold data now. n may be 0.
func (c *Core) Commit(n int) Delivery {
	s := &c.s
	now := s.lock()
	defer s.unlock()
	h := &s.recv
	memory := h.reserved
	h.reserved = notReserved
	if n > 0 && h.refusal != refusalRuledOut {
		s.ruleOutRefusal()
	}
	switch {
	case s.noteReceived(n, now):
		s.close(closedByOverrun, now)
		return Queued
	case memory == reservedReader:
		h.waitingRead.n += n
		return s.handleFilled()
	case h.discards():
		h.queue.Release()
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
	return s.deliveryAfterWake()
}

// Wake makes a Read return whose buffer is partly filled (see [Filling]).
func (c *Core) Wake() {
	s := &c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recv.readers.wake()
}

// HandleFIN handles a FIN of the peer. The second one says that the peer has closed both directions, and with NoHalfClose
// the first one. HandleFIN reports whether this FIN completes a refusal of the stream.
func (c *Core) HandleFIN() (isRefused bool) {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	isRefused = s.noteFIN()
	s.recv.handleFIN()
	s.recv.window.Finish(s.shared.windows())
	s.recv.readers.wake()
	s.send.peer.handleFIN(s.shared.NoHalfClose && s.recv.refusal != refusalLikely)
	s.endWritesIfPeerClosed()
	if s.finDue() { // the data before the FIN may just have been thrown away
		s.queueData(SendLazily)
	}
	s.noteDone()
	return isRefused
}

// endWritesIfPeerClosed ends Writes if the peer has closed both directions.
func (s *Stream) endWritesIfPeerClosed() {
	if s.send.peer == peerClosed {
		s.dropUnsent()
		s.send.writers.wake()
	}
}

// Stalled returns the number of unread bytes if there were some when the round began and the reader has taken none
// since. Otherwise it returns 0. [Shared.NextRound] begins a round.
func (c *Core) Stalled(round uint64) int {
	s := &c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recv.stalled(round)
}

// stalled is Stalled for a caller that holds the stream's mu.
func (h *recvHalf) stalled(round uint64) int {
	if h.activeRound >= round {
		return 0
	}
	return h.unread
}

// FailStalled closes the stream if it is Stalled, because others need the memory of its data. Read and Write then fail
// with [ErrStalled]. FailStalled returns how many unread bytes it has thrown away.
func (c *Core) FailStalled(round uint64) (dropped int) {
	s := &c.s
	now := s.lock()
	defer s.unlock()
	if dropped = s.recv.stalled(round); dropped > 0 && s.closed == notClosed {
		s.close(closedByStall, now)
	}
	return dropped
}

// Reclaim lowers the stream's receive window if the stream does not use it, as [flow.ReceiveWindow.Reclaim] does. If this
// call has not lowered the window, Reclaim reports whether a later one may.
func (c *Core) Reclaim() (later bool) {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	if !s.needsUpdates() {
		return false
	}
	switch s.recv.window.Reclaim(s.shared.windows()) {
	case flow.ReclaimLater:
		return true
	case flow.Reclaimed:
		s.queueUpdate(SendSoon)
	case flow.NothingToReclaim:
	}
	return false
}

// noteReceived tells the receive window that n bytes of data have arrived, and counts them. It reports whether the stream
// has to be closed, because they are too far beyond the window. Peers that send with several goroutines overrun it by a
// little.
func (s *Stream) noteReceived(n int, now time.Duration) (overrun bool) {
	s.active = s.active || n > 0
	needsWindow := s.needsWindow()
	if n == 0 || !needsWindow && (s.isWindowed() || s.closed != notClosed || s.recv.hasFIN()) {
		return false
	}
	w := &s.recv.window
	before := w.Received()
	err := w.AddReceived(n, now, s.shared.Budget.MaxOverrun()) // in version 1 it only counts
	if w.Received() < before {
		s.ensureExtras().receivedWraps++
	}
	return needsWindow && err != nil && s.closed == notClosed && s.session.receives()
}

// needsWindow reports whether the peer needs a window. After Close it needs one while this side has unsent data,
// although nobody reads here: the peer may have closed the stream as well, and if neither side made room, neither
// could send its data and the FIN after it.
func (s *Stream) needsWindow() bool {
	return s.isWindowed() && !s.recv.hasFIN() && (s.closed == notClosed || s.send.unsent > 0)
}

// needsUpdates reports whether window updates should be sent.
func (s *Stream) needsUpdates() bool { return s.needsWindow() && s.session == sessionUp }

// noteRead tells the receive window that n bytes were read or thrown away, and queues an UPD if one is due.
func (s *Stream) noteRead(n int, now time.Duration, u Urgency) {
	if s.needsUpdates() && s.recv.window.AddRead(n, now) && !s.send.frames.has(frameUPD) {
		s.queueUpdate(u)
	}
}

// queueUpdate queues an UPD.
func (s *Stream) queueUpdate(u Urgency) {
	s.send.frames |= frameUPD
	s.queueControl(u)
}

// dropEmpty releases the queue's last buffer if it is empty and not reserved: an idle stream holds no buffer.
func (s *Stream) dropEmpty() {
	if s.recv.unread == 0 && s.recv.reserved != reservedQueue {
		s.recv.queue.Release()
	}
}
