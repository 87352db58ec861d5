package session

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"time"

	"github.com/smuxkit/smuxkit/flow"
	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/shaper"
	"github.com/smuxkit/smuxkit/wire"
)

// Defaults of the fields of Config.
const (
	// DefaultMaxFrameSize is the largest payload that every deployed peer accepts.
	DefaultMaxFrameSize = 32760
	// DefaultMaxReceiveBuffer holds twice what is under way on a path of 1 Gbit/s and
	// 100 ms, and the first 262,144 bytes of 128 streams.
	DefaultMaxReceiveBuffer = 32 << 20
	// DefaultMaxStreamWindow lets one stream fill a path of 1 Gbit/s and 100 ms,
	// which takes 12.5 MB.
	DefaultMaxStreamWindow = 16 << 20
	// DefaultMaxStreams bounds the memory of a peer's streams to 64 MiB: one that waits
	// with a byte of data takes 950 bytes (BenchmarkWaitingStream), less than 1 KiB.
	DefaultMaxStreams = 64 << 10
	// DefaultMaxSendBuffer holds what 128 streams copy of their Writes at most.
	DefaultMaxSendBuffer = 16 << 20
	// DefaultCloseTimeout is how long Close waits for a peer that takes no data or does not close.
	DefaultCloseTimeout = 5 * time.Second
	// DefaultLingerTimeout is how long a closed stream keeps data that does not leave.
	DefaultLingerTimeout = time.Minute
)

// Limits of the fields of Config.
const (
	minReceiveBuffer = wire.MaxPayload + 1
	minSendBuffer    = 1 << 10
	maxReceiveBuffer = min(1<<40, math.MaxInt)
	maxStreamWindow  = 1 << 30
)

// Config says how a session is to work. The zero value of each field, and a nil
// Config, mean the default. A Config may be used for many sessions, also at once,
// and must not be changed once it was used.
//
// KeepAlive, OnEvent, Logger and the methods of the transport may call anything on the session and
// its streams, Close included: the session holds no lock while it calls them. Most of them run on a
// goroutine of the session, so that one that blocks holds the session up.
type Config struct {
	// Version is the version of the protocol: 1, or 2 for flow control of each stream.
	// The default is 2 for a client; a server takes the version of the first frame that it
	// receives.
	//
	// The protocol has no negotiation: toward another implementation that accepted the
	// connection, set its version. xtaci/smux and its forks have 1 unless their configuration
	// says 2; the Rust crates smux 0.2 and async_smux 0.3 need 1. Some peers of another version
	// say nothing: then the session ends by KeepAlive, with an error that asks for the version.
	Version int

	// KeepAlive says when to probe the peer and when to give it up. The default is
	// keepalive.Periodic{}: 10 s and 30 s. keepalive.Off{} does neither. Sessions with the
	// same Config share the policy: [keepalive.Policy] says what that means for one with state.
	KeepAlive keepalive.Policy

	// MaxFrameSize is the most payload bytes of a frame that is sent, from 1 to
	// 65,535. The default is 32,760; the Rust crate smux accepts no more.
	MaxFrameSize int

	// MaxReceiveBuffer is the most bytes that are held for the application to
	// read, of all streams. When it is reached the transport is not read until the
	// application has read some; one frame may exceed it. At least 65,536; the
	// default is 32 MiB. In version 2, a stream fails with flow.ErrWindow if its peer
	// exceeds the stream's window by more than an eighth of MaxReceiveBuffer, or 64 KiB
	// if that is more, or 256 MiB if that is less. An eighth of Budget is meant where one is used.
	MaxReceiveBuffer int

	// Budget, if not nil, is used in place of MaxReceiveBuffer. Several sessions
	// may share one, and then hold no more than that together.
	Budget *flow.Budget

	// MaxSendBuffer limits the memory for data that Write has copied and that was not sent yet,
	// in bytes, of all streams, closed ones included. When it is used up, Write copies
	// nothing: it returns when the data was sent from the caller's buffer. So no stream waits for
	// another one's data. At least 1,024; the default is 16 MiB.
	MaxSendBuffer int

	// SendBudget, if not nil, is used in place of MaxSendBuffer. Several sessions may share
	// one, and then hold no more than that together. It must not be the Budget.
	SendBudget *flow.Budget

	// MaxStreamWindow is how far the receive window of one stream may grow, in version 2. It
	// starts at 262,144 bytes and grows as the path and the reader need. From
	// 262,144 to 2^30; the default is 16 MiB.
	MaxStreamWindow int

	// StallTimeout ends stalls: it aborts streams that nobody reads when their unread data has
	// used up MaxReceiveBuffer, or Budget, and has kept the session from reading the transport for so
	// long. Those from which the application took nothing in that time are aborted, the ones
	// that hold most first, until half of what they hold is free. Their Reads and Writes fail
	// with stream.ErrStalled, their peer sees them closed, and OnEvent is called. Data of the
	// others can go on. Reads that make little room now and then do not put this off: when half of
	// what the session holds has been read and replaced, the time starts anew.
	//
	// A peer of version 1 can always stall a session, one of version 2 if it opens many
	// streams. The default, 0, is never: all wait until the application reads. Less than a
	// millisecond is taken for a millisecond.
	StallTimeout time.Duration

	// SendRate and ReceiveRate limit how much goes over the transport, headers
	// included. The transport is read no faster than ReceiveRate, so that its own flow
	// control holds the peer back. The default is no limit.
	SendRate, ReceiveRate flow.Rate

	// AcceptBacklog limits the streams that wait for AcceptStream. At the limit each
	// new stream is refused: its opener reads io.EOF and no data. The default, 0, is
	// no limit beside MaxStreams.
	AcceptBacklog int

	// MaxStreams limits the streams that the peer has open at once, those that wait for
	// AcceptStream included. At the limit each new stream is refused: its opener
	// reads io.EOF and no data. The default is 65,536. All streams that wait for AcceptStream
	// take at most 1 KiB of memory for each of MaxStreams, and twice MaxReceiveBuffer
	// for their unread data: 128 MiB by default.
	MaxStreams int

	// CloseTimeout limits how long Close waits until what was written is sent, and the peer has closed the
	// transport where Close waits for that. The default is 5 s.
	CloseTimeout time.Duration

	// LingerTimeout limits how long a stream that was closed keeps data that does not leave: as
	// the transport takes no byte, or, in version 2, as the peer makes no room and may have forgotten
	// the stream (docs/protocol.md). Then the data is thrown away, without a FIN; in the first case
	// the session ends with ErrLingerTimeout when the transport takes data again. The default is 60 s.
	LingerTimeout time.Duration

	// WriteTimeout ends the session with ErrWriteTimeout when the transport has taken no byte for
	// that long, although some waited. On sockets each byte counts; on any other transport, one
	// Write of up to 64 KiB must return within that time. The default, 0, is never: a
	// peer may stop reading for as long as it likes.
	WriteTimeout time.Duration

	// Portable has the session use conn by its own methods alone, Read, Write and Close among them, as
	// everywhere but on Linux. By default, a session on Linux uses a *net.TCPConn or *net.UnixConn by
	// system calls of its own, which take less time and memory (see "Sockets on Linux" in the package's
	// documentation). It makes no difference to any other conn, nor to the peer.
	Portable bool

	// NewScheduler returns the scheduler of one session, which decides whose frame is
	// sent next. Client and Server call it once. The default is shaper.NewFair.
	//
	// The scheduler is called under a lock of the session: it must not call the session or
	// its streams. If it panics, the session ends.
	NewScheduler func() shaper.Scheduler

	// OnEvent, if not nil, is called for each stream that StallTimeout has aborted. It must not
	// block.
	OnEvent func(Event)

	// Logger, if not nil, gets a line when a session begins; when it ends, and why; and when
	// StallTimeout has aborted streams. Nothing else is ever logged.
	Logger *slog.Logger
}

