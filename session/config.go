package session

import (
	"errors"
	"fmt"
	"math"
	"net"
	"reflect"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/wire"
)

// The defaults of Config. The fields' comments state the values.
const (
	// DefaultMaxFrameSize is the largest payload that every deployed peer accepts.
	DefaultMaxFrameSize = 32760
	// DefaultMaxReceiveBuffer holds twice the data in flight on a path of 1 Gbit/s and 100 ms. It also holds
	// the first 262,144 bytes of 128 streams.
	DefaultMaxReceiveBuffer = 32 << 20
	// DefaultMaxStreamWindow lets one stream fill a path of 1 Gbit/s and 100 ms, which takes 12.5 MB.
	DefaultMaxStreamWindow = 16 << 20
	// DefaultMaxStreams bounds the memory of the peer's streams to 64 MiB: a stream that waits to be accepted
	// with one byte of data takes 950 bytes (BenchmarkWaitingStream), less than 1 KiB.
	DefaultMaxStreams = 64 << 10
	// DefaultMaxSendBuffer holds what 128 streams copy of their Writes at most.
	DefaultMaxSendBuffer = 16 << 20
	// DefaultMaxStreamSendBuffer lets a stream fill one write to the transport while another one is on its way.
	DefaultMaxStreamSendBuffer = stream.DefaultMaxSendBuffer
	// DefaultCloseTimeout is for a peer that takes no data, or does not close.
	DefaultCloseTimeout = 5 * time.Second
	// DefaultLingerTimeout is for a closed stream whose data cannot be sent.
	DefaultLingerTimeout = time.Minute
)

// Limits of the fields of Config.
const (
	minReceiveBuffer = wire.MaxPayload + 1
	minSendBuffer    = 1 << 10
	maxReceiveBuffer = min(1<<40, math.MaxInt)
	minStreamWindow  = flow.MinWindow + 1
	maxStreamWindow  = 1 << 30
)

