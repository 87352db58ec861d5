package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"sync"
	"time"

	"github.com/smuxkit/smuxkit/stream"
)

// A Dialer opens streams to one place over a pool of sessions, and keeps the pool in order: it dials when a stream
// needs a session, spreads streams over several sessions, dials again when a session has ended, and leaves sessions
// whose peer drains. Use it where a program dials a server for longer than one transport lives.
//
// Dial must be set; the zero value of each other field means its default. A Dialer starts nothing until it is used
// first. From then on, its fields must not be changed, and it must not be copied. All methods may be called
// concurrently. [Dialer.Close] or [Dialer.Shutdown] ends it.
//
// # Which session
//
// A stream is opened on the session with the fewest open streams. The Dialer dials another session if all of them
// have StreamsPerSession streams and there are fewer than MaxSessions. The Dialer has at most one dial under way,
// which all calls share. A session takes no new streams, and is retired, when it has ended, its peer drains
// ([Session.Draining]), it has used up its stream ids, it is older than MaxAge, or this side has called its
// Shutdown, as Config.IdleTimeout does. A retired session ends through [Session.Shutdown], so its open streams go on.
// It does not count against MaxSessions: there are never more retired sessions with open streams than there are
// open streams. If the peer drains, the Dialer gives it CloseTimeout to close the session, once all streams are closed.
//
// The Dialer pings each new session ([Session.Ping]), without waiting for the answer. If the peer is of this package,
// the keep-alive knows from then on that the peer hangs when it is silent.
//
// # When dialing fails
//
// After a dial that has failed, the Dialer waits before the next one: MinBackoff at first, then twice as long each
// time, up to MaxBackoff, less a random part of up to a half. The next dial begins when a call needs it. These count as
// dials that have failed, too:
//
//   - a session that takes no streams when OnSession returns, for instance because OnSession has closed it;
//   - a session that ends, or whose peer drains, within its first second, before the peer has opened a stream or sent data
//     or a window update (if the peer drains, until the open streams have ended);
//   - a Dial or OnSession that ends its goroutine (runtime.Goexit), as FailNow of a test does.
//
// Calls that need a session wait meanwhile, as [Dialer.OpenStream] describes. If there is a session, no call waits
// for a dial that follows a failed one, or takes more than a second: then the sessions get more than
// StreamsPerSession streams.
type Dialer struct {
	// Dial returns a new transport. It must return when ctx ends. The Dialer calls it in a goroutine of its own, never
	// twice at the same time, and passes the transport to [Client].
	Dial func(ctx context.Context) (io.ReadWriteCloser, error)

	// Config is for all sessions.
	Config *Config

	// MaxSessions limits the sessions that take new streams. At the limit, sessions get more than StreamsPerSession
	// streams, so no call waits for the limit; the peer refuses what is too much for it ([stream.ErrRefused]).
	// The default is 8.
	MaxSessions int

	// StreamsPerSession is how many streams a session may have before another session is dialed. Streams that the
	// peer has opened count, too. The default is 1,000: less than the 1,024 streams that servers of xtaci/smux let
	// wait to be accepted.
	StreamsPerSession int

	// MaxAge retires a session when it is that old, for instance so that sessions move to servers that were added
	// later. A random part of up to a tenth is taken off, so that sessions which began together do not end
	// together. By default sessions live as long as they work.
	MaxAge time.Duration

	// MinBackoff and MaxBackoff limit the pause after a dial that has failed. The defaults are 100 ms and 10 s.
	MinBackoff, MaxBackoff time.Duration

	// DialTimeout limits one dial, with OnSession. The default is 15 s.
	DialTimeout time.Duration

	// WaitTimeout limits how long a call waits for a session, however many dials fail meanwhile. Calls whose context
	// ends earlier wait until then. The default is 30 s.
	WaitTimeout time.Duration

	// FailFast makes a call that has no session fail with the error of the dial that it has waited for, or during
	// the pause that follows, at once with the error of the last dial. By default, calls wait until a dial
	// succeeds: a server that restarts costs no call. Set FailFast if the caller tries again by itself, as gRPC does.
	FailFast bool

	// OnSession, if not nil, is called with each new session before any other call gets it: to authenticate over a
	// stream, or to serve the streams that the peer opens. If it returns an error, the session is closed and the dial has
	// failed with that error; what OnSession has written is sent. When ctx ends, DialTimeout has passed or the Dialer was
	// closed, and the session is closed as by CloseNow. OnSession must return then: until it does, the Dialer does not
	// dial again. OnSession may call anything but this Dialer's OpenStream, DialContext and Session, which
	// would wait for it.
	//
	// Toward servers of this package, an OnSession that calls [Session.Ping] makes sure that the server's session
	// runs. Without it, a stream may be opened on a connection that the server's system has accepted and a server that
	// stops never will.
	OnSession func(ctx context.Context, s *Session) error

	// mu guards the fields below. The lock of one session at a time is taken under it. No callback is called under it.
	mu       sync.Mutex
	phase    dialerPhase
	set      dialerSettings
	sessions []*pooled             // those that take streams
	retired  map[*pooled]struct{}  // those that end
	outside  map[*Session]struct{} // those in OnSession, and those that were rejected and have not ended
	changed  chan struct{}         // if not nil, closed when calls that wait have to look again
	waiting  int                   // calls that wait
	dialing  dialing
	counts   dialerCounts
}

