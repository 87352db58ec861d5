package session

import (
	"context"
	"net"

	"github.com/smuxkit/smuxkit/stream"
)

// OpenStream opens a stream. The protocol has no answer to that, so the stream can be used at once. If the peer is of
// this package and refuses the stream, Read and Write fail with [stream.ErrRefused]. The request can then be sent
// again. Read of a stream that another peer has refused returns io.EOF.
//
// OpenStream blocks in two cases only: while the first frames of 1,024 opened streams wait to be sent; and on a server
// that takes the version of its peer, until the first frame arrives. It fails with ctx's error,
// with [ErrShutdown], [ErrPeerShutdown] or [ErrIDsExhausted], with the error of a failed write, or with the reason for the
// session's end. A nil ctx panics and changes nothing.
func (s *Session) OpenStream(ctx context.Context) (*stream.Stream, error) {
	needContext(ctx)
	var st *sessionStream
	var err error
	ctxErr := s.await(ctx, &s.opening, func() bool {
		st, err = s.open()
		return st != nil || err != nil
	})
	if s.tracer != nil {
		s.tell(st, true)
	}
	switch {
	case ctxErr != nil:
		return nil, s.opError("open", ctxErr)
	case err != nil:
		return nil, s.opError("open", err)
	}
	st.core.Start()
	return st.core.Stream(), nil
}

// tell has the functions of Config.Trace called before a call returns st, which may be nil. If one of them panics, nobody
// gets st, so tell closes it. opened says that this side has opened st, and that it was not started.
func (s *Session) tell(st *sessionStream, opened bool) {
	returned := false
	defer func() {
		if returned || st == nil {
			return
		}
		if opened {
			st.core.Start()
		}
		_ = st.core.Stream().Close()
	}()
	s.tracer.flush()
	returned = true
}

// Open is [Session.OpenStream] without a context, for interfaces that have such a method.
func (s *Session) Open() (net.Conn, error) {
	st, err := s.OpenStream(context.Background())
	if err != nil {
		return nil, err
	}
	return st, nil
}

// open opens a stream, or returns why there will be none, or neither if the caller has to wait. The caller holds s.mu.
func (s *Session) open() (*sessionStream, error) {
	if err := s.openErr(); err != nil {
		return nil, err
	}
	if s.openWaits() {
		return nil, nil
	}
	id := uint32(s.nextID)
	s.nextID += 2
	s.unsentSYN.Add(1)
	s.stats.streamsOpened.Add(1)
	st, _ := s.newStream(id, true) // its SYN is always due
	s.tracer.pushOpened(st)
	return st, nil
}

// openErr returns why this side opens no more streams, or nil. The caller holds s.mu.
func (s *Session) openErr() error {
	switch {
	case s.phase == phaseShutdown:
		return ErrShutdown
	case s.peerDraining && s.err != net.ErrClosed:
		return ErrPeerShutdown // also when the peer has closed the session since
	case s.endingErr() != nil:
		return s.endingErr()
	case s.nextID > lastStreamID:
		return ErrIDsExhausted
	}
	return nil
}

// openWaits reports whether OpenStream has to wait. The caller holds s.mu.
func (s *Session) openWaits() bool {
	return s.ver.Load() == 0 || s.unsentSYN.Load() >= maxUnsentSYN
}

// endingErr returns why the session begins nothing new: it is closing or has ended, or a write has failed. Otherwise it
// returns nil. The caller holds s.mu.
func (s *Session) endingErr() error {
	if s.phase >= phaseClosing {
		return s.err
	}
	return s.writeErr
}
