package session

import (
	"context"
	"math"
	"net"

	"github.com/smuxkit/smuxkit/stream"
)

// OpenStream opens a stream. The protocol has no answer to that: the stream can be written to at
// once, and a peer that refuses it closes it.
//
// OpenStream waits only while the transport takes none of the streams opened before, and, on a
// server that learns the version from its peer, for the first frame. It fails with the reason for
// the session's end, with ErrShutdown, with ErrIDsExhausted, or with ctx's error.
// A nil ctx panics and changes nothing.
func (s *Session) OpenStream(ctx context.Context) (*stream.Stream, error) {
	needContext(ctx)
	m, err := s.open(ctx)
	if err != nil {
		return nil, s.opError("open", err)
	}
	s.stats.streamsOpened.Add(1)
	m.core.Start()
	return m.core.Stream(), nil
}

// Open is OpenStream without a context, for the interfaces that want it.
func (s *Session) Open() (net.Conn, error) {
	st, err := s.OpenStream(context.Background())
	if err != nil {
		return nil, err
	}
	return st, nil
}

func (s *Session) open(ctx context.Context) (*member, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case s.phase == phaseShutdown:
			return nil, ErrShutdown
		case s.phase > phaseShutdown:
			return nil, s.err
		case s.broken != nil:
			return nil, s.broken
		case s.nextID > math.MaxUint32:
			return nil, ErrIDsExhausted
		}
		if s.ver.Load() != 0 && s.unsentSYN.Load() < maxUnsentSYN {
			break
		}
		s.wait(ctx, &s.opening)
	}
	id := uint32(s.nextID)
	s.nextID += 2
	s.unsentSYN.Add(1)
	return s.newMember(id, true), nil
}
