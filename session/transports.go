package session

import (
	"context"
	"iter"
	"net"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/stream"
)

// A Listener accepts the streams of many sessions: it accepts transports from a net.Listener, starts a session over
// each, and is a net.Listener of all their streams. It makes http.Server, grpc.Server and every other server of
// net.Conns one for many clients that multiplex.
//
// The field Listener must be set; the zero value of each other field means its default. A Listener starts at the first
// call of Accept or AcceptStream. From then on, its fields must not be changed, and it must not be copied. All
// methods may be called concurrently. [Listener.Close], [Listener.Shutdown] and [Listener.CloseNow] end it.
//
// # Transports
//
// Each transport has a goroutine of its own until its streams can be accepted, so one that fails or hangs delays no
// other. First comes the TLS handshake, if the transport has the method HandshakeContext, as *tls.Conn does. Then the
// session starts ([Server]), and then OnSession is called. All three together have HandshakeTimeout; after that,
// the transport is closed. A transport that fails is reported to OnError and counted in [Listener.Stats].
//
// # Streams
//
// The streams that wait to be accepted wait in their sessions, each with its own Config.MaxStreams and
// Config.AcceptBacklog. Sessions take turns: each call of Accept takes one stream from the next session that has
// any. So a peer that opens many streams delays those of another by one stream at a time. [From] leads from a
// stream to its session.
type Listener struct {
	// Listener accepts the transports. It belongs to the session.Listener, which closes it.
	Listener net.Listener

	// Config is for all sessions. To bound the memory of all sessions together, set its Budget and SendBudget.
	Config *Config

	// OnSession, if not nil, is called for each new session before its streams can be accepted: to look at the peer's
	// certificate ([Session.Transport]), or to authenticate over a stream. If it returns an error, the session is
	// closed, and what OnSession has written is sent. The same holds if OnSession ends its goroutine (runtime.Goexit), as
	// FailNow of a test does. When HandshakeTimeout has passed, ctx ends, and the session is closed as by CloseNow.
	// OnSession is called for several sessions at the same time, each in its own goroutine. One that goes on after
	// the end of ctx counts against MaxSessions, but Accept and Shutdown do not wait for it.
	OnSession func(ctx context.Context, s *Session) error

	// OnError, if not nil, is called for each transport that becomes no session, and for each error of
	// Listener.Accept after which the Listener goes on. Several calls may be under way at the same time. Errors
	// of transports are in a *net.OpError with the transport's addresses.
	OnError func(err error)

	// MaxSessions limits the transports. Those in their handshake count, and so do sessions that OnSession has rejected
	// and that have not ended yet, and those that have ended with streams that wait to be accepted. At the limit, no transport is accepted until one has ended; those
	// that come wait in the net.Listener. By default there is no limit.
	MaxSessions int

	// HandshakeTimeout limits the time from accepting a transport until OnSession returns. The default is 10 s.
	HandshakeTimeout time.Duration

	// mu guards the fields below. It is taken under the lock of a session. No other lock is taken under it, and no
	// callback is called.
	mu         sync.Mutex
	phase      listenerPhase
	err        error               // why Accept fails; set with listenerClosed
	places     map[*place]struct{} // all that count against MaxSessions
	handshakes int                 // how many of them are in placeHandshake
	late       int                 // how many of those are late
	active     int                 // and in placeActive
	turns      []*place            // the next that Accept looks at
	waiting    sync.Cond           // turns has become longer, or Accept may fail; Signal is for one call of Accept
	room       sync.Cond           // places or handshakes has become smaller, or phase has changed
	stopping   chan struct{}       // closed with listenerClosed
	counts     listenerCounts
}

// A listenerPhase is a part of a Listener's life. Phases follow each other in this order; some may be skipped.
type listenerPhase uint8

const (
	listenerNew       listenerPhase = iota // nothing runs
	listenerOpen                           // it accepts transports
	listenerClosed                         // it accepts no transports; the sessions drain
	listenerClosedNow                      // after CloseNow
)

// Accept returns the next stream that a peer has opened. It blocks until there is one. After Close or Shutdown, it still
// returns the streams that the peers have opened before they heard of that, as [Session.Listener] describes, and
// then fails with [net.ErrClosed]. If the net.Listener fails for good, Accept ends in the same way, with the error of
// the net.Listener. If the fields of l are not valid, Accept fails with an error that says so.
//
// The net.Conn is a *stream.Stream. The end of a session is no error of Accept.
func (l *Listener) Accept() (net.Conn, error) {
	st, err := l.AcceptStream(context.Background())
	if err != nil {
		return nil, err
	}
	return st, nil
}

// AcceptStream is [Listener.Accept] with a context: it also ends with ctx, with ctx's error. A nil ctx panics.
func (l *Listener) AcceptStream(ctx context.Context) (*stream.Stream, error) {
	needContext(ctx)
	if err := l.begin(); err != nil {
		return nil, err
	}
	for {
		p, err := l.nextTurn(ctx)
		if err != nil {
			return nil, l.opError("accept", err)
		}
		st, more, err := p.s.takeStream()
		p.endTurn(more, err != nil)
		if p.s.tracer != nil {
			p.s.tell(st, false)
		}
		if st != nil {
			return st.core.Stream(), nil
		}
	}
}

// Addr returns the address of the net.Listener.
func (l *Listener) Addr() net.Addr {
	if l.Listener == nil || isNil(l.Listener) {
		return noAddr{}
	}
	return l.Listener.Addr()
}

// Sessions iterates over the sessions that have not ended and whose OnSession has returned. It goes over those that
// there are when the iteration begins.
func (l *Listener) Sessions() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		for _, s := range l.list() {
			if !yield(s) {
				return
			}
		}
	}
}

// list returns the sessions that have not ended.
func (l *Listener) list() []*Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.listLocked()
}

// listLocked is list for a caller that holds l.mu.
func (l *Listener) listLocked() []*Session {
	all := make([]*Session, 0, len(l.places))
	for p := range l.places {
		if p.s != nil && !p.ended {
			all = append(all, p.s)
		}
	}
	return all
}

// Validate returns nil if the fields of l are valid. Otherwise its error names each bad field, the field's value, and
// what is allowed. The first call of Accept calls Validate and returns its error.
func (l *Listener) Validate() error {
	var f fieldErrors
	if l.Listener == nil || isNil(l.Listener) {
		f.add("Listener is nil, must be set")
	}
	f.notNegative("MaxSessions", l.MaxSessions)
	f.notNegativeTime("HandshakeTimeout", l.HandshakeTimeout)
	return f.err("Listener", l.Config)
}

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "smux", Addr: l.Addr(), Err: err}
}
