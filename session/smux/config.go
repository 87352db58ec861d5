package smux

import (
	"errors"
	"math"
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

	// KeepAliveInterval is after what time without sending anything a NOP is sent. The default is 10 s.
	KeepAliveInterval time.Duration

	// KeepAliveTimeout is after what time without receiving anything the session is closed. While it does not read the
	// transport because MaxReceiveBuffer is used up, the time does not count. The default is 30 s.
	KeepAliveTimeout time.Duration

	// MaxFrameSize is the largest payload of the frames that are sent, from 1 to 65,535 bytes. The default is 32,768.
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

	// closeTimeout is how long CloseWrite and Close of a stream wait for the transport.
	closeTimeout = 30 * time.Second
)

// DefaultConfig returns a new Config with the defaults.
func DefaultConfig() *Config {
	return &Config{
		Version:           1,
		KeepAliveInterval: 10 * time.Second,
		KeepAliveTimeout:  30 * time.Second,
		MaxFrameSize:      32 << 10,
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

// sessionConfig returns the Config of package session with which a session behaves as the original's.
func (c *Config) sessionConfig() *session.Config {
	cfg := &session.Config{
		Version:          c.Version,
		KeepAlive:        keepalive.Off{},
		MaxFrameSize:     c.MaxFrameSize,
		MaxReceiveBuffer: max(c.MaxReceiveBuffer, minReceiveBuffer),
		MaxStreamWindow:  min(max(c.MaxStreamBuffer, minStreamWindow), maxStreamWindow),
		LingerTimeout:    closeTimeout,
		WriteThrough:     true,
	}
	if !c.KeepAliveDisabled {
		interval := max(c.KeepAliveInterval, keepalive.MinInterval)
		cfg.KeepAlive = keepalive.Periodic{Interval: interval, Timeout: max(c.KeepAliveTimeout, interval+1), Strict: true}
	}
	return cfg
}
