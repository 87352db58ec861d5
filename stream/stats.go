package stream

import (
	"sync"
	"time"
)

// Stats are what [Stream.Stats] returns.
type Stats struct {
	// BytesSent is how much of the data that Write has accepted was added to a batch for the transport. BytesReceived is
	// how much data has arrived, unread data included, until this side closed the stream.
	BytesSent, BytesReceived uint64
	// Unsent is how many bytes wait to be sent, those of a Write that waits included. Unread is how many wait for Read.
	Unsent, Unread int

	// SendWindow is how many bytes may be sent now, and ReceiveWindow the size of the window that the peer has. Both are
	// 0 in version 1, which has no windows.
	SendWindow, ReceiveWindow int
	// RTT is the round-trip time that the receive window has measured. It is 0 until the window has: that takes some
	// hundred KiB of data in version 2. See [flow.ReceiveWindow.RTT]. Session.Stats has the round trip of the session.
	RTT time.Duration

	// Opened is when the transport took the SYN of this side, or when that of the peer was read. It is the zero time
	// before that. LastActive is when data or FIN was last sent, or data was last read from the transport; not when the
	// application read or wrote it. Both are the times of calls on the transport, rounded down to 0.1 s: a stream reads
	// no clock for them.
	Opened, LastActive time.Time

	// BlockedOnWindow is how long calls of Write and ReadFrom have waited for the peer's window, BlockedOnTransport how
	// long they have waited until the transport took the data of this stream and those before it, and BlockedOnRate
	// how long they have waited because of SetSendRate. A call that waits now is included.
	BlockedOnWindow, BlockedOnTransport, BlockedOnRate time.Duration
}

// Stats returns what the stream has carried and what it holds. It does not block, and may be called after Close, too.
func (s *Stream) Stats() Stats {
	begin := time.Now().Add(-s.notifier.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	x := Stats{
		Unsent:     s.send.waiting(),
		Unread:     s.recv.unread,
		Opened:     tickTime(begin, s.recv.openedAt.Load()),
		LastActive: tickTime(begin, s.activeAt.Load()),
	}
	x.BytesSent, x.BytesReceived = s.bytes()
	if s.isWindowed() {
		x.SendWindow = s.send.window.Available()
		x.ReceiveWindow = s.recv.window.Window()
		x.RTT = s.recv.window.RTT()
	}
	if s.extras != nil {
		b := s.extras.blocked.sums()
		x.BlockedOnWindow, x.BlockedOnTransport, x.BlockedOnRate = b[blockedOnWindow], b[blockedOnTransport], b[blockedOnRate]
	}
	return x
}

// Bytes returns BytesSent and BytesReceived of [Stats].
func (c *Core) Bytes() (sent, received uint64) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.bytes()
}

// bytes is Bytes for a caller that holds s.mu.
func (s *Stream) bytes() (sent, received uint64) {
	sent, received = uint64(s.send.window.Sent()), uint64(s.recv.window.Received())
	if s.extras != nil {
		sent += uint64(s.extras.sentWraps) << 32
		received += uint64(s.extras.receivedWraps) << 32
	}
	return sent, received
}

// addSent counts n bytes of data that were added to a batch.
func (s *Stream) addSent(n int) {
	w := &s.send.window
	before := w.Sent()
	w.AddSent(n)
	if w.Sent() < before {
		s.ensureExtras().sentWraps++
	}
}

// A tick is 0.1 s of the session's clock. 32 bits hold 13 years of ticks. A stream counts them from 1; 0 is none.
const tick = 100 * time.Millisecond

func tickTime(begin time.Time, t uint32) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return begin.Add(time.Duration(t-1) * tick)
}

// NoteActive tells the stream that the transport has taken or delivered something of it, at this time of the session's
// clock. The first call says when the stream was opened. It may be called concurrently with everything.
func (c *Core) NoteActive(now time.Duration) {
	s := &c.s
	t := uint32(now/tick) + 1
	if s.activeAt.Load() == t {
		return
	}
	if s.recv.openedAt.Load() == 0 {
		s.recv.openedAt.Store(t)
	}
	s.activeAt.Store(t)
}

// IsOpened reports whether NoteActive was called.
func (c *Core) IsOpened() bool { return c.s.recv.openedAt.Load() != 0 }

// A blockCause is what a Write waits for.
type blockCause uint8

const (
	notBlocked blockCause = iota
	blockedOnWindow
	blockedOnTransport
	blockedOnRate
	blockCauses
)

// blockCause returns what a Write has to wait for.
func (s *Stream) blockCause() blockCause {
	if s.send.borrows == 0 && !s.isGiven() && s.isWindowed() && s.send.window.Available() <= 0 {
		return blockedOnWindow
	}
	return blockedOnTransport
}

// waitToSend waits as wait does, and counts the time. One Write at a time calls it.
func (s *Stream) waitToSend(cause blockCause) {
	if s.due != (effects{}) {
		s.settle()
		return
	}
	s.ensureExtras()
	s.setBlocked(cause)
	defer s.setBlocked(notBlocked)
	s.wait(&s.send.writers)
}

// noteBlocked changes what the Write that waits is waiting for, if there is one: while it waits, the window may be used
// up, or be opened again.
func (s *Stream) noteBlocked() {
	x := s.extras
	if x == nil || x.blockedOn != blockedOnWindow && x.blockedOn != blockedOnTransport {
		return
	}
	s.setBlocked(s.blockCause())
}

func (s *Stream) setBlocked(cause blockCause) {
	x := s.extras
	if x.blockedOn == cause {
		return
	}
	x.blocked.change(x.blockedOn, cause)
	s.shared.ensureRare().blocked.change(x.blockedOn, cause)
	x.blockedOn = cause
}

// waitTimes are the sums of the times that calls have waited, by cause. Its zero value is ready to use.
type waitTimes struct {
	mu     sync.Mutex // guards what follows; no other lock is taken under it
	origin time.Time  // all times are since then
	causes [blockCauses]struct {
		waiting int           // how many calls wait
		sum     time.Duration // of their waits, less the present time for each call that waits
	}
}

// change notes that a call which waited for one cause waits for another one now.
func (w *waitTimes) change(from, to blockCause) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.origin.IsZero() {
		w.origin = time.Now()
	}
	now := time.Since(w.origin)
	w.causes[from].waiting--
	w.causes[from].sum += now
	w.causes[to].waiting++
	w.causes[to].sum -= now
}

// sums returns the times, those of calls that wait now included.
func (w *waitTimes) sums() (sums [blockCauses]time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, c := range w.causes {
		sums[i] = c.sum
		if c.waiting > 0 {
			sums[i] += time.Duration(c.waiting) * time.Since(w.origin)
		}
	}
	return sums
}

// Blocked returns how long Writes have waited, as Stats of a stream does, but summed over all streams of the session,
// closed ones included.
func (c *Shared) Blocked() (onWindow, onTransport, onRate time.Duration) {
	r := c.rare.Load()
	if r == nil {
		return 0, 0, 0
	}
	sums := r.blocked.sums()
	return sums[blockedOnWindow], sums[blockedOnTransport], sums[blockedOnRate]
}
