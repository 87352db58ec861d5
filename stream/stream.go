package stream

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/wire"
)

// A Stream is one stream of a session, and a net.Conn. All methods may be called concurrently. The bytes of one Write
// are not mixed with those of another, and each Read gets bytes that no other Read gets.
//
// Inside, a Stream is two halves, each with its own state: [recvHalf] and [sendHalf].
type Stream struct {
	shared   *Shared
	notifier Notifier
	id       uint32

	// mu guards the fields below. While it is held, no method of the Notifier is called: what falls due is collected,
	// and unlock settles it.
	mu      sync.Mutex
	closed  closure
	session sessionState
	recv    recvHalf
	send    sendHalf
	extras  *extras // nil until needed

	queued   queueSet // the queues of the session in which the stream waits
	finished bool     // the session has been told that the stream needs it no more, or has ended
	due      effects  // what unlock settles
}

// closure says whether this side has closed the stream, and why.
type closure uint8

const (
	notClosed       closure = iota
	closedByUser            // Close
	closedByStall           // the session aborted it, because its reader took nothing
	closedByOverrun         // the peer sent too far beyond the stream's window
)

// sessionState says what the session still does for the stream:
//
//	sessionUp --AbortWrite--> sessionReceives --AbortBoth, AbortRead--> sessionDown
//	    |                                                                    ^
//	    +------AbortRead----> sessionSends ------AbortBoth, AbortWrite-------+
//	    +------AbortBoth-----------------------------------------------------+
type sessionState uint8

const (
	sessionUp       sessionState = iota
	sessionReceives              // it sends nothing any more, but data may still arrive
	sessionSends                 // it sends what was written before, but hands over no data
	sessionDown
)

func (x sessionState) receives() bool { return x == sessionUp || x == sessionReceives }

func (x sessionState) sends() bool { return x == sessionUp || x == sessionSends }

// A queueSet says in which of the session's queues a stream waits for its turn to send.
type queueSet uint8

const (
	controlQueue queueSet = 1 << iota
	dataQueue
)

// extras is what few streams need.
type extras struct {
	readLimit, writeLimit deadline
	limiter               *flow.Limiter // of SetSendRate; nil: no limit
	bulk                  bulk
}

var (
	_ net.Conn      = (*Stream)(nil)
	_ io.WriterTo   = (*Stream)(nil)
	_ io.ReaderFrom = (*Stream)(nil)
)

// ID returns the stream's id, as it appears in the headers of its frames.
func (s *Stream) ID() uint32 { return s.id }

// LocalAddr returns the local address of the session.
func (s *Stream) LocalAddr() net.Addr { return s.shared.LocalAddr }

// RemoteAddr returns the remote address of the session.
func (s *Stream) RemoteAddr() net.Addr { return s.shared.RemoteAddr }

// opError returns err, with which op failed, in a *net.OpError, as package net does. io.EOF stays bare.
func (s *Stream) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "smux", Source: s.shared.LocalAddr, Addr: s.shared.RemoteAddr, Err: err}
}

// sessionErr returns the reason for which the session is ending, or nil.
func (s *Stream) sessionErr() error {
	if s.session == sessionUp {
		return nil
	}
	return *s.shared.err.Load()
}

// isWindowed reports whether the stream has its own flow control.
func (s *Stream) isWindowed() bool { return s.shared.Version == wire.V2 }

// now returns the time, for the receive window. The caller does not hold s.mu.
func (s *Stream) now() time.Duration {
	if !s.isWindowed() {
		return 0
	}
	return s.notifier.Now()
}

// needExtras returns the stream's extras, which it makes if needed.
func (s *Stream) needExtras() *extras {
	if s.extras == nil {
		s.extras = new(extras)
	}
	return s.extras
}
