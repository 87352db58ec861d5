package stream

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/wire"
)

// For authors of sessions. An application needs nothing of this file.

// A Core is a stream as its session sees it: what the session calls when frames
// arrive, and when it is the stream's turn to send. Its methods do not block. They
// may be called concurrently with those of the Stream and with each other, but for
// the two groups that say otherwise: Reserve, Commit and Deliver; and AppendData.
//
// What arrives goes to Deliver, or Reserve and Commit, to HandleFIN and HandleUpdate. What is
// to be sent comes from AppendControl and AppendData. Most callers should use
// package session instead.
type Core struct {
	s Stream
}

// Shared is what all streams of one session have in common. Its fields are set before the first
// stream's Init, but for Version, which is set before the first frame is sent or received.
type Shared struct {
	Version wire.Version
	// MaxFrame is the most payload bytes of a frame this side sends, from 1 to
	// [wire.MaxPayload].
	MaxFrame int
	// Budget is charged for the bytes that wait for their reader.
	Budget *flow.Share
	// SendBudget is charged for the buffers of what was written, copied, and not sent yet.
	// When it is used up, Write copies no more: it returns when the data was sent from the
	// caller's buffer. A nil SendBudget has no bound.
	SendBudget *flow.Share
	// Linger is after how long without any progress a stream that was closed on this side gives
	// up what it has yet to send, if the peer may have closed it in both directions: its FIN
	// has come, and no window update after that. For peers that may still read, closed streams
	// keep at most half of SendBudget, or 16 MiB if there is none, for longer. It is 5 s by default.
	Linger time.Duration
	// LocalAddr and RemoteAddr are the addresses that streams report.
	LocalAddr, RemoteAddr net.Addr

	round        atomic.Uint64         // see NextRound
	closedUnsent atomic.Int64          // bytes that closed streams have yet to send
	err          atomic.Pointer[error] // of the first Abort
}

// NextRound begins a round in which streams note that their readers take data, and returns it. Ask
// [Core.Stalled] for those that did not.
func (c *Shared) NextRound() uint64 { return c.round.Add(1) }

// linger returns Linger or its default, and no time so short that streams that wait are busy
// looking at the clock.
func (c *Shared) linger() time.Duration {
	if c.Linger <= 0 {
		return 5 * time.Second
	}
	return max(c.Linger, 10*time.Millisecond)
}

// maxClosedUnsent bounds what closed streams keep for longer than Linger without any progress.
func (c *Shared) maxClosedUnsent() int64 {
	if c.SendBudget == nil {
		return 16 << 20
	}
	return int64(c.SendBudget.Budget().Size() / 2)
}

// Urgency says how soon a session should send.
type Urgency uint8

const (
	// SendLazily: within a millisecond, or with the next frame that goes out.
	SendLazily Urgency = iota + 1
	// SendSoon: without delay, but together with what else comes up meanwhile, as
	// nobody is known to wait for it.
	SendSoon
	// SendNow: before the call returns, if that needs no waiting.
	SendNow
)

// A Notifier is what a Stream needs of its session. Each Stream has its own. The
// methods are called without any lock of the Stream, by any goroutine and by
// several at once, and must not wait for the transport.
type Notifier interface {
	// SendControl has the session call AppendControl.
	SendControl(Urgency)
	// SendData has the session call AppendData, and again for as long as
	// AppendData reports more.
	SendData(Urgency)
	// Flush has the session send, if it is not doing so, what waits to be sent:
	// the application is about to wait for its peer.
	Flush()
	// Opened says that the SYN was added to a batch.
	Opened()
	// Finished says that the Stream needs no more of the session: it has sent
	// its FIN, and has read all it ever will. Frames that still arrive for it are
	// to be dropped. It is called once at most.
	Finished()
	// SetWeight sets the share of the stream's data in what the session sends.
	SetWeight(int)
	// Now returns the time since the session began, on a monotonic clock.
	Now() time.Duration
}

// Delivery says what became of data that arrived.
type Delivery uint8

const (
	// Queued: it was put where a Read finds it, or thrown away as nobody will read.
	Queued Delivery = iota
	// Filling: it was put into the buffer of a Read, which waits for more: for
	// what Deliver or Commit add, or for Wake.
	Filling
	// Filled: a Read that waited has enough now and goes on.
	Filled
)

// Init makes c a new stream. opens says that this side opens it, so that a SYN is to be
// sent. Init is called once, before anything else, and Start after it. It calls no method of n.
func (c *Core) Init(shared *Shared, n Notifier, id uint32, opens bool) {
	s := &c.s
	s.shared, s.notifier, s.id = shared, n, id
	if opens {
		s.send.frames |= frameSYN
	}
	if s.isWindowed() && s.recv.window.Open(shared.Budget) {
		s.send.frames |= frameUPD
	}
}

// Start has the session send what a new stream has to say: SYN, and that its window is a smaller one than the
// protocol's first.
func (c *Core) Start() {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	if s.send.frames != 0 {
		s.queueControl(SendLazily)
	}
}

// Stream returns the application's side of c.
func (c *Core) Stream() *Stream { return &c.s }

// An Ending says which direction Abort ends.
type Ending uint8

const (
	// AbortBoth ends both directions. What arrived before can still be read. The session forgets its
	// streams by itself: Finished is not called any more.
	AbortBoth Ending = iota
	// AbortRead ends reading: what has not been read is thrown away. AppendData still hands out what Write
	// has accepted, and a FIN behind it if the stream was closed before. Another Abort follows.
	AbortRead
	// AbortWrite ends writing: more may still arrive. Another Abort follows.
	AbortWrite
)

// Abort says that the session is ending, for reason err: calls that are blocked end, and
// so will those to come. Reads first get what has arrived. The first Abort of a session's streams
// decides which err all of them report.
func (c *Core) Abort(err error, how Ending) {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	if s.shared.err.Load() == nil {
		first := err
		s.shared.err.CompareAndSwap(nil, &first)
	}
	s.session = s.session.abort(how)
	if how == AbortRead {
		s.due.returned += s.recv.discard()
		s.endBulk()
		s.queueData(SendSoon)
	} else {
		s.dropUnsent()
	}
	if how == AbortBoth {
		s.finished = true
	}
	s.recv.readers.wake()
	s.send.writers.wake()
}

func (x sessionState) abort(how Ending) sessionState {
	switch {
	case how == AbortRead && x == sessionUp:
		return sessionSends
	case how == AbortRead && x == sessionSends, how == AbortWrite && x == sessionReceives:
		return x
	case how == AbortWrite && x == sessionUp:
		return sessionReceives
	}
	return sessionDown
}