// A dialerPhase is a part of a Dialer's life. Phases follow each other in this order; some may be skipped.
type dialerPhase uint8

const (
	dialerNew      dialerPhase = iota // not used yet
	dialerOpen                        // its fields are checked
	dialerShutdown                    // after Shutdown: no new sessions and streams
	dialerClosed                      // after Close: all sessions are closed
)

// ErrNoSession is returned by the methods of a [Dialer] if Dialer.WaitTimeout has passed and there is no session. It is
// a net.Error with Timeout() true. The error of the last dial matches, too, if there is one.
var ErrNoSession error = timeoutError("session: no session within the Dialer's WaitTimeout")

// OpenStream opens a stream on a session of the pool. If no session takes streams, it waits for a dial, and goes on
// waiting when that fails: until there is a session, ctx ends, WaitTimeout has passed, or the Dialer is closed. With
// FailFast, it waits for one dial at most.
//
// If a session takes no new streams, OpenStream goes to the next one. All other errors are returned, and a stream
// that was returned belongs to the caller: if it fails later, nothing is tried again. A caller that can repeat
// its request may do so if Read or Write fails with [stream.ErrRefused], because then no application has seen it.
//
// OpenStream fails with ctx's error, with [ErrNoSession], with the error of a dial (FailFast), with [ErrShutdown]
// after Shutdown, with [net.ErrClosed] after Close, or with an error that says what is wrong with the Dialer's
// fields. An error of ctx and ErrNoSession also match the error of the last dial, if that has failed. A nil ctx panics.
func (d *Dialer) OpenStream(ctx context.Context) (*stream.Stream, error) {
	needContext(ctx)
	for {
		c, err := d.choose(ctx, true)
		if err != nil {
			return nil, err
		}
		if c.opened != nil {
			if c.s.tracer != nil {
				c.s.tell(c.opened, true)
			}
			c.opened.core.Start()
			return c.opened.core.Stream(), nil
		}
		// On each session, 1,024 streams wait for the transport. Another session may be faster than this one.
		short, cancel := context.WithTimeout(ctx, blockedTime)
		st, err := c.s.OpenStream(short)
		cancel()
		if err == nil || ctx.Err() != nil {
			return st, err
		}
	}
}

// blockedTime is how long a call waits for one session whose transport takes no SYNs, before it looks at all again.
const blockedTime = 50 * time.Millisecond

// DialContext is [Dialer.OpenStream] as a method that fits http.Transport, grpc.WithContextDialer and others. The
// network and the address are ignored: all streams lead to the peer.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	st, err := d.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// Session returns the session that OpenStream would use, and waits for one as OpenStream does. Use it to keep a
// session up without opening a stream, for instance if the peer opens the streams, and for [Session.Ping]. The
// session belongs to the pool and may be retired at any time: use the Dialer's OpenStream to open streams.
func (d *Dialer) Session(ctx context.Context) (*Session, error) {
	needContext(ctx)
	c, err := d.choose(ctx, false)
	return c.s, err
}