// Config configures a session. A nil Config, and the zero value of each field, mean the default. Many sessions may
// use one Config, also at the same time. It must not be changed once a session has used it.
//
// The session calls KeepAlive, the functions of Trace and the methods of the transport without holding a lock, so they may
// call anything on the session and its streams, Close included. Most of these calls come from a goroutine of the
// session: while such a call blocks, the session does.
type Config struct {
	// Version is the version of the protocol: 1, or 2, which has flow control for each stream. By default a client
	// uses 2, and a server takes the version of the first frame that it receives.
	//
	// The protocol does not negotiate the version: a client must set that of its server. xtaci/smux and its
	// forks have 1 unless their configuration says 2. The Rust crates smux 0.2 and async_smux 0.3 need 1. Some
	// peers with another version say nothing. Then KeepAlive ends the session, if its policy judges by silence
	// (see [keepalive.Periodic]), with an error that asks for the version.
	Version int

	// KeepAlive decides when to probe the peer, and when to end the session because the peer is dead. The default
	// is keepalive.Periodic{}, which probes when nothing was sent for 10 s, and gives up when nothing was received
	// for 30 s. Over TCP on Linux, it does not give up a peer that may be one which sends nothing when it is idle,
	// such as sing-mux, while the peer's host acknowledges the probes: see [keepalive.Periodic]. Elsewhere, use
	// [keepalive.ProbeOnly] toward such a peer. [keepalive.Off] neither probes nor gives up.
	//
	// Sessions with the same Config share the policy: see [keepalive.Policy] for one with state.
	// [Session.SetKeepAlive] replaces it for one session.
	KeepAlive keepalive.Policy

	// MaxFrameSize is the largest payload of the frames that are sent, in bytes, from 1 to 65,535. The default is
	// 32,760. The Rust crate smux accepts no larger ones.
	MaxFrameSize int

	// MaxWriteSize limits the bytes that one Write of the transport gets, for a transport that carries messages of a
	// limited size, such as a WebSocket. Then each Write gets whole frames. So a message holds whole frames, headers of 8
	// bytes included, and the peer may read it in pieces of any size. MaxFrameSize must leave room for a header. By
	// default it does, and full frames have the size at which they fill a Write. From 64 bytes to 2^30.
	//
	// On a socket MaxWriteSize limits what a system call gets; a full socket may take a part, and a Unix socket gets
	// 32,768 bytes at most, which may end within a frame. With SendRate, a Write may exceed the rate's Burst by up to
	// 1,200 bytes, because frames are not cut. By default a Write has up to 65,400 bytes, and may end within a frame if
	// there is a SendRate.
	MaxWriteSize int

	// MaxReceiveBuffer limits the data that the session holds until the application reads it, in bytes, for all
	// streams together. At the limit the session does not read the transport until the application has read
	// some data; one frame may exceed the limit. At least 65,536; the default is 32 MiB.
	//
	// In version 2, it also bounds how far a peer may send beyond a stream's window: by an eighth of
	// MaxReceiveBuffer, but at least 64 KiB and at most 256 MiB. Beyond that, the stream fails with
	// [flow.ErrWindow]. If Budget is set, its size counts instead.
	MaxReceiveBuffer int

	// Budget, if not nil, replaces MaxReceiveBuffer. Several sessions may share a Budget, which then limits all
	// of them together.
	Budget *flow.Budget

	// MaxSendBuffer limits the memory for data that Write has copied and the session has not sent, in bytes, for
	// all streams together, closed ones included. At the limit Write does not copy: it returns when the data has
	// been sent from the caller's buffer. So no stream waits for the data of another one. At least 1,024; the
	// default is 16 MiB.
	MaxSendBuffer int

	// SendBudget, if not nil, replaces MaxSendBuffer. Several sessions may share a SendBudget, which then limits
	// all of them together. It must not be the same as Budget.
	SendBudget *flow.Budget

	// MaxStreamSendBuffer limits the data of one stream that Write has copied and the session has not sent, in bytes.
	// A Write that is shorter than a quarter of it returns as soon as there is room for a copy; the first Write after a
	// Read does so if it is shorter than a 32nd. A longer Write may be sent from the caller's buffer, and then returns
	// when the transport has taken the data, except for an end that is copied. So with a small MaxStreamSendBuffer little data is ahead of the peer when
	// Write returns, and with a large one Write seldom waits.
	//
	// A stream's buffers take at most twice MaxStreamSendBuffer and 512 bytes. Those of all streams together stay within
	// MaxSendBuffer: without room in that, Write is sent from the caller's buffer. From 1,024 to 2^29; the default is
	// 130,736, which fills two writes to the transport.
	MaxStreamSendBuffer int

	// MaxStreamWindow limits the receive window of a stream in version 2, in bytes. The window begins with
	// 262,144 bytes, and grows as far as the path and the reader can use it. From 16,384 to 2^30; the default
	// is 16 MiB.
	//
	// The protocol has each peer send 262,144 bytes on a new stream before it waits for an update. With a smaller
	// MaxStreamWindow, which is for small devices, an update follows the SYN of each stream at once, whichever side
	// opens it. What the peer has sent before the update arrives is accepted, and counts for MaxReceiveBuffer, which
	// bounds the memory in any case. After that, a stream holds at most MaxStreamWindow unread bytes.
	MaxStreamWindow int

	// StallTimeout aborts streams that nobody reads, if they stop the others. It runs while the session does not
	// read the transport because its receive buffer is full. When it has passed, the session aborts streams from
	// which the application has taken no data in that time, those with most data first, until it has freed half
	// of the data that such streams hold. Read and Write of an aborted stream fail with [stream.ErrStalled], the
	// peer sees the stream closed, and Trace.StreamStalled is called.
	//
	// Reads that make a little room now and then do not restart StallTimeout. It restarts once half of the data
	// that the session holds has been read and replaced.
	//
	// A peer can always stall a session of version 1. In version 2 it needs many streams to do so. By default,
	// StallTimeout is off and all streams wait until the application reads. It is at least a millisecond.
	StallTimeout time.Duration

	// SendRate and ReceiveRate limit the rate of the transport in each direction, headers included. The session
	// reads the transport no faster than ReceiveRate, so that the transport's flow control slows the peer down.
	// By default there is no limit. [Session.SetSendRate] and [Session.SetReceiveRate] change the rates of a session.
	SendRate, ReceiveRate flow.Rate

	// AcceptBacklog limits the streams that wait for AcceptStream. At the limit the session refuses each new
	// stream, as for MaxStreams. By default, MaxStreams is the only limit.
	AcceptBacklog int

	// MaxStreams limits the streams that the peer has open at the same time, those that wait for AcceptStream
	// included. At the limit the session refuses each new stream: its opener's Read and Write fail with
	// [stream.ErrRefused]. An opener that is not of this package reads io.EOF and no data. The default is 65,536.
	//
	// All streams that wait for AcceptStream take at most 1 KiB of memory for each of MaxStreams, and twice
	// MaxReceiveBuffer for their unread data. By default that is 128 MiB.
	MaxStreams int

	// CloseTimeout limits how long [Session.Close] takes to send the data, and to learn that it has arrived. It also
	// limits how long [stream.Stream.Flush] waits for the answer of a peer that has never answered. The default
	// is 5 s.
	CloseTimeout time.Duration

	// LingerTimeout limits how long a stream keeps data that cannot be sent. After that, the stream throws the data
	// away, and sends no FIN. There are two cases:
	//
	//   - The stream is closed, and the transport takes no byte. A stream keeps its data for up to twice the time then,
	//     and as long as a call of Flush waits. When the transport takes data again, the session ends with
	//     ErrLingerTimeout.
	//   - In version 2, the peer's window is full, and the peer may have forgotten the stream (docs/protocol.md). A
	//     stream that is open gives up only if the peer has sent FIN and no window update since. Its Writes, also
	//     those that are blocked, fail with [stream.ErrPeerClosed].
	//
	// The default is 60 s.
	LingerTimeout time.Duration

	// StreamIdleTimeout closes streams that are idle for that long: no data is sent, arrives, or is read by the
	// application, and none waits to be read or sent. [stream.Stream.SetIdleTimeout] describes it, and sets another time
	// for one stream. Read and Write of a stream that was closed so fail with [stream.ErrIdleTimeout], and the peer reads
	// io.EOF. Streams that wait for AcceptStream are closed, too. It is off by default. A shorter time counts as a
	// millisecond.
	StreamIdleTimeout time.Duration

	// IdleTimeout ends a session that has no open streams for that long, or up to a quarter longer. It ends as by
	// [Session.Shutdown], so no stream that the peer opens at the same time is lost, and with [ErrIdleTimeout] instead of
	// net.ErrClosed. OpenStream fails with ErrShutdown meanwhile. It is off by default. A shorter
	// time counts as a millisecond.
	IdleTimeout time.Duration

	// NoHalfClose says that the peer has no half-close: its FIN ends both directions of a stream. Read returns the
	// data that arrived before, and then io.EOF. Writes, also those that are blocked, fail with
	// [stream.ErrPeerClosed] at once. Stream.CloseWrite fails with errors.ErrUnsupported, because the peer could not
	// answer any more.
	//
	// Set it toward xtaci/smux 1.5.28 to 1.5.53 and its forks, and toward any other version of xtaci/smux whose
	// application does not call CloseWrite. Their Close sends one FIN, as a half-close does, and they drop data that
	// arrives later. Without NoHalfClose, Writes to a stream that such a peer has closed never end in version 1; in
	// version 2 they end when the window has been full for LingerTimeout. Do not set it toward smuxkit, whose Close
	// sends two FINs.
	NoHalfClose bool

	// WriteThrough makes Write and ReadFrom of a stream return when the transport has taken all of their data. By default
	// a short Write returns when its data was copied. So with WriteThrough, a Write fails if the transport has failed, and
	// after a Write the program may exit, or close the transport itself, as far as the transport allows that after a
	// Write of its own. CloseWrite and Close of a stream wait, too: until the transport has taken the FIN, for at most
	// LingerTimeout.
	//
	// A Write that ends early, at its deadline for instance, returns how many bytes the session has taken: those will be
	// sent, and no others. With WriteThrough no data is copied to wait: MaxSendBuffer and MaxStreamSendBuffer have no
	// effect, and WriteLazily of a stream takes nothing. Small Writes cost more, as the session sends each alone. Use
	// [stream.Stream.Flush] instead to learn that data has arrived.
	WriteThrough bool

	// WriteTimeout ends the session with [ErrWriteTimeout] if data waits and the transport has taken no byte for
	// that long. On sockets each byte counts. On any other transport each Write, of up to 64 KiB, must return
	// in that time. It is off by default: the peer may stop reading for as long as it likes.
	WriteTimeout time.Duration

	// Portable makes a session on Linux use a *net.TCPConn or *net.UnixConn through its methods alone. By default
	// such a session makes system calls of its own, which take less time and memory (see "Sockets on Linux" in
	// the package's documentation). Portable does not affect any other conn, other systems, or the peer.
	//
	// A session that uses a conn through its methods waits in the conn's Read, with a buffer of 64 KiB. On a
	// socket without Portable, an idle session has no buffer.
	Portable bool

	// NewScheduler returns the scheduler of one session, which decides which stream sends next. Client and Server
	// call NewScheduler once. The default is [shaper.NewFair].
	//
	// The session calls the scheduler under a lock: the scheduler must not call the session or its streams. If it
	// panics, the session ends.
	NewScheduler func() shaper.Scheduler

	// LocalAddr and RemoteAddr, if not nil, are the addresses that the session and its streams report, and that errors
	// name, instead of those of the transport. They are for a transport that knows none, such as a pair of pipes, and
	// for one whose addresses are those of a proxy. All sessions with the same Config report the same addresses. The
	// session only reports the addresses: it does not judge by them whether the transport leaves this machine.
	LocalAddr, RemoteAddr net.Addr

	// Trace has functions that the session calls when something happens: when a stream is opened, refused or closed, for
	// instance. [LogTrace] returns one that logs. By default nothing is called, and nothing is logged.
	Trace *Trace
}

