package stream

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/wire"
)

// A Stream is one stream of a session, and a net.Conn. All its methods may be
// called concurrently. Each Write goes out whole before the next one begins, each
// Read takes bytes that no other Read sees.
//
// Inside, a Stream is two halves with a state each: [recvHalf] and [sendHalf].
type Stream struct {
	shared   *Shared
	notifier Notifier
	id       uint32

	// mu guards all that follows. No method of the Notifier is called while it is held: what
	// came due is collected, and unlock settles it.
	mu      sync.Mutex
	closed  closure
	session sessionState
	recv    recvHalf
	send    sendHalf
	rare    *rare // nil until it is needed

	// What the session is told.
	inLine   lineSet // the lines of the session in which the stream stands
	finished bool    // the session needs the stream no more, and knows it
	due      effects
}

// closure says whether this side has closed the stream, and why.
type closure uint8

const (
	notClosed       closure = iota
	closedByUser            // Close
	closedByStall           // the session needed what its reader did not take
	closedByOverrun         // the peer sent too far beyond its window
)

// sessionState says what the stream's session still does for it:
//
//	sessionUp --AbortWrite--> sessionReceives --AbortBoth, AbortRead--> sessionDown
//	    |                                                                    ^
//	    +------AbortRead----> sessionSends ------AbortBoth, AbortWrite-------+
//	    +------AbortBoth-----------------------------------------------------+
type sessionState uint8

const (
	sessionUp       sessionState = iota
	sessionReceives              // nothing can be sent any more, but data may still arrive
	sessionSends                 // what was written is still sent, but nothing is read any more
	sessionDown
)

func (x sessionState) receives() bool { return x == sessionUp || x == sessionReceives }

func (x sessionState) sends() bool { return x == sessionUp || x == sessionSends }

// A lineSet is a set of lines in which a stream stands, each once, for its turn to send.
type lineSet uint8

const (
	controlLine lineSet = 1 << iota
	dataLine
)

// rare is what few streams need.
type rare struct {
	readLimit, writeLimit deadline
	limiter               *flow.Limiter // nil: no limit
	bulk                  bulk
}

var (
	_ net.Conn      = (*Stream)(nil)
	_ io.WriterTo   = (*Stream)(nil)
	_ io.ReaderFrom = (*Stream)(nil)
)

// ID returns the stream's id, by which it is known on the wire.
func (s *Stream) ID() uint32 { return s.id }

// LocalAddr returns the session's local address.
func (s *Stream) LocalAddr() net.Addr { return s.shared.LocalAddr }

// RemoteAddr returns the session's remote address.
func (s *Stream) RemoteAddr() net.Addr { return s.shared.RemoteAddr }

// opError wraps err, which ended op, as package net does. io.EOF stays bare.
func (s *Stream) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "smux", Source: s.shared.LocalAddr, Addr: s.shared.RemoteAddr, Err: err}
}

// sessionErr returns why the session is ending, or nil.
func (s *Stream) sessionErr() error {
	if s.session == sessionUp {
		return nil
	}
	return *s.shared.err.Load()
}

// isWindowed reports whether the stream has flow control of its own.
func (s *Stream) isWindowed() bool { return s.shared.Version == wire.V2 }

// now returns the time for the receive window, which alone needs it. It is called without the lock.
func (s *Stream) now() time.Duration {
	if !s.isWindowed() {
		return 0
	}
	return s.notifier.Now()
}

// rarely returns the stream's rare fields, to be changed.
func (s *Stream) rarely() *rare {
	if s.rare == nil {
		s.rare = new(rare)
	}
	return s.rare
}
