package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/stream/relay"
)

// forward is the near end of a tunnel: each connection that is accepted goes over a stream of its own.
func forward(ctx context.Context, l net.Listener, s *session.Session) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			st, err := s.OpenStream(ctx)
			if err != nil {
				log.Print(err)
				conn.Close()
				return
			}
			if _, err := relay.Join(ctx, conn, st, nil); err != nil { // closes both
				log.Printf("%v: %v", conn.RemoteAddr(), err)
			}
		}()
	}
}

// The near end of a tunnel accepts connections, and the far end of the session answers.
func ExampleJoin() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	near, far := net.Pipe()
	s, err := session.Client(near, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	go forward(context.Background(), l, s)

	server, err := session.Server(far, nil)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		st, err := server.Accept()
		if err != nil {
			log.Fatal(err)
		}
		io.WriteString(st, "hello from the far end")
		st.Close()
	}()

	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	greeting, err := io.ReadAll(conn)
	fmt.Printf("%s %v\n", greeting, err)
	// Output:
	// hello from the far end <nil>
}

// A server that does not trust its clients to close what they do not use limits the time of quiet connections.
func ExampleOptions() {
	client, a := net.Pipe()
	b, target := net.Pipe()
	defer client.Close()
	defer target.Close()
	_, err := relay.Join(context.Background(), a, b, &relay.Options{
		IdleTimeout:           10 * time.Millisecond, // usually some minutes
		HalfClosedIdleTimeout: time.Minute,           // one side has ended: the other should, too
		HalfClosedTimeout:     time.Hour,             // even if it still sends
	})
	fmt.Println(errors.Is(err, relay.ErrIdle), err)
	// Output:
	// true relay: idle for too long
}

// A Result says how much data went each way, also if Join has failed.
func ExampleResult() {
	client, a := net.Pipe()
	b, target := net.Pipe()
	go func() {
		io.WriteString(client, "please give me all")
		client.Close()
	}()
	go io.Copy(io.Discard, target)
	moved, err := relay.Join(context.Background(), a, b, &relay.Options{HalfClosedTimeout: 10 * time.Millisecond})
	fmt.Println(moved.AToB, "bytes out,", moved.BToA, "bytes in:", err)
	// Output:
	// 18 bytes out, 0 bytes in: relay: half-closed for too long
}