// withDefaults returns a copy of c, which may be nil, with every field set.
func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	setDefault(&d.MaxFrameSize, DefaultMaxFrameSize)
	if d.MaxWriteSize > wire.HeaderSize && (c == nil || c.MaxFrameSize == 0) {
		d.MaxFrameSize = min(d.MaxFrameSize, d.MaxWriteSize-wire.HeaderSize)
	}
	setDefault(&d.MaxReceiveBuffer, DefaultMaxReceiveBuffer)
	setDefault(&d.MaxStreamWindow, DefaultMaxStreamWindow)
	setDefault(&d.MaxStreams, DefaultMaxStreams)
	setDefault(&d.CloseTimeout, DefaultCloseTimeout)
	setDefault(&d.MaxSendBuffer, DefaultMaxSendBuffer)
	setDefault(&d.MaxStreamSendBuffer, DefaultMaxStreamSendBuffer)
	setDefault(&d.LingerTimeout, DefaultLingerTimeout)
	if d.KeepAlive == nil {
		d.KeepAlive = keepalive.Periodic{}
	}
	if d.NewScheduler == nil {
		quantum := max(shaper.DefaultQuantum, d.MaxFrameSize+wire.HeaderSize)
		d.NewScheduler = func() shaper.Scheduler { return shaper.NewFair(shaper.WithQuantum(quantum)) }
	}
	return d
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate returns nil if c, which may be nil, is valid. Otherwise its error names each bad field, the field's value,
// and the values that are allowed. [Client] and [Server] call it.
func (c *Config) Validate() error {
	d := c.withDefaults()
	var errs []error
	within := func(field string, value, low, high int) {
		if value < low || value > high {
			errs = append(errs, fmt.Errorf("%s is %d, must be from %d to %d", field, value, low, high))
		}
	}
	within("Version", d.Version, 0, 2)
	within("MaxFrameSize", d.MaxFrameSize, 1, wire.MaxPayload)
	if d.MaxWriteSize != 0 {
		within("MaxWriteSize", d.MaxWriteSize, wire.MinBatchLimit, 1<<30)
		if d.MaxFrameSize > d.MaxWriteSize-wire.HeaderSize {
			errs = append(errs, fmt.Errorf("MaxFrameSize is %d and MaxWriteSize %d, a frame with its header of %d bytes must fit", d.MaxFrameSize, d.MaxWriteSize, wire.HeaderSize))
		}
	}
	within("MaxReceiveBuffer", d.MaxReceiveBuffer, minReceiveBuffer, maxReceiveBuffer)
	within("MaxSendBuffer", d.MaxSendBuffer, minSendBuffer, maxReceiveBuffer)
	within("MaxStreamSendBuffer", d.MaxStreamSendBuffer, stream.MinMaxSendBuffer, stream.MaxMaxSendBuffer)
	within("MaxStreamWindow", d.MaxStreamWindow, minStreamWindow, maxStreamWindow)
	within("AcceptBacklog", d.AcceptBacklog, 0, 1<<30)
	within("MaxStreams", d.MaxStreams, 1, 1<<30)
	notNegative := func(field string, d time.Duration) {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s is %v, must not be negative", field, d))
		}
	}
	notNegative("CloseTimeout", d.CloseTimeout)
	notNegative("LingerTimeout", d.LingerTimeout)
	notNegative("StreamIdleTimeout", d.StreamIdleTimeout)
	notNegative("IdleTimeout", d.IdleTimeout)
	notNegative("WriteTimeout", d.WriteTimeout)
	notNegative("StallTimeout", d.StallTimeout)
	errs = append(errs, checkRate("SendRate", d.SendRate)...)
	errs = append(errs, checkRate("ReceiveRate", d.ReceiveRate)...)
	notNilPointer := func(field string, a net.Addr) {
		if a != nil && isNil(a) {
			errs = append(errs, fmt.Errorf("%s holds a nil pointer, must be an address or nil itself", field))
		}
	}
	notNilPointer("LocalAddr", d.LocalAddr)
	notNilPointer("RemoteAddr", d.RemoteAddr)
	if err := validatePolicy(d.KeepAlive); err != nil {
		errs = append(errs, fmt.Errorf("KeepAlive: %w", err))
	}
	if c != nil && c.Budget != nil && c.MaxReceiveBuffer != 0 {
		errs = append(errs, errors.New("both Budget and MaxReceiveBuffer are set, only one may be"))
	}
	if c != nil && c.SendBudget != nil && c.MaxSendBuffer != 0 {
		errs = append(errs, errors.New("both SendBudget and MaxSendBuffer are set, only one may be"))
	}
	if c != nil && c.SendBudget != nil && c.SendBudget == c.Budget {
		errs = append(errs, errors.New("SendBudget and Budget are the same, must be two"))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("session: bad Config: %w", errors.Join(errs...))
}

// fitFrames returns the payload of full frames, which is at most maxFrame, for writes of at most maxWrite bytes. A batch
// must have room for one, and two FINs. If full frames of maxFrame bytes left more than a 16th of a batch unused, they
// are smaller, so that they fill the batch. Without a limit of writes the stream does that itself.
func fitFrames(maxFrame, maxWrite int) int {
	if maxWrite == 0 || maxWrite >= wire.BatchSize {
		return maxFrame
	}
	room := maxWrite - 2*wire.HeaderSize
	maxFrame = min(maxFrame, room-wire.HeaderSize)
	size := maxFrame + wire.HeaderSize
	if room%size <= maxWrite/16 {
		return maxFrame
	}
	return max(1, room/(room/size+1)-wire.HeaderSize)
}

// isNil reports whether v holds a nil pointer.
func isNil(v any) bool {
	p := reflect.ValueOf(v)
	return p.Kind() == reflect.Pointer && p.IsNil()
}
