package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// A Session carries many streams over one transport. Either side may open streams
// and accept those of the other. All its methods may be called concurrently.
//
// A Session is a net.Listener: Accept returns the streams that the peer opens, and Close ends all of them.
// A server that closes its listener before its last answers are sent, like http.Server, needs
// [Session.Listener] instead.
type Session struct {
	conn   io.ReadWriteCloser
	client bool
	config Config

	ver        atomic.Uint32 // wire.Version; 0 until a server has learned it
	shared     stream.Shared // what all streams have in common; Version is set with ver
	budget     *flow.Share   // of unread data
	sendBudget *flow.Share   // of data that was written, copied, and not sent yet
	transport  transport     // how conn is used
	in         *reader
	out        *writer
	stats      counters
	clock      activityClock
	keepalive  keepaliveTimer
	latency    *latency

	reclaim reclaimer
	stalls  *stallWatch

	unsentSYN atomic.Int32 // streams that were opened and wait for the transport
	abrupt    atomic.Bool  // the session has ended otherwise than by the peer's closing a
	// transport to which all was handed

	// mu guards what follows. No other lock is taken under it, but for those of the
	// writer and the streams in end; none of their holders ever takes mu.
	mu          sync.Mutex
	phase       phase
	err         error // why the session ends or ended
	writeErr    error // why nothing can be sent any more; set once
	writeErrAt  time.Duration
	streams     map[uint32]*sessionStream // the streams that are open
	peerStreams int                       // how many of them the peer has opened
	nextID      uint64

	backlog    []*sessionStream // streams to be accepted; nil if there are none
	stopped    bool             // a Listener was closed: no stream is accepted any more
	accepting  sync.Cond        // backlog, stopped or phase changed
	opening    sync.Cond        // ver, unsentSYN or phase changed
	drained    chan struct{}    // if not nil, closed when streams becomes empty
	graceTimer *time.Timer      // runs after writing has failed
	closing    chan struct{}    // closed when Close is called or the session has ended
	done       chan struct{}    // closed when the session has ended
	closeBy    time.Time        // when Close is to return
}

// The phases of a session's life, in their order.
type phase uint8

const (
	phaseOpen     phase = iota
	phaseShutdown       // Shutdown: no new streams
	phaseClosing        // Close: what was written is being sent, all else has ended
	phaseEnded          // the transport is closed
)

const (
	// maxUnsentSYN is how many streams may be opened ahead of a transport that
	// takes no data.
	maxUnsentSYN = 1024
	// writeGrace is for how long nothing must have been read before a session ends whose writing has
	// failed: what the peer sent before may still be there. A transport ends by itself sooner, as a rule.
	// On a busy machine a goroutine that could read may wait for its turn for much longer than a
	// transport takes.
	writeGrace = time.Second
	// closeGrace is the least time that closing the transport may take.
	closeGrace = 100 * time.Millisecond
)

// Client starts a session over conn, as the side that dialed. conn is the session's from
// now on, and closed with it. The peer must be a server; which side is the client decides
// whose stream ids are odd, and nothing else.
//
// conn may be anything that is reliable and ordered. A *net.TCPConn or *net.UnixConn is served
// best, without deadlines; for any other, one more goroutine runs while there is something to
// send. Its Close must end a Read and a Write that are blocked. If conn has a method CloseWrite, [Session.Close]
// may call it. On Linux, TCP_NOTSENT_LOWAT of a
// *net.TCPConn is set, so that what waits to be sent waits here, where streams take turns, and
// not in the kernel. Client clears the deadlines of a conn that has a method SetDeadline. A Read of
// conn may return no data and no error; 100 such Reads within 10 ms end the session with
// io.ErrNoProgress.
//
// The error says what is wrong with conn or cfg; Client does not wait for the peer.
func Client(conn io.ReadWriteCloser, cfg *Config) (*Session, error) {
	return start(conn, cfg, true)
}

