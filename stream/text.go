package stream

import (
	"fmt"
	"io"
	"log/slog"
	"net"
)

// String returns the id and the addresses of the stream, such as "smux stream 5 192.0.2.1:40000->192.0.2.2:443".
func (s *Stream) String() string {
	return fmt.Sprintf("smux stream %d %v->%v", s.id, s.shared.LocalAddr, s.shared.RemoteAddr)
}

// LogValue returns a group with the attributes id, local, remote, sent and received. The last two are how many bytes of data
// the stream has carried. It makes the Stream a slog.LogValuer.
func (s *Stream) LogValue() slog.Value {
	stats := s.Stats()
	return slog.GroupValue(
		slog.Any("id", s.id),
		slog.String("local", s.shared.LocalAddr.String()),
		slog.String("remote", s.shared.RemoteAddr.String()),
		slog.Uint64("sent", stats.BytesSent),
		slog.Uint64("received", stats.BytesReceived),
	)
}

var (
	_ fmt.Stringer   = (*Stream)(nil)
	_ slog.LogValuer = (*Stream)(nil)
)

// opError returns the error of operation op: err in a *net.OpError, as in package net. Its text has the stream's id. opError
// returns nil and io.EOF as they are.
func (s *Stream) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "smux", Source: s.shared.LocalAddr, Addr: streamAddr{s.shared.RemoteAddr, s.id}, Err: err}
}

// A streamAddr is the remote address of a stream, with its id, for errors.
type streamAddr struct {
	net.Addr
	id uint32
}

func (a streamAddr) String() string { return fmt.Sprintf("%v stream %d", a.Addr, a.id) }
