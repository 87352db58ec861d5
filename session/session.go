package session

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A Session carries many streams over one transport. Both sides may open streams, and accept those that the other
// side opens. All methods may be called concurrently. [Client] and [Server] return a Session; the zero value is of no
// use.
//
// A Session is a net.Listener: Accept returns the streams that the peer opens, and Close ends all of them.
// A server that closes its listener before it has sent its last answers, like http.Server, needs
// [Session.Listener] instead.
type Session struct {
	conn   io.ReadWriteCloser
	client bool
	ver    atomic.Uint32 // wire.Version; 0 until a server has learned it

	// Settings from Config. Parts of the session have their own.
	acceptBacklog, maxStreams int32
	closeTimeout              time.Duration
	tracer                    *tracer // calls the functions of Config.Trace; nil: none

	shared     stream.Shared // what all streams have in common; Version is set together with ver
	budget     *flow.Account // for unread data
	sendBudget *flow.Account // for data that Writes have copied and that was not sent yet
	transport  transport     // how conn is used
	in         *reader
	out        writer
	stats      counters
	rare       *rareState // guarded by mu; nil until needed
	clock      activityClock
	keepalive  *keepaliveTimer
	ping       atomic.Pointer[pinger]  // nil until the first ping
	flushes    atomic.Pointer[flushes] // nil until Flush of a stream is called
	latency    *latency

	reclaim reclaimer
	stalls  *stallWatch
	idle    *idleWatch // nil until needed; set under mu

	unsentSYN atomic.Int32 // streams opened here whose SYN is in no batch yet
	// echoDue says that the echo of the peer's drain signal has to be sent.
	echoDue atomic.Bool
	// abrupt says that the session has ended and data may have been lost: the transport had not taken all data, or
	// the session did not end because the peer closed the transport.
	abrupt atomic.Bool

	// mu guards the fields below. While it is held, only four other locks are taken: newStream takes that of the
	// budget, end also takes those of the writer and of the streams, and place that of its Listener. No goroutine that
	// holds one of the four takes mu.
	mu            sync.Mutex
	phase         phase
	acceptStopped bool // a Listener was closed: Accept fails after the drain
	acceptedOne   bool // a stream was accepted since drainTimer was set
	cutShort      bool // CloseNow has ended the session
	closeResult   closeResult
	drain         drainState
	peerDraining  bool  // the peer takes no more streams
	peerStreams   int32 // how many of the open streams the peer has opened
	err           error // why the session is ending or has ended
	writeErr      error // why nothing can be sent any more; set once
	writeErrAt    time.Duration
	streams       map[uint32]*sessionStream // the open streams
	nextID        uint64                    // the id of the next stream that this side opens

	backlog    backlog       // streams that wait to be accepted
	accepting  condition     // backlog, acceptStopped, drain or phase has changed
	opening    condition     // ver, unsentSYN, peerDraining, phase or closeResult has changed
	drained    chan struct{} // if not nil, closed when streams becomes empty, or drain becomes drainDone
	draining   chan struct{} // if not nil, closed when peerDraining becomes true
	drainTimer *time.Timer   // runs drainExpired
	graceTimer *time.Timer   // runs after a write has failed; at phaseEnded, limits the transport's Close
	done       chan struct{} // closed when the session has ended
	closeBy    time.Duration // when CloseTimeout is over, as a time of clock; with CloseNow, when that was called
}

// A phase is a part of a session's life. Phases follow each other in this order. A session may skip some.
type phase uint8

const (
	phaseOpen     phase = iota
	phaseShutdown       // after Shutdown: no new streams
	phaseClosing        // after Close: what was written is being sent, all else has ended
	phaseEnded          // the transport is closed
)

const (
	// maxUnsentSYN is how many streams may be opened before the transport has taken their SYN.
	maxUnsentSYN = 1024
	// After a write has failed, the session ends once nothing has been received for writeGrace: until then, data that
	// the peer had sent before may arrive. Most transports end by themselves sooner. The time is long because on a
	// busy machine the reader may wait longer for a processor than for the transport.
	writeGrace = time.Second
	// closeGrace is the least time that closing the transport may take.
	closeGrace = 100 * time.Millisecond
)

