//go:build !self

package interop

import (
	"context"
	"io"

	"github.com/smuxkit/smuxkit/keepalive"
	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
)

// standIn reports whether the original takes our place.
const standIn = false

// newOurs starts a session of ours.
func newOurs(conn io.ReadWriteCloser, client bool, cfg ourConfig) (muxSession, error) {
	c := &session.Config{
		Version:          cfg.Version,
		MaxFrameSize:     cfg.MaxFrameSize,
		MaxReceiveBuffer: cfg.MaxReceiveBuffer,
		MaxStreamWindow:  cfg.MaxStreamWindow,
		CloseTimeout:     cfg.CloseTimeout,
		LingerTimeout:    cfg.LingerTimeout,
		NoHalfClose:      cfg.NoHalfClose,
		MaxWriteSize:     cfg.MaxWriteSize,
		Portable:         cfg.Portable,
	}
	switch {
	case cfg.NoKeepAlive:
		c.KeepAlive = keepalive.Off{}
	case cfg.Timeout != 0:
		c.KeepAlive = keepalive.Periodic{Interval: cfg.Interval, Timeout: cfg.Timeout, Strict: cfg.Strict}
	}
	start := session.Server
	if client {
		start = session.Client
	}
	s, err := start(conn, c)
	if err != nil {
		return nil, err
	}
	return ourSession{s}, nil
}

type ourSession struct{ *session.Session }

func (s ourSession) Open() (muxStream, error) {
	st, err := s.OpenStream(context.Background())
	if err != nil {
		return nil, err
	}
	return st, nil
}

func (s ourSession) Accept() (muxStream, error) {
	st, err := s.AcceptStream(context.Background())
	if err != nil {
		return nil, err
	}
	return st, nil
}

// peerClosed is the error of a Write to a stream that the peer has closed.
var peerClosed = stream.ErrPeerClosed

// errNotFlushed is what Close returns if some data may not have arrived.
var errNotFlushed = session.ErrNotFlushed

// errKeepAlive is the error of all calls when the peer has vanished.
var errKeepAlive = session.ErrKeepAlive