// Sessions iterates over the sessions that have not ended: those that take streams, and then those that are
// retired. It goes over those that there are when the iteration begins.
func (d *Dialer) Sessions() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		for _, s := range d.list() {
			if !s.ended() && !yield(s) {
				return
			}
		}
	}
}

// list returns the sessions that have not ended.
func (d *Dialer) list() []*Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listLocked()
}

// listLocked is list for a caller that holds d.mu.
func (d *Dialer) listLocked() []*Session {
	all := make([]*Session, 0, len(d.sessions)+len(d.retired))
	for _, p := range d.sessions {
		all = append(all, p.s)
	}
	for p := range d.retired {
		all = append(all, p.s)
	}
	return all
}

// dialerSettings are the fields of a Dialer with their defaults.
type dialerSettings struct {
	maxSessions, streamsPerSession int
	maxAge                         time.Duration
	minBackoff, maxBackoff         time.Duration
	dialTimeout, waitTimeout       time.Duration
}

func (d *Dialer) settings() dialerSettings {
	set := dialerSettings{
		maxSessions:       d.MaxSessions,
		streamsPerSession: d.StreamsPerSession,
		maxAge:            d.MaxAge,
		minBackoff:        d.MinBackoff,
		maxBackoff:        d.MaxBackoff,
		dialTimeout:       d.DialTimeout,
		waitTimeout:       d.WaitTimeout,
	}
	setDefault(&set.maxSessions, 8)
	setDefault(&set.streamsPerSession, 1000)
	setDefault(&set.minBackoff, min(100*time.Millisecond, max(0, d.MaxBackoff)))
	setDefault(&set.minBackoff, 100*time.Millisecond) // MaxBackoff is not set
	setDefault(&set.maxBackoff, max(10*time.Second, set.minBackoff))
	setDefault(&set.dialTimeout, 15*time.Second)
	setDefault(&set.waitTimeout, 30*time.Second)
	return set
}

// Validate returns nil if the fields of d are valid. Otherwise its error names each bad field, the field's value, and
// what is allowed. The first call that needs a session calls Validate and returns its error.
func (d *Dialer) Validate() error {
	var f fieldErrors
	if d.Dial == nil {
		f.add("Dial is nil, must be set")
	}
	f.notNegative("MaxSessions", d.MaxSessions)
	f.notNegative("StreamsPerSession", d.StreamsPerSession)
	f.notNegativeTime("MaxAge", d.MaxAge)
	f.notNegativeTime("MinBackoff", d.MinBackoff)
	f.notNegativeTime("MaxBackoff", d.MaxBackoff)
	f.notNegativeTime("DialTimeout", d.DialTimeout)
	f.notNegativeTime("WaitTimeout", d.WaitTimeout)
	if d.MinBackoff > 0 && d.MaxBackoff > 0 && d.MinBackoff > d.MaxBackoff {
		f.add("MinBackoff is %v and MaxBackoff is %v, MinBackoff must not be longer", d.MinBackoff, d.MaxBackoff)
	}
	if d.MaxSessions == 1 && d.StreamsPerSession > 0 {
		f.add("StreamsPerSession is %d and MaxSessions is 1, so there is never another session", d.StreamsPerSession)
	}
	return f.err("Dialer", d.Config)
}

// fieldErrors collects what is wrong with the fields of a Dialer or a Listener.
type fieldErrors []error

func (f *fieldErrors) add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

func (f *fieldErrors) notNegative(field string, n int) {
	if n < 0 {
		f.add("%s is %d, must not be negative", field, n)
	}
}

func (f *fieldErrors) notNegativeTime(field string, t time.Duration) {
	if t < 0 {
		f.add("%s is %v, must not be negative", field, t)
	}
}

// err returns what was found, together with what is wrong with cfg, or nil.
func (f *fieldErrors) err(kind string, cfg *Config) error {
	if err := cfg.Validate(); err != nil {
		*f = append(*f, err)
	}
	if len(*f) == 0 {
		return nil
	}
	return fmt.Errorf("session: bad %s: %w", kind, errors.Join(*f...))
}
