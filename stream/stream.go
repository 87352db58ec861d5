package stream

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/wire"
)

// A Stream is one stream of a session, and a net.Conn. All methods may be called concurrently. The bytes of one Write
// are not mixed with those of another, and each Read gets bytes that no other Read gets. No call keeps a buffer of its
// caller after it has returned. OpenStream and AcceptStream of a session return a Stream; its zero value is of no use.
type Stream struct {
	// A Stream is two halves, each with its own state: recv and send.

	shared   *Shared
	notifier Notifier
	id       uint32

	// mu guards the fields below. While it is held, no method of the Notifier is called: what falls due is collected,
	// and unlock settles it.
	mu      sync.Mutex
	closed  closeReason
	session sessionState
	finLost bool // CloseWrite or Close came when the session was ending: no FIN is sent
	recv    recvHalf
	send    sendHalf
	extras  *extras // nil until needed

	queued    queueSet      // the queues of the session in which the stream waits
	unhurried bool          // the session was told of something in queued, and not with SendNow since
	active    bool          // data was sent, arrived or was read since the last CloseIdle
	finished  bool          // Finished was called, or must not be called: the session has ended
	sentData  bool          // some data was added to a batch
	outcome   Outcome       // set before Finished is called
	timed     atomic.Bool   // the receive window uses the time. Once set, it stays set; see lock
	activeAt  atomic.Uint32 // a tick, see NoteActive; not guarded by mu
	due       effects       // what unlock settles
}

// A closeReason says whether this side has closed the stream, and why.
type closeReason uint8

const (
	notClosed       closeReason = iota
	closedByUser                // Close
	closedByStall               // FailStalled: its reader took nothing while others needed the memory
	closedByOverrun             // the peer sent too far beyond the stream's window
	closedByIdle                // CloseIdle: it was idle for its time-out
	closedByRefusal             // Refuse
)

// A sessionState says what the session still does for the stream. Abort changes it:
//
//	sessionUp --AbortWrite--> sessionReceives --AbortBoth, AbortRead--> sessionDown
//	    |                                                                    ^
//	    +------AbortRead----> sessionSends ------AbortBoth, AbortWrite-------+
//	    +------AbortBoth-----------------------------------------------------+
type sessionState uint8

const (
	sessionUp       sessionState = iota
	sessionReceives              // it sends nothing any more, but data may still arrive
	sessionSends                 // it sends what was written before, but delivers no data
	sessionDown                  // neither
)

func (x sessionState) receives() bool { return x == sessionUp || x == sessionReceives }

func (x sessionState) sends() bool { return x == sessionUp || x == sessionSends }

// A queueSet says in which of the session's queues a stream waits for its turn to send.
type queueSet uint8

const (
	controlQueue queueSet = 1 << iota
	dataQueue
)

// extras is what few streams need. It is apart so that the others are smaller.
type extras struct {
	readDeadline, writeDeadline deadline
	limiter                     *flow.Limiter // of SetSendRate; nil: no limit
	bulk                        bulk
	linger                      *time.Timer   // of startLinger, while it runs
	done, ended                 chan struct{} // of Done and Ended; nil until those are called
	idle                        *idleTimeout  // nil until CloseIdle or SetIdleTimeout is called
	secondFIN                   *time.Timer   // runs endSecondFIN; nil: it does not run
	flushing                    flushing
	given                       int32      // see HandleTaken
	blocked                     waitTimes  // of Writes
	blockedOn                   blockCause // what a Write waits for
	sentWraps, receivedWraps    uint32     // how often the 32 bits of the windows' counters were exceeded
}

var (
	_ net.Conn      = (*Stream)(nil)
	_ io.WriterTo   = (*Stream)(nil)
	_ io.ReaderFrom = (*Stream)(nil)
)

// ID returns the stream's id, as it appears in the headers of its frames. Streams that a client has opened have odd ids,
// and those that a server has opened even ones. This side opens no two streams of a session with the same id.
func (s *Stream) ID() uint32 { return s.id }

// LocalAddr returns the local address of the session.
func (s *Stream) LocalAddr() net.Addr { return s.shared.LocalAddr }

// RemoteAddr returns the remote address of the session.
func (s *Stream) RemoteAddr() net.Addr { return s.shared.RemoteAddr }

// sessionErr returns the reason for which the session is ending, or nil.
func (s *Stream) sessionErr() error {
	if s.session == sessionUp {
		return nil
	}
	return *s.shared.err.Load()
}

// isWindowed reports whether the stream has windows, which only version 2 has.
func (s *Stream) isWindowed() bool { return s.shared.Version == wire.V2 }

// lock takes s.mu. It returns the time for the receive window, or 0 if the window does not use the time: most short
// streams never need the clock. It reads the clock before it takes s.mu.
func (s *Stream) lock() (now time.Duration) {
	if !s.timed.Load() {
		s.mu.Lock()
		if !s.timed.Load() {
			return 0
		}
		s.mu.Unlock()
	}
	now = s.notifier.Now()
	s.mu.Lock()
	return now
}

// now returns the time as lock does, to a caller that holds s.mu and has released it since it called lock. If the window
// uses the time, now settles what fell due, and releases s.mu meanwhile. It takes s.mu again even if a method of the
// Notifier panics, because its callers release s.mu by defer.
func (s *Stream) now() (now time.Duration) {
	if !s.timed.Load() {
		return 0
	}
	defer s.mu.Lock()
	s.unlock()
	return s.notifier.Now()
}

// ensureExtras returns the stream's extras. It makes them if there are none yet.
func (s *Stream) ensureExtras() *extras {
	if s.extras == nil {
		s.extras = new(extras)
	}
	return s.extras
}
