package session

import (
	"fmt"
	"log/slog"
)

// String returns the side and the addresses of the session, such as
// "smux client 192.0.2.1:40000->192.0.2.2:443".
func (s *Session) String() string {
	return fmt.Sprintf("smux %s %v->%v", s.side(), s.LocalAddr(), s.RemoteAddr())
}

// side returns "client" or "server".
func (s *Session) side() string {
	if s.client {
		return "client"
	}
	return "server"
}

// LogValue returns a group with the attributes side, which is "client" or "server", local and remote. It makes the Session
// a slog.LogValuer.
func (s *Session) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("side", s.side()),
		slog.String("local", s.LocalAddr().String()),
		slog.String("remote", s.RemoteAddr().String()),
	)
}

var (
	_ fmt.Stringer   = (*Session)(nil)
	_ slog.LogValuer = (*Session)(nil)
)
