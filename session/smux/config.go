package smux

import (
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"time"

	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
)

// Config configures a session. It must not be changed while a session starts. [DefaultConfig] has the defaults: unlike in
// package session, a zero field is no default.
type Config struct {
	// Version is the version of the protocol, 1 or 2. Both ends must have the same. The default is 1.
	Version int

	// KeepAliveDisabled turns the keep-alive off: the session sends no NOPs, and does not end because the peer is silent.
	KeepAliveDisabled bool

	// KeepAliveInterval is the time between the NOPs that are sent. The default is 10 s.
	KeepAliveInterval time.Duration

	// KeepAliveTimeout is how often the session looks whether something has arrived since it looked last. If nothing has,
	// the session is closed: so a silent peer is given up after one to two KeepAliveTimeouts. While the session does not
	// read the transport because MaxReceiveBuffer is used up, it is not closed. The default is 30 s.
	KeepAliveTimeout time.Duration

	// MaxFrameSize is the largest payload of the frames that are sent, from 1 to 65,535 bytes. The default is 32,768. It
	// also limits what one Write of the transport gets: see the package's documentation.
	MaxFrameSize int

	// MaxReceiveBuffer limits the unread data of all streams together, in bytes. At the limit the session does not read
	// the transport. Less than 65,536 counts as that. The default is 4 MiB.
	MaxReceiveBuffer int

	// MaxStreamBuffer limits the unread data of one stream in version 2, in bytes, up to MaxReceiveBuffer. Less than 16,384
	// counts as that, and more than 2^30 as 2^30. It limits how fast a stream is: to MaxStreamBuffer for each round trip.
	// The default is 65,536.
	MaxStreamBuffer int
}

// The limits of package session.
const (
	minReceiveBuffer = 64 << 10
	minStreamWindow  = 16 << 10
	maxStreamWindow  = 1 << 30

	minWriteSize = 64

	// openCloseTimeout is how long OpenStream, and CloseWrite and Close of a stream, wait for the transport.
	openCloseTimeout = 30 * time.Second

	defaultMaxFrameSize = 32 << 10
	// frameHeader is what a frame takes beside its payload.
	frameHeader = 8
)

// DefaultConfig returns a new Config with the defaults.
func DefaultConfig() *Config {
	return &Config{
		Version:           1,
		KeepAliveInterval: 10 * time.Second,
		KeepAliveTimeout:  30 * time.Second,
		MaxFrameSize:      defaultMaxFrameSize,
		MaxReceiveBuffer:  4 << 20,
		MaxStreamBuffer:   64 << 10,
	}
}

// VerifyConfig returns an error if config is not valid. [Client] and [Server] call it.
func VerifyConfig(config *Config) error {
	switch c := config; {
	case c.Version != 1 && c.Version != 2:
		return errors.New("smux: Version must be 1 or 2")
	case !c.KeepAliveDisabled && c.KeepAliveInterval <= 0:
		return errors.New("smux: KeepAliveInterval must be positive")
	case !c.KeepAliveDisabled && c.KeepAliveTimeout < c.KeepAliveInterval:
		return errors.New("smux: KeepAliveTimeout must not be shorter than KeepAliveInterval")
	case c.MaxFrameSize < 1 || c.MaxFrameSize > math.MaxUint16:
		return errors.New("smux: MaxFrameSize must be from 1 to 65535")
	case c.MaxReceiveBuffer < 1 || c.MaxReceiveBuffer > math.MaxInt32:
		return errors.New("smux: MaxReceiveBuffer must be from 1 to 2147483647")
	case c.MaxStreamBuffer < 1 || c.MaxStreamBuffer > c.MaxReceiveBuffer:
		return errors.New("smux: MaxStreamBuffer must be from 1 to MaxReceiveBuffer")
	}
	return nil
}

// sessionConfig returns the Config of package session with which a session over conn behaves as the original's.
func (c *Config) sessionConfig(conn io.ReadWriteCloser) *session.Config {
	cfg := &session.Config{
		Version:          c.Version,
		KeepAlive:        keepalive.Off{},
		MaxFrameSize:     c.MaxFrameSize,
		MaxReceiveBuffer: max(c.MaxReceiveBuffer, minReceiveBuffer),
		MaxStreamWindow:  min(max(c.MaxStreamBuffer, minStreamWindow), maxStreamWindow),
		LingerTimeout:    openCloseTimeout,
		WriteThrough:     true,
	}
	if !c.KeepAliveDisabled {
		cfg.KeepAlive = newKeepAlive(c.KeepAliveInterval, c.KeepAliveTimeout)
	}
	if !isByteStream(conn) {
		cfg.MaxWriteSize = c.maxWriteSize()
	}
	return cfg
}

// maxWriteSize limits the Writes of a transport whose messages may have a limited size. Each Write of the original is one
// frame, so a program may have set MaxFrameSize for such a limit. With the default or more, it has not, and one Write of a
// stream shall be one of the transport: a SYN, a frame, another one with a short rest, and two FINs.
func (c *Config) maxWriteSize() int {
	n := c.MaxFrameSize + frameHeader
	if c.MaxFrameSize >= defaultMaxFrameSize {
		n += 4 * frameHeader
	}
	return max(n, minWriteSize)
}

// isByteStream reports whether conn is known to take Writes of any size.
func isByteStream(conn io.ReadWriteCloser) bool {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn, *tls.Conn:
		return true
	}
	return false
}
