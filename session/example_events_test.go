package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/smuxkit/smuxkit/session"
	"github.com/smuxkit/smuxkit/wire"
)

// connectTwo starts a client and a server on the two ends of a pipe. The client sets the version of the protocol. The
// events of the server go to trace.
func connectTwo(version int, trace *session.Trace) (client, server *session.Session) {
	ours, theirs := net.Pipe()
	server, err := session.Server(theirs, &session.Config{MaxStreams: 1, MaxReceiveBuffer: 64 << 10, Trace: trace})
	if err != nil {
		log.Fatal(err)
	}
	client, err = session.Client(ours, &session.Config{Version: version})
	if err != nil {
		log.Fatal(err)
	}
	return client, server
}

// A server that allows one stream at a time reports those that it refuses.
func ExampleRefusal() {
	refusals := make(chan session.Refusal, 1)
	client, server := connectTwo(2, &session.Trace{
		StreamRefused: func(s *session.Session, r session.Refusal) { refusals <- r },
	})
	defer server.Close()
	defer client.Close()
	for range 2 {
		if _, err := client.OpenStream(context.Background()); err != nil {
			log.Fatal(err)
		}
	}
	r := <-refusals
	fmt.Println("stream", r.StreamID, "was refused:", r.Cause)
	fmt.Println(r.Cause == session.RefusedAtLimit)
	// Output:
	// stream 3 was refused: too many streams
	// true
}

// A server logs each stream at its end, as an access log.
func ExampleStreamEnd() {
	ended := make(chan string, 1)
	client, server := connectTwo(2, &session.Trace{
		StreamClosed: func(s *session.Session, e session.StreamEnd) {
			ended <- fmt.Sprintf("stream %d: %d bytes in, %d out, %v", e.Stream.ID(), e.BytesReceived, e.BytesSent, e.Reason)
		},
	})
	defer server.Close()
	defer client.Close()
	st, err := client.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.WriteString(st, "hello"); err != nil {
		log.Fatal(err)
	}
	st.CloseWrite()
	accepted, err := server.AcceptStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	io.Copy(accepted, accepted)
	accepted.Close()
	fmt.Println(<-ended)
	// Output:
	// stream 1: 5 bytes in, 5 out, <nil>
}

// A session that does not read its transport says why, and for how long. In version 1, all streams wait meanwhile.
func ExampleTrace_readPaused() {
	paused, resumed := make(chan session.Pause, 1), make(chan time.Duration, 1)
	client, server := connectTwo(1, &session.Trace{
		ReadPaused:  func(s *session.Session, why session.Pause) { paused <- why },
		ReadResumed: func(s *session.Session, why session.Pause, after time.Duration) { resumed <- after },
	})
	defer server.CloseNow()
	defer client.CloseNow()
	st, err := client.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	go st.Write(make([]byte, 100_000)) // more than the server may hold
	why := <-paused
	fmt.Println(why, why == session.PauseBuffer)
	accepted, err := server.AcceptStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.ReadFull(accepted, make([]byte, 100_000)); err != nil {
		log.Fatal(err)
	}
	fmt.Println("it had paused for a while:", <-resumed >= 0)
	// Output:
	// the receive buffer is full true
	// it had paused for a while: true
}

// A peer that breaks the protocol ends the session. The error has the header of the frame.
func ExampleProtocolError() {
	ours, theirs := net.Pipe()
	s, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	go io.Copy(io.Discard, theirs)
	e := wire.NewEncoder(theirs)
	if err := e.Encode(wire.Header{Version: wire.V2, Command: wire.SYN, StreamID: 7}, nil); err != nil {
		log.Fatal(err)
	}
	<-s.Done()
	var broken *session.ProtocolError
	if errors.As(s.Err(), &broken) {
		fmt.Println(broken.Header.Command, broken.Header.StreamID)
		fmt.Println(errors.Is(broken, session.ErrStreamParity)) // ids of servers are even
	}
	// Output:
	// SYN 7
	// true
}
