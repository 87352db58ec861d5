package stream

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/wire"
)

// This file is for authors of sessions. Applications need nothing of it. The methods of Core for data and FINs that
// arrive are in recv.go, those for frames to send and for window updates in send.go, and GiveUp is in linger.go.

// A Core is a stream as its session sees it. Most callers should use package session instead.
//
// The session calls the Core when frames arrive (Deliver, or Reserve and Commit; HandleEmpty, HandleFIN, HandleUpdate)
// and when it is the stream's turn to send (AppendControl, AppendData). No method blocks. All methods may be called
// concurrently with each other and with those of the Stream, with two exceptions: Reserve, Commit and Deliver are called
// by one goroutine at a time, and so is AppendData.
type Core struct {
	s Stream
}

// Shared is what all streams of one session have in common. Its fields are set before the first call of [Core.Init],
// except Version, which is set before the first frame is sent or received.
type Shared struct {
	// Version is the version of the protocol.
	Version wire.Version
	// NoHalfClose says that the peer has no half-close: its FIN ends both directions of a stream. Write then fails
	// with [ErrPeerClosed]. CloseWrite always fails with errors.ErrUnsupported.
	NoHalfClose bool
	// WriteThrough makes Write, ReadFrom, CloseWrite and Close wait until the transport has taken what they send. The
	// session calls [Core.HandleTaken].
	WriteThrough bool
	// MaxFrameSize is the largest payload of the frames that this side sends, in bytes, from 1 to [wire.MaxPayload].
	MaxFrameSize int
	// Budget is charged for unread data. It must not be nil.
	Budget *flow.Account
	// Windows decides how large the receive windows of streams may be. If it is nil, Budget does.
	Windows flow.Allocator
	// SendBudget is charged for the buffers of data that Write has copied and that was not sent yet. If it is used up,
	// Write does not copy: it returns when the data has been sent from the caller's buffer. A nil SendBudget is
	// no limit.
	SendBudget *flow.Account
	// MaxSendBuffer is how many bytes of one stream may wait to be sent that Write has copied, at most. A Write that is
	// shorter than a quarter of it returns as soon as there is room for a copy. The first Write after a Read does so
	// if it is shorter than a 32nd. A longer Write may be sent from the caller's buffer, except for an end that is
	// copied, and then returns when that is done. The default is [DefaultMaxSendBuffer]. The stream raises smaller values to [MinMaxSendBuffer], and lowers
	// larger ones to [MaxMaxSendBuffer].
	MaxSendBuffer int
	// Linger is how long a stream keeps data that waits for the peer's window, if the peer may have closed both
	// directions: its FIN has arrived, and no window update after that. Then the stream throws the data away, and
	// Write fails with [ErrPeerClosed]. Toward another peer, a stream that was closed on this side keeps the data for
	// longer, unless all closed streams together keep more than half of SendBudget, or 16 MiB without one. The
	// default is 5 s, and the least is 10 ms. With WriteThrough, Linger also limits how long CloseWrite and Close wait.
	Linger time.Duration
	// IdleTimeout is after what time an idle stream is closed, if the session calls [Core.CloseIdle]. 0 means never.
	// [Stream.SetIdleTimeout] replaces it for one stream.
	IdleTimeout time.Duration
	// LocalAddr and RemoteAddr are the addresses that streams report.
	LocalAddr, RemoteAddr net.Addr

	closedUnsent atomic.Int64               // unsent bytes of closed streams
	rare         atomic.Pointer[rareShared] // nil until needed
	err          atomic.Pointer[error]      // that of the first Abort
}

// windows returns what decides about windows.
func (c *Shared) windows() flow.Allocator {
	if c.Windows != nil {
		return c.Windows
	}
	return c.Budget
}

// NextRound begins a new round, and returns its number. [Core.Stalled] then tells which streams hold unread data of
// which the reader has taken nothing in the round.
func (c *Shared) NextRound() uint64 { return c.ensureRare().round.Add(1) }

// currentRound returns the number of the last round that has begun, or 0.
func (c *Shared) currentRound() uint64 {
	if r := c.rare.Load(); r != nil {
		return r.round.Load()
	}
	return 0
}

// rareShared is what few sessions need. It is apart so that the others are smaller.
type rareShared struct {
	round   atomic.Uint64 // see NextRound
	bulk    atomic.Int32  // how many streams have the timer of bulk.hold running: those with bulk data
	sending atomic.Bool   // see SetSending
	blocked waitTimes     // of the Writes of all streams
}

// ensureRare returns the session's rareShared. It makes it if there is none yet.
func (c *Shared) ensureRare() *rareShared {
	if r := c.rare.Load(); r != nil {
		return r
	}
	c.rare.CompareAndSwap(nil, new(rareShared))
	return c.rare.Load()
}

// SetSending says whether somebody sends frames of the session's streams now. A session may call it, from one goroutine at a
// time. Meanwhile, if four or more streams carry bulk data, a Write of a frame or more waits until its data was sent
// from the caller's buffer, and copies only an end that fills no frame. Copies would wait in a queue
// that no processor's cache holds.
func (c *Shared) SetSending(sending bool) {
	if r := c.rare.Load(); r != nil && r.sending.Load() != sending {
		r.sending.Store(sending)
	}
}

