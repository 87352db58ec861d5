package service

import (
	"context"
	"time"

	"github.com/smuxkit/smuxkit/stream"
)

// An Opener opens streams: a *session.Session or a *session.Dialer.
type Opener interface {
	// OpenStream opens a stream. If it blocks, the end of ctx ends it.
	OpenStream(ctx context.Context) (*stream.Stream, error)
}

// Open opens a stream for the service with that name. metadata may be nil; Open keeps no reference to it.
//
// Open does not wait for the peer. It sends the header together with the data of the first Write, before a Read waits, and
// after a millisecond at most. If the peer refuses the stream, Read and Write return a *[RefusedError].
//
// Open fails if name or metadata exceed the limits of this package, as OpenStream of o does, and as Write does if the stream
// has ended already: with stream.ErrRefused if the session of the peer has refused it. It blocks as OpenStream does, and
// while the session's buffer for unsent data has no room for the header; ctx ends both.
func Open(ctx context.Context, o Opener, name string, metadata map[string]string) (*Stream, error) {
	if err := checkHeader(name, metadata); err != nil {
		return nil, err
	}
	st, err := o.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	s := &Stream{Stream: st, name: name, turn: make(chan struct{}, 1)}
	s.set(answerAwaited)
	header := appendHeader(make([]byte, 0, 128), name, metadata)
	n, err := st.WriteLazily(header)
	if n < len(header) {
		err = writeBefore(ctx, st, header[n:])
	}
	if err != nil {
		_ = st.Close()
		return nil, err
	}
	return s, nil
}

// writeBefore writes p before ctx ends. Nobody else knows st yet.
func writeBefore(ctx context.Context, st *stream.Stream, p []byte) error {
	stop := context.AfterFunc(ctx, func() { _ = st.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := st.Write(p)
	if !stop() && err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