// Server is Client for the side that accepted conn.
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
	local, remote := transportAddr(conn, "LocalAddr"), transportAddr(conn, "RemoteAddr")
	s := &Session{
		conn:    conn,
		client:  client,
		config:  config,
		clock:   activityClock{begin: time.Now()},
		nextID:  2,
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	if client {
		s.nextID = 1
		if s.config.Version == 0 {
			s.config.Version = int(wire.V2)
		}
	}
	if s.config.Budget != nil {
		s.budget = s.config.Budget.Join()
	} else {
		s.budget = flow.NewShare(s.config.MaxReceiveBuffer)
	}
	if s.config.SendBudget != nil {
		s.sendBudget = s.config.SendBudget.Join()
	} else {
		s.sendBudget = flow.NewShare(s.config.MaxSendBuffer)
	}
	s.budget.SetMaxWindow(s.config.MaxStreamWindow)
	s.shared = stream.Shared{
		Version:    wire.Version(s.config.Version),
		MaxFrame:   s.config.MaxFrameSize,
		Budget:     s.budget,
		SendBudget: s.sendBudget,
		Linger:     s.config.LingerTimeout,
		LocalAddr:  local,
		RemoteAddr: remote,
	}
	s.latency = newLatency(&s.clock, s.budget, onOneHost(local, remote))
	s.ver.Store(uint32(s.config.Version))
	s.streams = make(map[uint32]*sessionStream)
	s.accepting.L = &s.mu
	s.opening.L = &s.mu
	s.reclaim.s = s
	s.stalls = newStallWatch(s)
	s.budget.OnPressure(s.reclaim.ring)
	s.in = &reader{s: s, throttle: newThrottle(s.config.ReceiveRate, s.done)}
	s.transport = newTransport(conn, s.in, config.Portable)
	s.latency.use(s.transport)
	s.out = newWriter(s, scheduler)
	begun := false
	defer func() {
		if !begun { // a callback has panicked
			s.keepalive.stop()
			s.budget.Leave()
		}
	}()
	if c, ok := conn.(interface{ SetDeadline(time.Time) error }); ok {
		// One that was set for a handshake would end the session. A conn that fails here supports none.
		_ = c.SetDeadline(time.Time{})
	}
	s.log("session begins")
	s.keepalive.start(s)
	if client {
		// A server that waits for the version of the first frame has it now.
		s.out.sendNOP()
	}
	go s.read()
	begun = true
	return s, nil
}

// read is the session's one goroutine.
func (s *Session) read() {
	err := s.in.run()
	s.end(s.in.cause(err))
	s.in.close()
}

// version returns the protocol's version, or 0 if it is not known yet.
func (s *Session) version() wire.Version { return wire.Version(s.ver.Load()) }

// setVersion takes the version of the first frame received.
func (s *Session) setVersion(v wire.Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shared.Version = v
	s.ver.Store(uint32(v))
	s.opening.Broadcast()
}

// now is the time since the session began.
func (s *Session) now() time.Duration { return s.clock.now() }

// addSent and addReceived note that n bytes went over the transport.
func (s *Session) addSent(n int) {
	s.stats.bytesSent.Add(uint64(n))
	s.clock.noteSent()
}

func (s *Session) addReceived(n int) {
	s.stats.bytesReceived.Add(uint64(n))
	s.clock.noteReceived()
}

// Done returns a channel that is closed when the session has ended, for whatever reason.
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

// Err returns nil while the session lives, and then why it ended: net.ErrClosed if this side
// closed it; io.EOF if the peer closed the transport between two frames, and io.ErrUnexpectedEOF
// within one; a *ProtocolError; ErrKeepAlive; or the transport's error. If this side has opened
// streams and the peer never sent a frame, the error says so as well and asks for the version; match
// it with errors.Is.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase < phaseEnded {
		return nil
	}
	return s.err
}

// NumStreams returns how many streams are open: those that were opened by either side, and
// not yet closed by both or by this one.
func (s *Session) NumStreams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// needContext panics if ctx is nil. A call does it first, so that a caller that recovers finds
// nothing changed.
func needContext(ctx context.Context) {
	if ctx == nil {
		panic("session: nil context")
	}
}

func (s *Session) log(msg string, args ...any) {
	if l := s.config.Logger; l != nil {
		args = append(args, "local", fmt.Sprint(s.LocalAddr()), "remote", fmt.Sprint(s.RemoteAddr()))
		l.Log(context.Background(), slog.LevelInfo, msg, args...)
	}
}
