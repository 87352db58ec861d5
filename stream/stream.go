package stream

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/internal/buffer"
	"github.com/smuxkit/smuxkit/wire"
)

// Urgency says how soon a Link should send.
type Urgency uint8

const (
	// Now: before the call returns, if that needs no waiting.
	Now Urgency = iota
	// Soon: without delay, but together with what else comes up meanwhile, as
	// nobody is known to wait for it.
	Soon
	// Lazily: within a millisecond, or with the next frame that goes out.
	Lazily
)

// A Link is what a Stream needs of its session; each Stream has its own. Its
// methods are called without any lock of the Stream, by any goroutine and by
// several at once, and must not wait for the transport.
type Link interface {
	// SendControl has the session call Control on the Port.
	SendControl(Urgency)
	// SendData has the session call Data on the Port, and again for as long as
	// Data reports more.
	SendData(Urgency)
	// Flush has the session send, if it is not doing so, what waits to be sent:
	// the application is about to wait for its peer.
	Flush()
	// Finished says that the Stream needs no more of the session: it has sent
	// its FIN, and has read all it ever will. Frames that still arrive for it are
	// to be dropped. It is called once.
	Finished()
	// SetWeight sets the share of the stream's data in what the session sends.
	SetWeight(int)
	// Now returns the time since the session began, on a monotonic clock.
	Now() time.Duration
}

// Config is what all streams of one session have in common.
type Config struct {
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

	round atomic.Uint64 // see NextRound
	kept  atomic.Int64  // bytes that streams that were closed have yet to send
}

// NextRound begins a round in which streams note that their readers take data, and returns it. Ask
// [Port.Stalled] for those that did not.
func (c *Config) NextRound() uint64 { return c.round.Add(1) }

// linger returns Linger, or what it is by default, and no time so short that streams that wait are busy
// looking at the clock.
func (c *Config) linger() time.Duration {
	if c.Linger <= 0 {
		return 5 * time.Second
	}
	return max(c.Linger, 10*time.Millisecond)
}

// maxKept bounds what closed streams keep for longer than Linger without any progress.
func (c *Config) maxKept() int64 {
	if c.SendBudget == nil {
		return 16 << 20
	}
	return int64(c.SendBudget.Budget().Size() / 2)
}

// A Stream is one stream of a session, and a net.Conn. All its methods may be
// called concurrently. Each Write goes out whole before the next one begins, each
// Read takes bytes that no other Read sees.
type Stream struct {
	cfg  *Config
	link Link
	id   uint32

	// mu guards all that follows. It is never held while a Link is called.
	mu     sync.Mutex
	credit flow.SendWindow // the peer's window; here it leaves no gap
	err    error           // why the session ended; nil while it lives

	// What both directions share.
	arriving      bool // despite err, data may still come
	sending       bool // despite err, what was accepted is still sent
	closed        bool // by Close, or by what closedBy says
	closedBy      closer
	peerClosed    bool // the peer has closed both directions
	halfClosed    bool // it has not: it has sent a window update after its FIN
	finished      bool // Link.Finished was called
	controlQueued bool // the stream stands in line to send control frames
	dataQueued    bool // the stream stands in line to send data

	// The way out: pending, then lending, then FIN.
	out        outState
	synDue     bool           // SYN has not gone out
	finAgain   bool           // a second FIN is due: closed both directions
	lost       bool           // data that Write accepted was thrown away
	lingering  bool           // closed, it waits for the peer's window; see linger
	writing    bool           // a Write is under way, others wait for their turn
	spoke      bool           // this side has written since it last read
	unsent     int32          // bytes in pending
	held       int32          // bytes that the buffers of pending take, charged to SendBudget
	bulk       *bulk          // nil until the first large Write
	loans      int32          // how often a Batch refers to the buffer of a Write
	pending    buffer.Queue   // accepted and copied
	lending    []byte         // what is left of the buffer of a Write, which waits
	rate       *flow.Limiter  // nil until SetSendRate
	writers    *waiters       // who waits for a turn, for room or for the window
	writeLimit *deadlineTimer // nil until the first SetWriteDeadline

	// The way in: queue holds unread bytes that came before the peer's FIN.
	in        inState   // whether the peer's FIN has come
	discard   bool      // CloseRead or Close was called: what arrives is thrown away
	updateDue bool      // an UPD should go out
	lent      lentState // which memory the session is reading into
	unread    int       // bytes in queue
	touched   uint64    // the round in which queue was last read from, or was empty
	window    flow.ReceiveWindow
	queue     buffer.Queue
	reading   *reading       // a Read that found nothing, and waits
	readers   *waiters       // who waits for something to read
	readLimit *deadlineTimer // nil until the first SetReadDeadline
}

// Who has closed the stream.
type closer uint8

const (
	closedByUser closer = iota
	closedByStall
	closedByOverrun
)

// The states of the way in.
type inState uint8

const (
	inOpen  inState = iota
	inEnded         // the peer's FIN has come: what is queued, then io.EOF
)

// The states of the way out.
type outState uint8

const (
	outOpen      outState = iota // Write takes data
	outFinishing                 // closed for writing; FIN goes out behind the data
	outFinished                  // FIN has gone out
)

// Which memory the session fills between Lend and Commit.
type lentState uint8

const (
	lentNone   lentState = iota
	lentReader           // the buffer of a waiting Read
	lentQueue            // the free end of the queue's last buffer
)

var (
	_ net.Conn      = (*Stream)(nil)
	_ io.WriterTo   = (*Stream)(nil)
	_ io.ReaderFrom = (*Stream)(nil)
)

// ID returns the stream's id, by which it is known on the wire.
func (s *Stream) ID() uint32 { return s.id }

// LocalAddr returns the session's local address.
func (s *Stream) LocalAddr() net.Addr { return s.cfg.LocalAddr }

// RemoteAddr returns the session's remote address.
func (s *Stream) RemoteAddr() net.Addr { return s.cfg.RemoteAddr }

// opError wraps err, which ended op, as package net does. io.EOF stays bare.
func (s *Stream) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "smux", Source: s.cfg.LocalAddr, Addr: s.cfg.RemoteAddr, Err: err}
}

// windowed reports whether the stream has flow control of its own.
func (s *Stream) windowed() bool { return s.cfg.Version == wire.V2 }

// now is for the receive window, which alone needs the time.
func (s *Stream) now() time.Duration {
	if !s.windowed() {
		return 0
	}
	return s.link.Now()
}

// finish reports whether the session must now be told that the stream is
// finished. The caller then calls Link.Finished, without the lock.
func (s *Stream) finish() bool {
	if s.finished || s.synDue || s.out != outFinished || s.finAgain || s.unsent > 0 {
		return false
	}
	if !s.closed && (s.in == inOpen || s.unread > 0) {
		return false
	}
	s.finished = true
	return true
}
