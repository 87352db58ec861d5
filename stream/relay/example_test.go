package relay_test

import (
	"context"
	"log"
	"net"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream"
	"github.com/smuxkit/smuxkit/stream/relay"
)

// The near end of a tunnel: each connection that is accepted goes over a stream of its own.
func ExampleJoin() {
	forward := func(ctx context.Context, l net.Listener, s *session.Session) error {
		for {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			st, err := s.OpenStream(ctx)
			if err != nil {
				conn.Close()
				return err
			}
			go func() {
				moved, err := relay.Join(ctx, conn, st, nil)
				log.Printf("%v: %d bytes out, %d bytes in, %v", conn.RemoteAddr(), moved.AToB, moved.BToA, err)
			}()
		}
	}
	_ = forward
}

// The far end, which does not trust its clients to close what they do not use.
func ExampleJoin_limits() {
	connect := func(ctx context.Context, st *stream.Stream, target string) error {
		conn, err := net.Dial("tcp", target)
		if err != nil {
			st.Close()
			return err
		}
		_, err = relay.Join(ctx, st, conn, &relay.Options{
			IdleTimeout:           10 * time.Minute,
			HalfClosedIdleTimeout: time.Minute, // one side has ended: the other should, too
		})
		return err
	}
	_ = connect
}