// Client starts a session over conn as the side that dialed. It does not wait for the peer, which must call
// [Server] or be the server of another implementation. The client opens streams with odd ids, the server with even
// ones, and the client decides the version of the protocol; otherwise the two sides are alike.
//
// conn may be anything that is reliable and ordered. If Client succeeds, conn belongs to the session, which closes
// it when it ends. If Client fails, conn still belongs to the caller. The error says what is wrong with conn or cfg.
//
// These methods of conn matter:
//
//   - Close must end Reads and Writes that are blocked.
//   - Read may return no data and no error, but 100 such Reads within 10 ms end the session with io.ErrNoProgress.
//   - Read is called with buffers of 512 bytes, of 64 KiB, and of lengths between and below these. What does not fit must
//     be left for the next Read.
//   - SetDeadline, if conn has it, is called once, to clear the deadlines.
//   - CloseWrite, if conn has it, may be called by [Session.Close], and so may the setters of a *kcp.UDPSession.
//   - LastAcked() time.Time, if conn has it, returns when the other end of conn last acknowledged something, or the
//     zero time if that is unknown. The keep-alive calls it, see [keepalive.Activity].
//   - NetConn() net.Conn and SyscallConn, if conn has them, lead to the socket below conn. On Linux, the session asks
//     the kernel about that socket. While conn writes more than 16 KiB at once, as TLS does in several records, the
//     session sets TCP_CORK of a *net.TCPConn below it. It does not read or write the socket.
//
// The best conn is a *net.TCPConn or a *net.UnixConn: see "Sockets on Linux" in the package's documentation. For any
// other conn, one more goroutine runs while there is something to send. On Linux, unless [Config].Portable is set,
// Client sets TCP_NOTSENT_LOWAT of a *net.TCPConn, so that data which cannot be sent yet waits in the session, where
// streams take turns, and not in the kernel.
func Client(conn io.ReadWriteCloser, cfg *Config) (*Session, error) {
	return start(conn, cfg, true)
}

// Server starts a session over conn as the side that accepted. Everything else is as for [Client].
func Server(conn io.ReadWriteCloser, cfg *Config) (*Session, error) {
	return start(conn, cfg, false)
}