// linger returns Linger or its default. The result is never so short that streams look at the clock all the time.
func (c *Shared) linger() time.Duration {
	if c.Linger <= 0 {
		return 5 * time.Second
	}
	return max(c.Linger, 10*time.Millisecond)
}

// maxClosedUnsent returns how many unsent bytes closed streams may keep for longer than Linger.
func (c *Shared) maxClosedUnsent() int64 {
	if c.SendBudget == nil {
		return 16 << 20
	}
	return int64(c.SendBudget.Budget().Size() / 2)
}

// An Urgency says how soon a session should send.
type Urgency uint8

const (
	// SendLazily is within a millisecond, or together with the next frame that is sent.
	SendLazily Urgency = iota + 1
	// SendSoon is without delay, but together with frames that other streams queue meanwhile.
	SendSoon
	// SendNow is before the call returns, if that needs no waiting.
	SendNow
)

// A Notifier is how a Stream tells its session what it needs. Each Stream has its own Notifier. The Stream calls the
// methods from any goroutine, from several at the same time, and without holding a lock. No method may wait for the
// transport.
type Notifier interface {
	// SendControl makes the session call AppendControl.
	SendControl(Urgency)
	// SendData makes the session call AppendData until AppendData reports that there is no more to send.
	SendData(Urgency)
	// Flush makes the session send now what is queued, because the application is about to wait for the peer.
	Flush()
	// Opened says that the SYN was added to a batch.
	Opened()
	// Finished says that the Stream needs the session no more: it has sent its FIN, and will read no more data. The
	// session drops frames that still arrive for it. Finished is called once at most.
	Finished()
	// SetWeight sets the weight of the stream's data, see [Stream.SetWeight].
	SetWeight(int)
	// Now returns the time since the session began, on a monotonic clock.
	Now() time.Duration
}

// A Delivery says what a Stream did with data that arrived.
type Delivery uint8

const (
	// Queued means that the data waits for a Read, or was thrown away because nobody will read it.
	Queued Delivery = iota
	// Filling means that the data is in the buffer of a Read, which waits for more data: until Deliver or Commit
	// add enough, or Wake is called.
	Filling
	// Filled means that a Read which waited has enough data, and returns.
	Filled
)

// Init makes c a new stream with the given id. opens says that this side opens the stream, and so has to send a SYN.
// The session calls Init once, before anything else. If Init returns true, the session then calls Start. Init calls no
// method of n, so the caller may hold a lock that those take.
func (c *Core) Init(shared *Shared, n Notifier, id uint32, opens bool) (start bool) {
	s := &c.s
	s.shared, s.notifier, s.id = shared, n, id
	s.active = true
	if opens {
		s.send.frames |= frameSYN
		s.recv.refusal = refusalPossible
	}
	if s.isWindowed() && s.recv.window.Open(shared.windows()) {
		s.send.frames |= frameUPD
	}
	return s.send.frames != 0
}

// Start queues the first control frames of the stream: its SYN, if this side opens it, and a window update, if the
// budget has no room for the initial window of the protocol.
func (c *Core) Start() {
	s := &c.s
	s.mu.Lock()
	defer s.unlock()
	if s.send.frames != 0 {
		s.queueControl(SendLazily)
	}
}

// RTT returns the round-trip time that the receive window has measured, or 0; see [flow.ReceiveWindow.RTT].
func (c *Core) RTT() time.Duration {
	s := &c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recv.window.RTT()
}

// Stream returns the Stream, for the application.
func (c *Core) Stream() *Stream { return &c.s }

// NotifierOf returns the Notifier of a stream, as Init got it. With it, a session finds its own part of a stream that an
// application passes to it.
func NotifierOf(s *Stream) Notifier { return s.notifier }

// An Ending says what Abort ends.
type Ending uint8

const (
	// AbortBoth ends both directions. Unsent data is thrown away. Read first returns the data that has arrived, and
	// then fails. Finished is not called any more: the session removes its streams by itself.
	AbortBoth Ending = iota
	// AbortRead is for a session that closes, and sends only what was written before. Unread data is thrown away,
	// Read fails with [net.ErrClosed], and Write fails too. AppendData still adds the data that Write has accepted,
	// and a FIN after it if Close or CloseWrite was called before. Another Abort follows.
	AbortRead
	// AbortWrite is for a session that cannot send any more. Unsent data is thrown away. Data may still arrive, and
	// Read goes on. Another Abort follows.
	AbortWrite
)

// Abort says that the session is ending. Calls of the directions that end fail with err, also those that are blocked. how
// says which directions end, and what becomes of data. The first Abort of a session's streams sets err for all of them.
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
		if !s.finished {
			s.finished, s.outcome = true, OutcomeSessionEnded
		}
		s.stopSecondFIN()
	}
	s.recv.readers.wake()
	s.send.writers.wake()
	s.noteDone()
}

// abort returns the state after an Abort.
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