// withDefaults returns a copy of c, which may be nil, with every field set.
func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	setDefault(&d.MaxFrameSize, DefaultMaxFrameSize)
	setDefault(&d.MaxReceiveBuffer, DefaultMaxReceiveBuffer)
	setDefault(&d.MaxStreamWindow, DefaultMaxStreamWindow)
	setDefault(&d.MaxStreams, DefaultMaxStreams)
	setDefault(&d.CloseTimeout, DefaultCloseTimeout)
	setDefault(&d.MaxSendBuffer, DefaultMaxSendBuffer)
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

// Validate returns nil if c, which may be nil, can be used, and otherwise an error
// that names every field that is wrong, its value, and what is allowed.
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
	within("MaxReceiveBuffer", d.MaxReceiveBuffer, minReceiveBuffer, maxReceiveBuffer)
	within("MaxSendBuffer", d.MaxSendBuffer, minSendBuffer, maxReceiveBuffer)
	within("MaxStreamWindow", d.MaxStreamWindow, flow.InitialWindow, maxStreamWindow)
	within("AcceptBacklog", d.AcceptBacklog, 0, 1<<30)
	within("MaxStreams", d.MaxStreams, 1, 1<<30)
	notNegative := func(field string, d time.Duration) {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s is %v, must not be negative", field, d))
		}
	}
	notNegative("CloseTimeout", d.CloseTimeout)
	notNegative("LingerTimeout", d.LingerTimeout)
	notNegative("WriteTimeout", d.WriteTimeout)
	notNegative("StallTimeout", d.StallTimeout)
	rate := func(field string, r flow.Rate) {
		if !(r.BytesPerSecond >= 0) {
			errs = append(errs, fmt.Errorf("%s.BytesPerSecond is %v, must not be negative; 0 is no limit", field, r.BytesPerSecond))
		}
		within(field+".Burst", r.Burst, 0, 1<<30)
	}
	rate("SendRate", d.SendRate)
	rate("ReceiveRate", d.ReceiveRate)
	if isNil(d.KeepAlive) {
		errs = append(errs, errors.New("KeepAlive holds a nil pointer, must be a policy or nil itself"))
	} else if v, ok := d.KeepAlive.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("KeepAlive: %w", err))
		}
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

// isNil reports whether v holds a nil pointer.
func isNil(v any) bool {
	p := reflect.ValueOf(v)
	return p.Kind() == reflect.Pointer && p.IsNil()
}