func start(conn io.ReadWriteCloser, cfg *Config, client bool) (*Session, error) {
	if conn == nil || isNil(conn) {
		return nil, errors.New("session: conn is nil")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	config := cfg.withDefaults()
	scheduler := config.NewScheduler()
	if scheduler == nil || isNil(scheduler) {
		return nil, errors.New("session: bad Config: NewScheduler returned nil, must return a scheduler")
	}
	s := newSession(conn, &config, client)
	s.in = &reader{s: s}
	s.in.throttle.set(config.ReceiveRate, s.done)
	s.transport = newTransport(conn, s.in, config.Portable)
	s.latency.use(s.transport)
	s.out.init(s, &config, scheduler)
	s.begin()
	return s, nil
}

// newSession returns a session that has no reader, no transport and no writer yet.
func newSession(conn io.ReadWriteCloser, config *Config, client bool) *Session {
	local, remote := transportAddr(conn, "LocalAddr"), transportAddr(conn, "RemoteAddr")
	oneHost := onOneHost(local, remote)
	if config.LocalAddr != nil {
		local = config.LocalAddr
	}
	if config.RemoteAddr != nil {
		remote = config.RemoteAddr
	}
	s := &Session{
		conn:          conn,
		client:        client,
		acceptBacklog: int32(config.AcceptBacklog),
		maxStreams:    int32(config.MaxStreams),
		closeTimeout:  config.CloseTimeout,
		clock:         activityClock{begin: time.Now()},
		streams:       make(map[uint32]*sessionStream),
		nextID:        2,
		done:          make(chan struct{}),
	}
	version := wire.Version(config.Version)
	if client {
		s.nextID = 1
		if version == 0 {
			version = wire.V2
		}
	}
	s.ver.Store(uint32(version))
	s.budget = joinBudget(config.Budget, config.MaxReceiveBuffer)
	s.budget.SetMaxWindow(config.MaxStreamWindow)
	s.sendBudget = joinBudget(config.SendBudget, config.MaxSendBuffer)
	s.shared = stream.Shared{
		Version:       version,
		MaxFrameSize:  fitFrames(config.MaxFrameSize, config.MaxWriteSize),
		Budget:        s.budget,
		SendBudget:    s.sendBudget,
		Linger:        config.LingerTimeout,
		NoHalfClose:   config.NoHalfClose,
		WriteThrough:  config.WriteThrough,
		IdleTimeout:   config.StreamIdleTimeout,
		LocalAddr:     local,
		RemoteAddr:    remote,
		MaxSendBuffer: config.MaxStreamSendBuffer,
	}
	s.latency = newLatency(&s.clock, pathWindows{s.budget, s}, oneHost)
	if s.latency != nil {
		s.shared.Windows = &s.latency.windows
	} else {
		s.shared.Windows = &pathWindows{s.budget, s}
	}
	s.reclaim.s = s
	s.keepalive = &keepaliveTimer{s: s, policy: config.KeepAlive}
	s.stalls = newStallWatch(s, config)
	if config.IdleTimeout > 0 || config.StreamIdleTimeout > 0 {
		s.idle = newIdleWatch(s, config.IdleTimeout)
	}
	s.tracer = newTracer(s, config.Trace)
	s.budget.OnPressure(s.reclaim.handlePressure) // last: another session on the budget may cause a call at once
	return s
}

// joinBudget returns an account of b. If b is nil, it returns the account of a new budget of size bytes.
func joinBudget(b *flow.Budget, size int) *flow.Account {
	if b != nil {
		return b.NewAccount()
	}
	return flow.NewAccount(size)
}

// begin starts the session's goroutine and timers.
func (s *Session) begin() {
	begun := false
	defer func() {
		if !begun { // a callback has panicked
			s.keepalive.stop()
			s.budget.Close()
			s.sendBudget.Close()
		}
	}()
	if c, ok := s.conn.(interface{ SetDeadline(time.Time) error }); ok {
		// A deadline that was set for a handshake would end the session. An error says that conn has no deadlines.
		_ = c.SetDeadline(time.Time{})
	}
	s.tracer.sessionBegin()
	s.keepalive.ask()
	if s.client {
		s.out.sendOwn(ownNOP) // so that a server which takes the version of the first frame learns it
	}
	if s.version() != 0 {
		s.identifyPeer()
	}
	s.idle.start()
	go s.read()
	begun = true
}

// read is the session's one goroutine. It is replaced by a new one now and then, see [keepaliveTimer.releaseQuiet].
func (s *Session) read() {
	returned := false
	defer func() {
		if !returned { // Read of the transport has ended this goroutine
			go s.endReading(errGone)
		}
	}()
	err := s.in.run()
	returned = true
	if err == errRenewal {
		go s.read()
		return
	}
	s.endReading(s.in.cause(err))
}

// endReading ends the session, because its goroutine reads no more.
func (s *Session) endReading(err error) {
	defer s.in.close() // deferred, because a function of Config.Trace may end this goroutine
	s.end(err)
}

// version returns the version of the protocol, or 0 if a server does not know it yet.
func (s *Session) version() wire.Version { return wire.Version(s.ver.Load()) }

// setVersion sets the version, which is that of the first frame received.
func (s *Session) setVersion(v wire.Version) {
	s.mu.Lock()
	s.shared.Version = v
	s.ver.Store(uint32(v))
	s.opening.broadcast()
	drain := s.drain == drainDue
	if drain {
		s.drain = drainSent
	}
	s.mu.Unlock()
	s.identifyPeer()
	if drain {
		s.out.sendOwn(ownDrain)
	}
}

// now returns the time since the session began.
func (s *Session) now() time.Duration { return s.clock.now() }

// addSent and addReceived count n bytes that the transport has taken or delivered.
func (s *Session) addSent(n int) {
	s.stats.bytesSent.Add(uint64(n))
	s.clock.noteSent()
}

func (s *Session) addReceived(n int) {
	s.stats.bytesReceived.Add(uint64(n))
	s.clock.noteReceived()
}

// Done returns a channel that is closed when the session has ended. [Session.Err] returns the reason.
func (s *Session) Done() <-chan struct{} { return s.done }

// ended reports whether the session has ended.
func (s *Session) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Err returns nil until the session has ended, and then the reason:
//
//   - net.ErrClosed: this side has closed the session;
//   - io.EOF: the peer closed the transport between two frames, or a session of this package that was the peer closed;
//   - io.ErrUnexpectedEOF: the transport ended within a frame;
//   - a [*ProtocolError]: the peer broke the protocol;
//   - [ErrKeepAlive], [ErrIdleTimeout], [ErrWriteTimeout], [ErrLingerTimeout], [ErrAnswerTimeout]: a time has
//     passed;
//   - the error of the transport.
//
// Match it with errors.Is and errors.As. If this side has opened streams and the peer never sent a frame, the
// error wraps the reason, and asks whether the peer speaks the version.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase < phaseEnded {
		return nil
	}
	return s.err
}

// NumStreams returns the number of open streams, those that wait for AcceptStream included. A stream is open
// until this side has closed it and sent its data, or until both directions have ended and all data was read.
func (s *Session) NumStreams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// needContext panics if ctx is nil. Calls begin with it, so that a caller who recovers finds nothing changed.
func needContext(ctx context.Context) {
	if ctx == nil {
		panic("session: nil context")
	}
}
