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
