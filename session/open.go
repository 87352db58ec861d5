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
	var st *sessionStream
	var err error
	ended := s.await(ctx, &s.opening, func() bool {
		st, err = s.open()
		return st != nil || err != nil
	})
	switch {
	case ended != nil:
		return nil, s.opError("open", ended)
	case err != nil:
		return nil, s.opError("open", err)
	}
	s.stats.streamsOpened.Add(1)
	st.core.Start()
	return st.core.Stream(), nil
}

// Open is OpenStream without a context, for the interfaces that want it.
func (s *Session) Open() (net.Conn, error) {
	st, err := s.OpenStream(context.Background())
	if err != nil {
		return nil, err
	}
	return st, nil
}

// open opens a stream, if there is no need to wait, or returns why there will be none. The caller holds s.mu.
func (s *Session) open() (*sessionStream, error) {
	switch {
	case s.phase == phaseShutdown:
		return nil, ErrShutdown
	case s.phase > phaseShutdown:
		return nil, s.err
	case s.writeErr != nil:
		return nil, s.writeErr
	case s.nextID > math.MaxUint32:
		return nil, ErrIDsExhausted
	case s.ver.Load() == 0 || s.unsentSYN.Load() >= maxUnsentSYN:
		return nil, nil
	}
	id := uint32(s.nextID)
	s.nextID += 2
	s.unsentSYN.Add(1)
	return s.newStream(id, true), nil
}
