package session_test

import (
	"context"
	"encoding/json"
	"expvar"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/smuxkit/smuxkit/session"
)

// Package expvar shows the Stats of a session at /debug/vars.
func ExampleSession_Stats_expvar() {
	ours, theirs := net.Pipe()
	go discardAll(theirs)
	s, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	stats := expvar.Func(func() any { return s.Stats() })
	// expvar.Publish("session", stats) now shows them at /debug/vars.

	st, err := s.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(st, "hello")
	st.CloseWrite()
	_, _ = io.ReadAll(st) // until the peer has closed the stream

	var shown struct{ StreamsOpened int }
	if err := json.Unmarshal([]byte(stats.String()), &shown); err != nil {
		log.Fatal(err)
	}
	fmt.Println(shown.StreamsOpened, "stream")
	s.Close()

	// Output:
	// 1 stream
}

// Stats say what a session has carried, and what it holds.
func ExampleStats() {
	ours, theirs := net.Pipe()
	go discardAll(theirs)
	s, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	st, err := s.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(st, "hello")
	st.CloseWrite()
	_, _ = io.ReadAll(st) // until the peer has closed the stream

	x := s.Stats()
	fmt.Println("version", x.Version)
	fmt.Println("streams:", x.StreamsOpened, "opened,", x.StreamsOpen, "open")
	fmt.Println("unread:", x.Unread, "blocked on windows:", x.BlockedOnWindow)
	// Output:
	// version 2
	// streams: 1 opened, 0 open
	// unread: 0 blocked on windows: 0s
}

// ClosedStreams say how the streams of a session have ended: Complete is what should be.
func ExampleClosedStreams() {
	ours, theirs := net.Pipe()
	go discardAll(theirs)
	s, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	complete, err := s.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	complete.CloseWrite()
	_, _ = io.ReadAll(complete)
	if _, err := s.OpenStream(context.Background()); err != nil { // nobody closes this one
		log.Fatal(err)
	}
	s.Close()

	c := s.Stats().StreamsClosed
	fmt.Printf("%d of %d complete, %d ended with the session\n", c.Complete, c.Total(), c.SessionEnded)
	// Output:
	// 1 of 2 complete, 1 ended with the session
}

// Streams lists the open streams, for a page that shows what a program is doing.
func ExampleSession_Streams() {
	ours, theirs := net.Pipe()
	go discardAll(theirs)
	s, err := session.Client(ours, nil)
	if err != nil {
		log.Fatal(err)
	}
	for i := range 3 {
		st, err := s.OpenStream(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(st, "hello"[:i+1])
	}
	for st := range s.Streams() {
		stats := st.Stats()
		fmt.Printf("%v: sent %d bytes\n", st, stats.BytesSent+uint64(stats.Unsent))
	}
	s.Close()

	// Output:
	// smux stream 1 pipe->pipe: sent 1 bytes
	// smux stream 3 pipe->pipe: sent 2 bytes
	// smux stream 5 pipe->pipe: sent 3 bytes
}

// discardAll is a server that reads all streams and closes them.
func discardAll(conn net.Conn) {
	s, err := session.Server(conn, nil)
	if err != nil {
		log.Fatal(err)
	}
	for {
		st, err := s.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(io.Discard, st)
			st.Close()
		}()
	}
}
